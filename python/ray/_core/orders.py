"""What reaches a worker while it works: recall, cancel, exit; and the lending of its CPU while it waits."""

import os
import signal
import threading
import time
from typing import Any

from ray._core import frames, state
from ray._core.assignment import Exec, exec_head
from ray._core.entries import RefGuard
from ray._core.performing import USER_CODE
from ray._core.process import ExitNow, Process
from ray._core.reader import SAFE_CODES, Reader
from ray._core.stacks import stack_text

#: Where a thread that waits for tasks spends its time.
_WAITS = SAFE_CODES | {Reader._pump.__code__}
#: Orders to cancel what has not come yet that are remembered: most are for what has ended.
_NOTED = 10_000


class Orders(Process):
    """The part of a worker that follows the daemon's orders."""

    # -------------------------------------------------------------- blocking

    def _on_block(self) -> Any:
        if threading.current_thread() is not self.client._main:
            return None
        info = self.running
        if info is None or info.kind != "task":
            return None
        client = self.client
        # What has arrived behind this task, under whatever epoch, must not wait for it.
        epoch = max([info.epoch] + [exec_head(data, 0)[4] for data in list(self.queue) if type(data) is bytes])
        with self.lock:
            self.given_up = max(self.given_up, epoch)
        client.send_now(frames.pair_frame(frames.BLOCKED, info.seq, epoch))
        self._drop_queued()
        client.careful = True
        return (info.seq, epoch)

    def _on_unblock(self, token: Any) -> None:
        client = self.client
        client.careful = False
        if client.dead is None:
            client.send(frames.pair_frame(frames.UNBLOCKED, *token))

    def _drop_queued(self) -> None:
        """Drops tasks that have arrived and belong to the daemon again."""
        kept = []
        queue = self.queue
        while queue:
            data = queue.popleft()
            if type(data) is dict:
                kept.append(data)
                continue
            epoch = exec_head(data, 0)[4]
            if epoch and epoch <= self.given_up:
                item = Exec(data)
                if item.refs:
                    self.client.hold(item.refs)
                    item.guard = RefGuard(self.client._gone, item.refs)
                self._drop(item)
            else:
                kept.append(data)
        queue.extendleft(reversed(kept))

    def _drop(self, item: Exec) -> None:
        """Lets go of what came with a task that is not run."""
        client = self.client
        for ref, where, _ in item.deps:
            if where == frames.ARENA:
                client._unpinned.append(ref[:28])
        item.guard = None

    # --------------------------------------------------------------- control

    def serve_control(self) -> None:
        """Reads the control connection until it ends."""
        sock = self.control
        data = b""
        while True:
            try:
                part = sock.recv(65536)
            except OSError:
                return
            if not part:
                return
            data += part
            while len(data) >= 8:
                length, kind, _, _ = frames.HEADER.unpack_from(data, 0)
                if len(data) < 4 + length:
                    break
                body, data = data[8 : 4 + length], data[4 + length :]
                self._control_frame(kind, body)

    def _control_frame(self, kind: int, body: bytes) -> None:
        if kind == frames.RECALL:
            (epoch,) = frames.U32.unpack_from(body, 0)
            with self.lock:
                self.recalled = max(self.recalled, epoch)
                seq = self.begun
            self.send_control(frames.pair_frame(frames.RECALLED, epoch, seq))
        elif kind == frames.CANCEL:
            task_id, _ = frames.CANCEL_BODY.unpack_from(body, 0)
            self._cancel(task_id)
        elif kind == frames.EXIT:
            order = frames.load_json(body)
            self._exit_order(bool(order.get("graceful")), order.get("reason") or "")
        elif kind == frames.GEN_CONSUMED:
            task_id, count = frames.CONSUMED_BODY.unpack_from(body, 0)
            with self.consumed_changed:
                self.consumed[task_id] = max(count, self.consumed.get(task_id, 0))
                self.consumed_changed.notify_all()
        elif kind == frames.COLLECT:
            self.client.collect()
        elif kind == frames.STACK:
            self.send_control(frames.call_frame(frames.NOTE, 0, "stack", {}, stack_text().encode()))

    def _exit_order(self, graceful: bool, reason: str) -> None:
        if not graceful:
            os._exit(0)
        self.exiting = (graceful, reason)
        with self.client._lock:
            self.client._wake("exec")
        threading.Thread(target=self._rouse, name="ray-rouse", daemon=True).start()

    def _rouse(self) -> None:
        """Takes the main thread out of its wait for tasks, where it may be in recv.

        One signal is not enough: it may come just before the system call, which it does not end then.
        """
        main = threading.main_thread().ident
        while not self.ending:
            if self.idle:
                signal.pthread_kill(main, signal.SIGUSR2)  # type: ignore[arg-type]
            time.sleep(0.02)

    def _cancel(self, task_id: bytes) -> None:
        # First the note, then the look: who begins a task shows it first and reads the notes then.
        self._note_cancelled(task_id)
        executor = self.executor
        if executor is not None:
            if executor.cancel(task_id):
                self.cancelled.pop(task_id, None)
            return
        info = self.running
        if info is not None and info.task_id == task_id:
            if self.cancelled.pop(task_id, None) is None:
                return  # the main thread has read it
            if info.kind != "task":
                info.canceled = True
                self.tell_cancelled(task_id)
                return
            self.tell_cancelled(task_id)
            self.interrupting = task_id
            self._interrupt(task_id)
        elif state.actor is not None:
            # The call before it may take for ever: the daemon answers, if this one has not begun and ended meanwhile.
            self.note("call.waits", {"task_id": task_id.hex()})
            self.client.flush()

    def _note_cancelled(self, task_id: bytes) -> None:
        """Remembers the order for a task that has not come yet; one that has ended is forgotten some time."""
        self.cancelled[task_id] = True
        if len(self.cancelled) > _NOTED:
            for oldest in list(self.cancelled)[: _NOTED // 10]:
                self.cancelled.pop(oldest, None)

    def tell_cancelled(self, task_id: bytes) -> None:
        """Tells the daemon, behind the children that the task has submitted, that the order has reached it."""
        self.note("task.cancelled", {"task_id": task_id.hex()})
        self.client.flush()

    def _interrupt(self, task_id: bytes) -> None:
        """Raises KeyboardInterrupt in the main thread while it runs the task."""
        main = threading.main_thread().ident
        for _ in range(3000):
            info = self.running
            if self.interrupting != task_id or info is None or info.task_id != task_id:
                return
            signal.pthread_kill(main, signal.SIGINT)  # type: ignore[arg-type]
            time.sleep(0.01)

    # --------------------------------------------------------------- signals

    def on_sigint(self, _: int, frame: Any) -> None:
        """Runs in the main thread: interrupts the user's code, never this package's."""
        target = self.interrupting
        info = self.running
        if target is None or info is None or info.task_id != target:
            return
        if not _interruptible(frame):
            return  # the control thread tries again
        self.interrupting = None
        self.delivered = target
        raise KeyboardInterrupt()

    def on_exit_signal(self, _: int, frame: Any) -> None:
        """Runs in the main thread: ends an idle wait, where nothing is half done; a busy thread looks by itself."""
        if self.idle and self.exiting is not None and not self.queue and frame.f_code in _WAITS:
            self.idle = False
            raise ExitNow()

    def _on_death(self) -> None:
        # The daemon is gone: so is everything that this process could do.
        if not self.client._closing:
            os._exit(1)


def _interruptible(frame: Any) -> bool:
    """Whether the interrupted code is the user's, or a wait of this package below it."""
    top = frame.f_code
    if top is USER_CODE:
        return False
    safe = top in SAFE_CODES
    while frame is not None:
        code = frame.f_code
        if code is USER_CODE:
            return True
        if not safe and frame.f_globals.get("__name__", "").startswith("ray._core"):
            return False
        frame = frame.f_back
    return False
