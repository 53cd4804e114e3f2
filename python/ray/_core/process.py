"""A worker process: its state, and what its parts have in common."""

import os
import sys
import threading
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from ray._core import frames, state
from ray._core.assignment import Exec, Template
from ray._core.client import Client
from ray._core.state import TaskInfo


class ExitNow(BaseException):
    """Takes an idle main thread out of its wait."""


class ActorExit(SystemExit):
    """Raised by ``exit_actor()``."""


class ArgumentFailed(Exception):
    """A dependency holds an error: the task ends with it, without running."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Process:
    """The state of a worker process."""

    def __init__(self, client: Client, control: Any) -> None:
        self.client = client
        self.control = control
        self.control_lock = threading.Lock()
        self.templates: Dict[int, Template] = {}
        self.code: Dict[str, bytes] = {}
        self.functions: Dict[str, Any] = {}
        self.queue: Deque[Any] = deque()
        self.lock = threading.Lock()  # guards what is running, against recall and cancel
        self.recalled = 0
        self.given_up = 0  # tasks of this epoch and older belong to the daemon
        self.seq = 0
        self.begun = 0  # the last task begun, running or ended
        self.running: Optional[TaskInfo] = None
        self.cancelled: Dict[bytes, bool] = {}
        self.interrupting: Optional[bytes] = None
        self.delivered: Optional[bytes] = None
        self.idle = False
        self.lease: Dict[str, Any] = {}
        self.runtime_env = client.runtime_env
        self.broken: Optional[BaseException] = None  # why this process cannot run anything
        self.consumed: Dict[bytes, int] = {}
        self.consumed_changed = threading.Condition()
        self.executor: Any = None  # of a threaded or asynchronous actor
        self.system_executor: Any = None  # of another one, for the groups that every actor has
        self.exiting: Optional[Tuple[bool, str]] = None
        self.ending = False
        self.marker = ""
        self.title = ""
        self.held_since = 0.0
        self.last_template = -1
        self.last_short = False
        arena, slot = client.arena, client.slot
        # The slot of this process: the task that runs, the last one that was about to begin, and the daemon's mark.
        self._words: Any = arena.words if arena is not None and slot is not None else [0] * 3
        self._at = (slot or 0) >> 3

    @staticmethod
    def mark(prefix: str, name: str) -> None:
        """Prints a marker line to both streams: the name of what prints from here on."""
        line = f"{prefix}{name}\n"
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.write(line)
                stream.flush()
            except (OSError, ValueError):
                pass

    def report(
        self, item: Exec, template: Template, status: int, values: List[Tuple[int, bytes]], items: int, micros: int
    ) -> None:
        """Sends DONE, soon."""
        if len(values) == 1:
            returns = frames.U32.pack(values[0][0]) + values[0][1]
        else:
            returns = b"".join([frames.U32.pack(index) + value for index, value in values])
        frame = frames.done_frame(status, item.seq, item.epoch, len(values), items, micros, item.task_id, returns)
        client = self.client
        with client._lock:
            client._out.append(frame)
            client._out_bytes += len(frame)
            if client._out_bytes > 65536:
                client._flush_locked()
        if not client._flusher_awake:
            client._wake_flusher()

    def note(self, method: str, params: Any, tail: bytes = b"") -> None:
        """Tells the daemon something, in order with results."""
        with self.client._lock:
            self.client._out.append(frames.call_frame(frames.NOTE, 0, method, params, tail))

    def send_control(self, frame: bytes) -> None:
        """Sends a frame on the control connection."""
        with self.control_lock:
            try:
                self.control.sendall(frame)
            except OSError:
                pass

    def finish(self) -> None:
        """Ends the process in order: exit handlers run, output is sent."""
        self.ending = True
        client = self.client
        executor, self.executor = self.executor, None
        if executor is not None:
            executor.stop()
        actor = state.actor
        if actor is not None and actor.instance is not None:
            hook = getattr(actor.instance, "__ray_shutdown__", None)
            if callable(hook):
                try:
                    hook()
                except Exception:
                    import traceback

                    traceback.print_exc()
        try:
            client.flush()
        except Exception:
            pass
        import atexit

        try:
            atexit._run_exitfuncs()
        except BaseException:
            pass
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            client.flush()
        finally:
            os._exit(0)
