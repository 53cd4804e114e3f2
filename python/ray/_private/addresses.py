"""Where the dashboard of a cluster is."""

import glob
import json
import os
import tempfile
from typing import Any, Dict, List, Optional

DEFAULT_DASHBOARD = "http://localhost:8265"


def sessions_directory() -> str:
    """Folder in which the daemons of this machine announce themselves."""
    return os.path.join("/tmp", f"ray-{os.getuid()}", "sessions")


def announcements() -> List[Dict[str, Any]]:
    """What the living daemons of this user on this machine say of themselves, newest first."""
    found = []
    for path in glob.glob(os.path.join(sessions_directory(), "*.json")):
        try:
            with open(path) as file:
                row = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(row, dict) and _lives(row):
            found.append(row)
    return sorted(found, key=lambda row: -row.get("started_ms", 0))


def _lives(row: Dict[str, Any]) -> bool:
    """Whether the process of an announcement still runs (same pid and start time)."""
    try:
        with open(f"/proc/{row['pid']}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, KeyError):
        return False
    return row.get("start_ticks") in (None, 0, int(fields[19]))


def dashboard_url(address: Optional[str] = None) -> str:
    """http(s)://host:port of the dashboard.

    Args:
        address: an http(s) URL (comes back), ``host:port`` or ``ray://host:port``
            of a cluster, ``auto``, or None: RAY_API_SERVER_ADDRESS, the cluster
            to which this process is connected, RAY_ADDRESS, the cluster of this
            machine, then localhost:8265.

    Raises:
        ValueError: address has none of these forms.
        ConnectionError: no cluster there tells where its dashboard is.
    """
    from ray._core import state

    if address is None:
        address = os.environ.get("RAY_API_SERVER_ADDRESS")
        if not address and state.is_connected():
            return with_scheme(_of_connection())
        address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith(("http://", "https://")):
        return address.rstrip("/")
    if not address or address == "auto":
        rows = announcements()
        return with_scheme(rows[0]["dashboard"]) if rows and rows[0].get("dashboard") else DEFAULT_DASHBOARD
    plain = address[len("ray://") :] if address.startswith("ray://") else address
    if "://" in plain:
        scheme = plain.split("://")[0]
        raise RuntimeError(
            f"Module: {scheme} does not exist. It was taken from the address {address!r}, "
            "which must be http(s)://host:port, host:port, ray://host:port or auto."
        )
    if ":" not in plain:
        raise ValueError(f"Invalid address format: {address}. It must be host:port or a URL.")
    return with_scheme(_of_cluster(plain))


def with_scheme(address: str) -> str:
    """address as a URL."""
    return address if "://" in address else f"http://{address}"


def _of_connection() -> str:
    from ray._core import state

    found = state.connected().hello.get("dashboard_url")
    if not found:
        raise ConnectionError(
            "The cluster has no dashboard: start it with `ray start --head --include-dashboard=true` "
            "or ray.init(include_dashboard=True)."
        )
    return found


def _of_cluster(address: str) -> str:
    """The dashboard of the cluster at host:port, from its announcement here or from itself."""
    from ray._core import state

    host, _, port = address.rpartition(":")
    same = {address, f"127.0.0.1:{port}"} if host in ("localhost", "127.0.0.1") else {address}
    for row in announcements():
        if {row.get("address"), row.get("node_address")} & same and row.get("dashboard"):
            return row["dashboard"]
    if state.is_connected() and state.connected().gcs_address in same:
        return _of_connection()
    return _ask(address)


def _ask(address: str) -> str:
    """Asks the cluster itself, from a process of its own (this one may be connected elsewhere)."""
    import subprocess
    import sys

    script = "import sys, ray; print(ray.init(sys.argv[1], log_to_driver=False).dashboard_url)"
    done = subprocess.run(
        [sys.executable, "-c", script, f"ray://{address}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tempfile.gettempdir(),
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = done.stdout.strip().splitlines()
    if done.returncode != 0 or not found or found[-1] in ("", "None"):
        last = done.stderr.strip().splitlines()[-1:] or ["it has no dashboard"]
        raise ConnectionError(f"Could not find the dashboard of the cluster at {address}: {last[0]}")
    return found[-1]
