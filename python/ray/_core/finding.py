"""Finding things on this machine: the ``ray`` program, and the daemons that run."""

import os
import socket
import sys
from typing import Any, Dict, List, Optional, Set, Tuple


def find_binary() -> str:
    """The ``ray`` binary: RAY_BINARY, beside the interpreter, the repository's bin, PATH."""
    given = os.environ.get("RAY_BINARY")
    if given:
        return given
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    candidates = [
        os.path.join(os.path.dirname(sys.executable), "ray"),
        os.path.join(here, "bin", "ray"),
    ]
    candidates += [os.path.join(folder, "ray") for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for path in candidates:
        if os.access(path, os.X_OK) and os.path.isfile(path) and _is_native(path):
            return path
    raise RuntimeError(
        "The `ray` binary was not found: it is neither named by RAY_BINARY, nor beside "
        f"{sys.executable}, nor on PATH. It comes with the package; build it with scripts/build."
    )


def _is_native(path: str) -> bool:
    """Whether the file is a program, not a script of another package that is called ray."""
    try:
        with open(path, "rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


# The folder of a cluster_utils.Cluster begins so.
TEST_CLUSTERS = "ray-cluster-"
#: The folders of those that live in this process.
own_test_clusters: Set[str] = set()


def announcement_for(address: Optional[str], any_will_do: bool = True) -> Optional[Dict[str, Any]]:
    """The daemon of this machine through which to reach address.

    "auto" is the last cluster that was started, rather one that does not end with a driver; None the last one that
    ``ray start`` has started for a user, or, if any_will_do, that this process has made with ``cluster_utils.Cluster``:
    those of other processes, and other drivers' clusters, want to be asked for.
    """
    from ray._private.addresses import announcements

    rows = announcements()
    if address is None or address == "auto":
        rows = [row for row in rows if _same_tmpdir(row)]
        lasting = [row for row in rows if not row.get("job_owner")]
        if address is None:
            rows = [row for row in lasting if _is_found(row, any_will_do)]
        else:
            rows = lasting or rows
        if not rows:
            return None
        rows = [row for row in rows if row.get("cluster_id") == rows[0].get("cluster_id")]
    else:
        names = _same_places(address)
        rows = [row for row in rows if row.get("address") in names or row.get("node_address") in names]
        exact = [row for row in rows if row.get("node_address") in names and row.get("head")]
        rows = exact or rows
    heads = [row for row in rows if row.get("head")]
    if heads:
        return heads[0]
    return min(rows, key=lambda row: row.get("started_ms", 0)) if rows else None


def _is_found(row: Dict[str, Any], any_will_do: bool) -> bool:
    folder = os.path.dirname(row.get("tmpdir") or "")
    return not os.path.basename(folder).startswith(TEST_CLUSTERS) or any_will_do and folder in own_test_clusters


def _same_tmpdir(row: Dict[str, Any]) -> bool:
    """Whether a daemon belongs to this RAY_TMPDIR; those of a ``Cluster`` have folders of their own below it."""
    given = os.environ.get("RAY_TMPDIR")
    if not given:
        return True
    root, own = os.path.realpath(given), os.path.realpath(row.get("tmpdir") or "")
    return own == root or own.startswith(root + os.sep)


def _same_places(address: str) -> List[str]:
    host, _, port = address.rpartition(":")
    names = [address]
    if host in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):
        names += [f"127.0.0.1:{port}", f"localhost:{port}"]
        try:
            names.append(f"{_own_ip()}:{port}")
        except OSError:
            pass
    return names


def _own_ip() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        return sock.getsockname()[0]


def split_address(address: str) -> Tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"Malformed address: {address!r}. Expected 'host:port', 'auto', 'local' or 'ray://host:port'.")
    return host.strip("[]"), int(port)
