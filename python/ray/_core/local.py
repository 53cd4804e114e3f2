"""A cluster that lives as long as the process that started it."""

import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Dict, Optional, Tuple

from ray._core.finding import find_binary
from ray._core.session import session

#: Seconds that a new local cluster may take to start.
START_TIMEOUT_S = 60.0
EXIT_USAGE = 2  # of the binary: what was asked for is wrong


_Kind = Tuple[Tuple[type, ...], str]
_NUMBER: _Kind = ((int, float), "a number")
_WHOLE: _Kind = ((int,), "a whole number")
_DICT: _Kind = ((dict,), "a dict")
_KINDS: Dict[str, _Kind] = {
    "resources": _DICT,
    "labels": _DICT,
    "_system_config": _DICT,
    "object_store_memory": _NUMBER,
    "_memory": _NUMBER,
    "dashboard_port": _WHOLE,
    "_metrics_export_port": _WHOLE,
}


def _check_kinds(given: Dict[str, Any]) -> None:
    for name, (kind, words) in _KINDS.items():
        value = given.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{name} must be {words}, got {value!r}")
    for key, value in (given.get("labels") or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"labels must be text for text, got {key!r}: {value!r}")


def local_request(
    given: Dict[str, Any],
    include_dashboard: Optional[bool],
    dashboard_host: str,
    dashboard_port: Optional[int],
    hidden: Dict[str, Any],
    job: Dict[str, Any],
) -> Dict[str, Any]:
    for name in ("num_cpus", "num_gpus"):
        value = given[name]
        if value is not None and (not isinstance(value, (int, float)) or value < 0):
            raise ValueError(f"{name} must be a number that is not negative, got {value!r}")
    _check_kinds({**given, **hidden, "dashboard_port": dashboard_port})
    for name in given["resources"] or {}:
        if name in ("CPU", "GPU"):
            raise ValueError("Use num_cpus and num_gpus instead of 'CPU' and 'GPU' in resources.")
    request = {
        "num_cpus": given["num_cpus"],
        "num_gpus": given["num_gpus"],
        "resources": given["resources"] or {},
        "labels": given["labels"] or {},
        "object_store_memory": given["object_store_memory"],
        "memory": hidden.get("_memory"),
        "include_dashboard": include_dashboard,
        "dashboard_host": dashboard_host,
        "dashboard_port": dashboard_port,
        "namespace": job["namespace"],
        "python": sys.executable,
        "owner_pid": os.getpid(),
        "system_config": given["_system_config"] or {},
        "enable_object_reconstruction": given["_enable_object_reconstruction"],
        "tmpdir": hidden.get("_temp_dir") or os.environ.get("RAY_TMPDIR") or "",
        "node_ip_address": hidden.get("_node_ip_address") or "",
        "node_name": given["_node_name"] or "",
        "object_spilling_directory": hidden.get("object_spilling_directory") or "",
        "plasma_directory": hidden.get("_plasma_directory") or "",
        "metrics_export_port": hidden.get("_metrics_export_port") or 0,
    }
    return {name: value for name, value in request.items() if value is not None}


def start_local(request: Dict[str, Any]) -> Dict[str, Any]:
    """Starts a cluster that lives as long as this process; gives its announcement."""
    import tempfile

    binary = find_binary()
    session.stderr = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [binary, "__local"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=session.stderr, close_fds=True
    )
    session.process = process
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = _read_line(process, START_TIMEOUT_S)
        return json.loads(line)
    except BaseException as error:
        text = stop_process()
        if isinstance(error, (OSError, ValueError)):
            kind = ValueError if process.returncode == EXIT_USAGE else RuntimeError
            text = text.partition("Error: ")[2] or text  # without how the command is used
            raise kind(f"The local cluster did not start: {text or error}") from None
        raise


def _read_line(process: "subprocess.Popen[bytes]", timeout: float) -> bytes:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + timeout
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise OSError(f"no word from `ray __local` within {timeout:.0f} s")
        part = os.read(descriptor, 65536)
        if not part:
            raise OSError("`ray __local` ended without a word")
        data += part
    return data


def stop_process() -> str:
    """Ends the local cluster; gives what it said on stderr."""
    process, session.process = session.process, None
    if process is None:
        return ""
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    text = ""
    if session.stderr is not None:
        try:
            session.stderr.seek(0)
            text = session.stderr.read().decode(errors="replace").strip()
            session.stderr.close()
        except (OSError, ValueError):
            pass
        session.stderr = None
    return text
