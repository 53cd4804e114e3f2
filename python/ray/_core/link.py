"""The connection as a whole: its life, what it sends, calls, ids and references."""

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ray._core import frames, state, unhandled
from ray._core.arena import Arena
from ray._core.entries import PENDING, Reply
from ray._core.reader import Reader
from ray._core.refs import ObjectRef

RECORD_SITES = os.environ.get("RAY_record_ref_creation_sites", "0").lower() in ("1", "true")
TASK_ID = frames.Struct("<II16s")
#: More frames or bytes than this are sent at once, not with the next batch.
FLUSH_FRAMES = 96
FLUSH_BYTES = 64 * 1024
# How often (seconds), and how much at a time, is read while nobody waits but results of running tasks were dropped.
_LOOK_S = 0.1
_LOOK_MOST = 64
# What is dropped (``__del__`` only appends) is found after a nap at the latest, in a process that has been idle for
# long after a sleep: a thousand idle actors that nap would keep a core busy.
_NAP_S = 0.1
_SLEEP_S = 1.6


class Link(Reader):
    """What every part of a client builds on."""

    def __init__(self, sock: Any, hello: Dict[str, Any], descriptors: List[int], mode: str) -> None:
        super().__init__(sock)
        self.hello = hello
        self.mode = mode
        self.job_id: bytes = bytes.fromhex(hello.get("job_id") or "") or b"\xff" * 4
        self.node_id: bytes = bytes.fromhex(hello["node_id"])
        self.worker_id: bytes = bytes.fromhex(hello["client_id"])
        self.node_ip: str = hello.get("node_ip") or "127.0.0.1"
        self.namespace: str = hello.get("namespace") or ""
        self.session_dir: str = hello.get("session_dir") or ""
        self.gcs_address: str = hello.get("gcs_address") or ""
        self.inline_limit: int = hello.get("inline_limit") or 102400
        self.record_sites = RECORD_SITES or bool(hello.get("record_sites"))
        self.process: int = hello["process"]
        job = hello.get("job") or {}
        self.job_config: Dict[str, Any] = job
        self.runtime_env: Dict[str, Any] = job.get("runtime_env") or {}
        self.job_config_logs = bool(job.get("log_to_driver", True))
        self._task_suffix = b"\xff" * 12 + self.job_id
        self._put_prefix = TASK_ID.pack(self.process, 0, self._task_suffix)
        self._task_counter = 0
        self._put_counter = 0
        self._spare_size = 0  # of the last large object, in whole pages
        self._actor_counter = 0
        self._group_counter = 0
        self._template_counter = 0
        self._templates: Dict[bytes, int] = {}
        self._exports: Set[bytes] = set()
        self._for_good: List[Any] = []
        arena = hello.get("arena") or {}
        self.slot: Optional[int] = None
        if descriptors and arena.get("size"):
            self.arena = Arena(descriptors, arena["size"], self._unpinned.append)
            self.slot = arena.get("slot")
        self._flusher_parked = threading.Lock()
        self._flusher_parked.acquire()
        self._flusher: Optional[threading.Thread] = None
        self._main = threading.main_thread()
        self._keeps_orphans = mode == state.DRIVER
        self._next_look = 0.0
        self._on_close: List[Callable[[], None]] = []

    # ------------------------------------------------------------- lifetime

    def check_alive(self) -> None:
        """Raises what ended the connection, if it has ended."""
        if self.dead is not None:
            raise self.dead if isinstance(self.dead, BaseException) else RuntimeError(str(self.dead))

    def start(self) -> None:
        """Starts the thread that sends what nobody waits for."""
        self._flusher = threading.Thread(target=self._flush_loop, name="ray-flusher", daemon=True)
        self._flusher.start()

    def poll(self) -> None:
        """Handles what has arrived, without waiting."""
        self.wait_until(_never, _no_keys, 0.0)

    def is_pending(self, ref: ObjectRef) -> bool:
        """Whether the task of ref, submitted here, has not ended."""
        return self._objects.get(ref._bin) is PENDING

    def close(self, reason: str = "ray.shutdown() has been called") -> None:
        """Sends what is left and disconnects."""
        from ray.exceptions import RaySystemError

        with self._lock:
            if self.dead is None:
                try:
                    self._out.append(frames.call_frame(frames.NOTE, 0, "driver.finish", {}))
                    self._flush_locked()
                except Exception:
                    pass
        self._die(RaySystemError(f"This process is not connected to a cluster any more: {reason}."))
        self._closing = True
        for callback in self._on_close:
            callback()
        self._wake_flusher()
        self._reader_wanted.set()
        for thread in (self._flusher, self._reader_thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(1.0)
        self._sock.close()
        if self.arena is not None:
            self.arena.close()

    def abandon(self) -> None:
        """Makes the client useless in a forked child, without a word to the daemon."""
        self.dead = RuntimeError(
            "This process was forked from one that is connected to a Ray cluster, and a connection cannot be shared. "
            "Call ray.init() before forking only in the parent, or use multiprocessing's 'spawn' method; in this "
            "process call ray.shutdown() and ray.init() first."
        )
        self._lock = threading.RLock()
        self._gone = _ignore  # type: ignore[assignment]
        try:
            self._sock.close()
        except Exception:
            pass

    # -------------------------------------------------------------- sending

    def _flush_loop(self) -> None:
        idle = 0
        pause = _NAP_S
        while self.dead is None:
            time.sleep(0.001)
            if self.arena is not None and self.arena.idle:
                self.arena.end_idle()
            if self._unhandled or self._orphans:
                self._see_to_errors()
            if self._out or self._dead_refs or self._unpinned:
                idle, pause = 0, _NAP_S
                try:
                    self.flush()
                except Exception:
                    return
            elif idle < 50:
                idle += 1
            else:
                self._flusher_awake = False
                if not self._out and self._flusher_parked.acquire(timeout=pause):
                    pause = _NAP_S
                elif self._orphans or self._unhandled or (self.arena is not None and self.arena.idle):
                    pause = _NAP_S
                else:
                    pause = min(2 * pause, _SLEEP_S)
                self._flusher_awake = True

    def _see_to_errors(self) -> None:
        """Reports errors that nobody will look at; reads, now and then, how the tasks of orphans ended."""
        while self._unhandled:
            unhandled.report(self._unhandled.popleft())
        now = time.monotonic()
        if not self._orphans or now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        for _ in range(_LOOK_MOST):
            arrivals = self._arrivals
            try:
                self.poll()
            except Exception:
                return  # the connection has ended: whoever uses it next hears why
            if arrivals == self._arrivals:
                break

    def _wake_flusher(self) -> None:
        self._flusher_awake = True
        try:
            self._flusher_parked.release()
        except RuntimeError:
            pass

    def send(self, frame: bytes) -> None:
        """Appends a frame to what goes out; it is sent soon."""
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frame)
        if not self._flusher_awake:
            self._wake_flusher()

    def send_now(self, frame: bytes) -> None:
        """Appends a frame and sends everything."""
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frame)
            self._flush_locked()

    # ---------------------------------------------------------------- calls

    def call(
        self,
        method: str,
        params: Any = None,
        tail: bytes = b"",
        timeout: Optional[float] = None,
        blocking: bool = False,
    ) -> Tuple[Any, bytes]:
        """Asks the daemon; gives the result and the bytes that came with it.

        blocking: the answer may take long, so that a worker lends its CPU meanwhile.
        """
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            number = self._next_request()
            reply = self._requests[number] = Reply()
            self._out.append(frames.call_frame(frames.CALL, number, method, params or {}, tail))
            self._flush_locked()
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if not self.wait_until(lambda: reply.done, lambda: (number,), deadline, blocking, True):
                from ray.exceptions import GetTimeoutError

                raise GetTimeoutError(f"the node did not answer {method!r} within {timeout} s")
        finally:
            self._requests.pop(number, None)
        if reply.error:
            from ray._core.errors import from_info

            raise from_info(reply.result)
        return reply.result, reply.tail

    def _settle_round_trip(self, done: Callable[[], bool]) -> bool:
        """Lets what the daemon answers at once arrive: a call behind the question marks the end.

        A time limit shorter than a round trip would otherwise never find anything.
        """
        with self._lock:
            number = self._next_request()
            reply = self._requests[number] = Reply()
            self._out.append(frames.call_frame(frames.CALL, number, "objects.locations", {"ids": []}))
        finished = False

        def done_or_settled() -> bool:
            nonlocal finished
            finished = done()
            return finished or reply.done

        try:
            self.wait_until(done_or_settled, lambda: (number,), None)
        finally:
            self._requests.pop(number, None)
        return finished or done()

    # ------------------------------------------------------------------ ids

    def next_placement_group_id(self) -> bytes:
        """A new id for a placement group."""
        with self._lock:
            self._group_counter += 1
            return TASK_ID.pack(self.process, self._group_counter, b"\0" * 16)[:14] + self.job_id

    def next_actor_id(self) -> bytes:
        """A new id for an actor."""
        with self._lock:
            self._actor_counter += 1
            return TASK_ID.pack(self.process, self._actor_counter, b"\0" * 16)[:12] + self.job_id

    # ----------------------------------------------------------- references

    def adopt(self, binary: bytes, owner: bytes) -> ObjectRef:
        """A Python object for a reference that was unpickled."""
        if self.dead is not None:
            return ObjectRef(binary, owner)
        with self._lock:
            held = self._count.get(binary)
            if held is None and binary in self._orphans:
                self._count[binary] = 1
                self._extra[binary] = self._orphans.pop(binary) - 1
            elif held is None:
                # Nothing was delivered with it: there is nothing to release either.
                self._count[binary] = 1
                self._extra[binary] = self._extra.get(binary, 0) - 1
            else:
                self._count[binary] = held + 1
        return ObjectRef(binary, owner, self)

    def adopt_held(self, binary: bytes, owner: bytes) -> Optional[ObjectRef]:
        """One more Python object for a reference that this process holds; None if it holds it not."""
        with self._lock:
            held = self._count.get(binary)
            if self.dead is not None or held is None:
                return None
            self._count[binary] = held + 1
        return ObjectRef(binary, owner, self)

    def pin_for_good(self, ref: Any) -> None:
        """Keeps ref alive as long as this process is connected."""
        self._for_good.append(self.adopt(ref._bin, ref._owner))

    def hold(self, refs: bytes) -> None:
        """Notes one delivery of each reference; :meth:`let_go` undoes it."""
        with self._lock:
            self._hold_locked(refs)

    def let_go(self, refs: bytes) -> None:
        """Drops what :meth:`hold` held."""
        for i in range(0, len(refs), 56):
            self._gone(refs[i : i + 28])


def _ignore(_: Any) -> None:
    return None


def _never() -> bool:
    return False


def _no_keys() -> Tuple[Any, ...]:
    return ()
