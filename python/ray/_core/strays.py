"""Processes that left their worker's process group, and the end of them.

A worker's group is killed with it, but a program that calls setsid(), or a
daemon that forks twice, is in no such group any more. The fork server makes
itself the parent of all that lose theirs, and ends them with their worker.
"""

import os
import signal
import time
from typing import Container, List, Optional

#: In the environment of a worker: its id. Programs that it starts inherit it.
MARK = "RAY_WORKER_ID"

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 2.0


def become_subreaper() -> bool:
    """Makes this process the parent of every orphan below it; False where that is not possible."""
    import ctypes

    try:
        return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def children() -> List[int]:
    """The processes whose parent this one is, zombies included."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def worker_of(pid: int) -> Optional[str]:
    """The id of the worker that a program descends from; None if it does not tell."""
    prefix = MARK.encode() + b"="
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                if entry.startswith(prefix):
                    return entry[len(prefix) :].decode("ascii", "replace")
    except OSError:
        pass
    return None


def sweep(pids: Container[int], workers: Container[str]) -> None:
    """Kills orphans of workers that have ended.

    One that does not tell its worker goes when no worker is left.

    Args:
        pids: the processes of living workers.
        workers: their ids.
    """
    for pid in children():
        if pid in pids:
            continue
        worker = worker_of(pid)
        if not pids if worker is None else worker not in workers:
            kill(pid)


def kill(pid: int) -> None:
    """Ends a process, and its group if it leads one."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def kill_everything() -> None:
    """Kills all children, and those that become children by that, until there are none."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        for pid in children():
            kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)
