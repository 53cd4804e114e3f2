"""The process from which workers are forked (docs/PROTOCOL.md, section 3).

Orphans of workers become its children, and end with their worker.

It has one thread and imports only this package and the standard library, so
that a fork is cheap and safe. It reports every child's end, and when its
daemon goes it kills them all.
"""

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, Dict, List, Tuple

from ray._core import strays

_MESSAGE = 1 << 20


# What a worker imports before its first task is done: each costs more after the fork.
_FIRST_NEEDED = (
    "ray._core.worker",
    "ray._core.aio",
    "ray._core.concurrency",
    "ray._core.outcome",
    "ray.actor",
    "ray.remote_function",
    "ray.runtime_context",
    "ray.cloudpickle",
)


def _preload() -> None:
    """Imports what every worker needs."""
    import asyncio  # noqa: F401
    import ctypes  # noqa: F401
    import importlib
    import inspect  # noqa: F401
    import queue  # noqa: F401
    import random  # noqa: F401
    import traceback  # noqa: F401

    import ray  # noqa: F401
    from ray._core import title

    title.make_known()
    for name in _FIRST_NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"fork server: {name} cannot be imported: {error}", file=sys.stderr)


class _Server:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.children: Dict[int, str] = {}
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        self.wakeup = (read, write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def send(self, message: Dict[str, Any]) -> None:
        try:
            self.sock.send(json.dumps(message).encode())
        except OSError:
            pass

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        poll.register(self.wakeup[0], select.POLLIN)
        self.send({"op": "ready", "pid": os.getpid(), "python": sys.version.split()[0]})
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.wakeup[0]:
                    self._reap()
                elif not self._serve():
                    return

    def _reap(self) -> None:
        try:
            os.read(self.wakeup[0], 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            worker_id = self.children.pop(pid, "")
            if not worker_id:
                continue  # an orphan
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            self.send({"op": "exit", "worker_id": worker_id, "pid": pid, "code": code, "signal": number})
        strays.sweep(self.children, self.children.values())

    def _serve(self) -> bool:
        """Handles one message; False at the end of the stream."""
        try:
            data, descriptors = _receive(self.sock)
        except OSError:
            return False
        if not data:
            return False
        message = json.loads(data)
        if message.get("op") == "fork":
            self._fork(message, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _fork(self, message: Dict[str, Any], descriptors: List[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self.send({"op": "fork_failed", "worker_id": message["worker_id"], "error": str(error)})
            return
        if pid == 0:
            code = 1
            try:
                self._become_worker(message, descriptors)
                code = 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                try:
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(code)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        self.children[pid] = message["worker_id"]
        self.send({"op": "forked", "worker_id": message["worker_id"], "pid": pid})

    def _become_worker(self, message: Dict[str, Any], descriptors: List[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in self.wakeup:
            os.close(descriptor)
        self.sock.close()
        from ray._core import worker

        message["env"] = {**(message.get("env") or {}), strays.MARK: message["worker_id"]}
        worker.start_in_child(message, descriptors)

    def kill_all(self) -> None:
        for pid in list(self.children):
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
        strays.kill_everything()


def _receive(sock: socket.socket) -> Tuple[bytes, List[int]]:
    data, ancillary, _, _ = sock.recvmsg(_MESSAGE, socket.CMSG_SPACE(32))
    descriptors: List[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(payload) // 4
            descriptors += struct.unpack(f"{count}i", payload[: 4 * count])
    return data, descriptors


def main(descriptor: int) -> None:
    """Serves forks on the socket until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    os.set_inheritable(descriptor, False)
    strays.become_subreaper()
    _preload()
    gc.collect()
    gc.freeze()
    server = _Server(sock)
    try:
        server.run()
    finally:
        server.kill_all()
        os._exit(0)
