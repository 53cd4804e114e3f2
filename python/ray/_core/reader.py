"""Reading the data connection: who reads and who is woken.

The *reading role* is a lock. Its holder reads and handles frames for all
threads. A thread that finds the role taken lists the keys that it waits for
(object ids, request numbers) and sleeps; the reader wakes it when one of them
is settled, or when it gives the role up while that thread is still there.

Lock order: the role first, then ``_lock``. Nothing that can run user code
(unpickling, callbacks) happens under ``_lock``.
"""

import socket
import struct
import threading
import time
from typing import Any, Callable, Optional, Tuple

from ray._core import frames
from ray._core.arrivals import Arrivals
from ray._core.entries import Follower
from ray._core.frames import U32

# Up to here, malloc serves a receive buffer without a system call.
_CHUNK = 120_000
# How long a worker waits for what may be there at once before it lends its CPU.
_PATIENCE_S = 0.002

_U32 = U32.unpack_from


def _poll_wait(poll: Any, milliseconds: Optional[float]) -> Any:
    return poll.poll(milliseconds)


def _lock_wait(lock: Any, timeout: float) -> bool:
    return lock.acquire(True, timeout)


#: Code at which a signal's handler may raise: nothing is half done there.
SAFE_CODES = frozenset({_poll_wait.__code__, _lock_wait.__code__})


class Reader(Arrivals):
    """A connection whose frames one thread at a time reads for all."""

    def wait_until(
        self,
        done: Callable[[], bool],
        keys: Callable[[], Tuple[Any, ...]],
        deadline: Optional[float],
        blocking: bool = False,
        patient: bool = False,
    ) -> bool:
        """Sends what is buffered and reads until done(); False if the deadline (monotonic) passes first.

        Args:
            done: cheap and free of side effects on other threads; called by this thread only.
            keys: what this thread waits for now, asked when another thread reads.
            deadline: None for ever.
            blocking: a worker's main thread lends its CPU meanwhile.
            patient: it does so only after a moment, as the answer may be there at once.
        """
        self.flush()
        token = None
        lend = blocking and self.on_block is not None
        if lend and patient:
            soon = time.monotonic() + _PATIENCE_S
            first = soon if deadline is None or soon < deadline else deadline
            if self._wait_until(done, keys, first):
                return True
        if lend:
            token = self.on_block()  # type: ignore[misc]
        try:
            return self._wait_until(done, keys, deadline)
        finally:
            if token is not None:
                self.on_unblock(token)  # type: ignore[misc]

    def _wait_until(
        self, done: Callable[[], bool], keys: Callable[[], Tuple[Any, ...]], deadline: Optional[float]
    ) -> bool:
        while True:
            if self._role.acquire(False):
                try:
                    return self._lead(done, deadline)
                finally:
                    self._role.release()
                    if self._followers:
                        self._pass_role_on()
            try:
                outcome = self._follow(done, keys, deadline)
            except BaseException:
                if self._followers:
                    self._pass_role_on()
                raise
            if outcome is not None:
                if self._followers:
                    self._pass_role_on()
                return outcome

    def _lead(self, done: Callable[[], bool], deadline: Optional[float]) -> bool:
        while True:
            if done():
                return True
            if self.dead is not None:
                raise self.dead
            if deadline is None:
                self._pump(None)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                if not self._pump(0.0):
                    return done()
                continue
            self._pump(left)

    def _follow(
        self, done: Callable[[], bool], keys: Callable[[], Tuple[Any, ...]], deadline: Optional[float]
    ) -> Optional[bool]:
        """Sleeps once; None means: look again who reads."""
        me = Follower()
        if done():
            return True
        wanted = keys()
        with self._lock:
            if self.dead is not None:
                raise self.dead
            self._followers.add(me)
            for key in wanted:
                self._interest.setdefault(key, []).append(me)
        try:
            if done():
                return True
            if not self._role.locked():
                return None
            if deadline is None:
                _lock_wait(me.lock, self.tick)
            else:
                left = deadline - time.monotonic()
                if left <= 0 or not _lock_wait(me.lock, left):
                    return done()
        finally:
            with self._lock:
                self._followers.discard(me)
                for key in wanted:
                    listed = self._interest.get(key)
                    if listed is not None:
                        if me in listed:
                            listed.remove(me)
                        if not listed:
                            self._interest.pop(key, None)
            if self.dead is not None:
                raise self.dead
        return True if done() else None

    def look_for_signals(self) -> None:
        """Lets every wait look for signals once a second.

        One that comes between the interpreter's last look and the system call
        does not interrupt that call: Ctrl-C would be heard when the wait ends.
        """
        self.tick = 1.0
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 1, 0))

    def _pass_role_on(self) -> None:
        """Wakes one sleeping thread so that somebody reads."""
        with self._lock:
            for follower in self._followers:
                if not follower.awake:
                    follower.wake()
                    return

    # ------------------------------------------------- a reader on demand

    def want_reader(self) -> None:
        """Makes sure that somebody reads although nobody waits: callbacks are due."""
        if self._reader_thread is None:
            with self._lock:
                if self._reader_thread is None:
                    self._reader_thread = threading.Thread(target=self._read_loop, name="ray-reader", daemon=True)
                    self._reader_thread.start()
        if not self._reader_wanted.is_set():
            self._reader_wanted.set()

    def _read_loop(self) -> None:
        def idle() -> bool:
            return not self._callbacks and not self._subscribed

        while not self._closing:
            self._reader_wanted.wait()
            self._reader_wanted.clear()
            if self._closing:
                return
            try:
                self.wait_until(idle, lambda: ("callbacks",), None)
            except BaseException:
                if self.dead is not None:
                    return

    # -------------------------------------------------------------- reading

    def _pump(self, timeout: Optional[float]) -> bool:
        """Reads once and handles what came; False if nothing did. For the holder of the role."""
        if timeout is not None or self.careful:
            try:
                found = _poll_wait(self._poll, None if timeout is None else timeout * 1000 + 0.999)
            except InterruptedError:
                return False
            if not found:
                return False
        try:
            data = self._recv(_CHUNK)
        except BlockingIOError:  # a tick has gone by
            return False
        except OSError as error:
            self._die(self._lost(error))
            return True
        if not data:
            self._die(self._lost(None))
            return True
        rest = self._rest
        if rest:
            data = rest + data
        if len(data) >= 4:
            need = 4 + _U32(data)[0]
            if need > len(data) + _CHUNK:
                data = self._read_large(data, need)
        with self._lock:
            self._rest = self._handle(data)
            due = self._due
            if due:
                self._due = []
        for callback, entry in due:
            callback(entry)
        return True

    def _read_large(self, data: bytes, need: int) -> bytes:
        if need > frames.MAX_FRAME + 4:
            self._die(RuntimeError("the daemon sent a frame that is too long"))
            return b""
        buffer = bytearray(need)
        view = memoryview(buffer)
        have = len(data)
        view[:have] = data
        while have < need:
            try:
                part = self._recv(min(need - have, 1 << 20))
            except BlockingIOError:
                continue
            except OSError as error:
                self._die(self._lost(error))
                return b""
            if not part:
                self._die(self._lost(None))
                return b""
            view[have : have + len(part)] = part
            have += len(part)
        view.release()
        return bytes(buffer)
