"""The start of a worker process."""

import os
import signal
import sys
import threading
from typing import Any, Dict, List, Optional

from ray._core import stacks, state
from ray._core.client import Client
from ray._core.connection import HELLO_TIMEOUT_S, dial_unix, greet, greet_control
from ray._core.runner import Worker
from ray._core.state import TaskInfo
from ray._core.title import die_with_parent, make_known, set_title
from ray._version import __version__


def start_in_child(spec: Dict[str, Any], descriptors: List[int]) -> None:
    """Makes a freshly forked process a worker and runs it."""
    os.setpgid(0, 0)
    die_with_parent()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if len(descriptors) == 2:
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[1], 2)
        for descriptor in descriptors:
            if descriptor > 2:
                os.close(descriptor)
    run_worker(spec)


def run_worker(spec: Dict[str, Any]) -> None:
    """Takes on the environment of the specification, connects and works."""
    import random

    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False, encoding="utf-8", errors="backslashreplace")
    sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8", errors="backslashreplace")
    for name in ("stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    random.seed()
    for name in spec.get("unset") or []:
        os.environ.pop(name, None)
    os.environ.update(spec.get("env") or {})
    for path in reversed(spec.get("sys_path") or []):
        if path not in sys.path:
            sys.path.insert(0, path)
    cwd = spec.get("cwd")
    if cwd:
        try:
            os.chdir(cwd)
        except OSError as error:
            print(f"The working directory {cwd} is not there: {error}", file=sys.stderr)
    set_title(spec.get("title") or "ray::IDLE")
    hello = {
        "proto": 1,
        "version": __version__,
        "role": "worker",
        "conn": "data",
        "python": "%d.%d" % sys.version_info[:2],
        "pid": os.getpid(),
        "client_id": spec["worker_id"],
    }
    try:
        sock = dial_unix(spec["socket"], HELLO_TIMEOUT_S)
        answer, descriptor = greet(sock, hello)
        sock.settimeout(None)
        client = Client(sock, answer, descriptor, state.WORKER)
        control = greet_control(lambda: dial_unix(spec["socket"], HELLO_TIMEOUT_S), hello)
    except OSError as error:
        print(f"The worker could not connect to its node daemon: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    state.set_client(client)
    worker = Worker(client, control)
    state.set_process_task(TaskInfo(b"\xff" * 20 + client.job_id, "task", "", ""))
    _set_the_scene(worker)
    client.start()
    threading.Thread(target=worker.serve_control, name="ray-control", daemon=True).start()
    Worker.mark(":job_id:", client.job_id.hex())
    _preload()
    _run_setup_hook(worker)
    worker.run()


def _set_the_scene(worker: Worker) -> None:
    """Signals, and the module that tells how deep the user's code is."""
    signal.signal(signal.SIGINT, worker.on_sigint)
    signal.signal(signal.SIGUSR2, worker.on_exit_signal)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stacks.install()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _preload() -> None:
    """Imports what the cluster's preload_python_modules names; one that is not there is said and left out."""
    import importlib

    for name in os.environ.get("RAY_PRELOAD_PYTHON_MODULES", "").split(","):
        if name.strip():
            try:
                importlib.import_module(name.strip())
            except Exception as error:
                print(f"preload_python_modules: {name.strip()} cannot be imported: {error}", file=sys.stderr)


def _run_setup_hook(worker: Worker) -> None:
    """Calls the hook of the runtime environment; if it fails, so does every task that this worker is given."""
    if not os.environ.get("RAY_WORKER_SETUP_HOOK"):
        return
    from ray.runtime_env import hooks

    try:
        hooks.run()
    except Exception as error:
        import traceback

        from ray.exceptions import RuntimeEnvSetupError

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        print(f"The worker_process_setup_hook failed.\n{text}", file=sys.stderr)
        worker.broken = RuntimeEnvSetupError(f"Failed to execute the setup hook method.\n{text}")


def main(text: Optional[str] = None) -> None:
    """Runs a worker whose specification is JSON text, or in RAY_WORKER_SPEC."""
    import json

    make_known()
    run_worker(json.loads(text or os.environ["RAY_WORKER_SPEC"]))
