"""What a connection knows: objects, references, requests, and what is about to be sent.

``_lock`` guards the tables. Nothing that can run user code (unpickling,
callbacks) happens under it.
"""

import select
import threading
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Set, Tuple

from ray._core import frames
from ray._core.entries import PENDING, Follower, GetRequest, Inline
from ray._core.frames import HEADER, ID_COUNT

# What the ids of actors' creations begin with.
_NO_TASK = b"\xff" * 8


class Tables:
    """The tables, and how dropped references and buffered frames leave."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._recv = sock.recv
        self._rest = b""
        self._lock = threading.RLock()
        self._role = threading.Lock()
        self.dead: Optional[BaseException] = None
        self._closing = False
        self.arena: Any = None

        self._out: List[bytes] = []
        self._out_bytes = 0
        self._flusher_awake = False

        # Python objects that stand for an object, and deliveries of it besides the first.
        self._count: Dict[bytes, int] = {}
        self._extra: Dict[bytes, int] = {}
        self._objects: Dict[bytes, Any] = {}
        self._dead_refs: Deque[bytes] = deque()
        self._gone = self._dead_refs.append
        self._unpinned: Deque[bytes] = deque()
        # Room for the next objects: (number, offset, size, warm), in the order of the numbers.
        self._spares: Deque[Tuple[int, int, int, bool]] = deque()
        self._streams: Dict[bytes, Any] = {}

        # Results that were dropped before their task ended, and the deliveries to give back when it has: a driver
        # wants to know of their errors.
        self._orphans: Dict[bytes, int] = {}
        self._keeps_orphans = False
        self._unread: Set[bytes] = set()  # errors that nobody has looked at
        self._looked: Set[bytes] = set()  # pending results whose errors somebody will see
        self._unhandled: Deque[Any] = deque()  # errors that nobody will look at

        self._requests: Dict[int, Any] = {}
        self._request_number = 0
        self._forgotten: Dict[int, List[bytes]] = {}  # answers may still be on their way
        self._multi: Dict[bytes, int] = {}  # number of returns of tasks that have several
        self._errors = 0
        self._arrivals = 0

        self._followers: Set[Follower] = set()
        self._interest: Dict[Any, List[Follower]] = {}
        self._callbacks: Dict[bytes, List[Tuple[Any, Callable[[Any], None]]]] = {}
        self._subscribed = 0
        self._due: List[Tuple[Callable[[Any], None], Any]] = []
        self._callback_queue: Any = None
        self._reader_thread: Optional[threading.Thread] = None
        self._reader_wanted = threading.Event()

        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        #: Of a session with another machine: why it has ended, or None.
        self.why_lost: Optional[Callable[[], Optional[str]]] = None
        # Set by a worker: called around a wait of its main thread, and for frames meant for it.
        self.on_block: Optional[Callable[[], Any]] = None
        self.on_unblock: Optional[Callable[[Any], None]] = None
        self.on_exec: Optional[Callable[[bytes], None]] = None
        self.on_lease: Optional[Callable[[Dict[str, Any]], None]] = None
        self.on_death: Optional[Callable[[], None]] = None
        self.on_code: Optional[Callable[[int, bytes], None]] = None
        self.tick = -1.0  # seconds after which a wait without a limit looks for signals; -1: never
        self.careful = False  # a signal may end a wait with an exception: poll before each recv

    # -------------------------------------------------------------- sending

    def _next_request(self) -> int:
        self._request_number = number = self._request_number % 0xFFFFFFF0 + 1
        return number

    def flush(self) -> None:
        """Sends all that is buffered."""
        with self._lock:
            self._flush_locked()

    def collect(self) -> None:
        """Collects Python's garbage and tells the daemon which references that leaves."""
        import gc

        gc.collect()
        self.flush()

    def _flush_locked(self) -> None:
        if self._dead_refs:
            self._drain_locked()
        if self._unpinned:
            self._drain_unpins_locked()
        out = self._out
        if not out or self.dead is not None:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        try:
            self._sock.sendall(data)
        except OSError as error:
            self._die(self._lost(error))

    # ----------------------------------------------------------- references

    def _drain_locked(self) -> None:
        """Turns dropped Python objects into RELEASE."""
        dead, count, objects, extra = self._dead_refs, self._count, self._objects, self._extra
        idle = self.arena.idle if self.arena is not None else None
        pack = ID_COUNT.pack
        released = []
        while dead:
            oid = dead.popleft()
            held = count.get(oid)
            if held is None:
                if len(oid) == 24:
                    self._drop_stream_locked(oid)
                continue
            if held > 1:
                count[oid] = held - 1
                continue
            del count[oid]
            entry = objects.pop(oid, None)
            if entry is PENDING and self._keeps_orphans and self._is_orphan(oid):
                objects[oid] = PENDING
                self._orphans[oid] = 1 + extra.pop(oid, 0)
                continue
            if self._unread and oid in self._unread:
                self._unread.discard(oid)
                self._unhandled.append(entry)
            if self._looked:
                self._looked.discard(oid)
            if idle and oid in idle:
                self.arena.end_idle(oid)
            if type(entry) is Inline:
                refs = entry.refs
                for i in range(0, len(refs), 56):
                    dead.append(refs[i : i + 28])
            deliveries = 1
            if extra:
                deliveries += extra.pop(oid, 0)
            if deliveries > 0:
                released.append(pack(oid, deliveries))
        if released:
            self._out.append(HEADER.pack(4 + 32 * len(released), frames.RELEASE, 0, 0) + b"".join(released))

    def _is_orphan(self, oid: bytes) -> bool:
        """Whether to wait for the end of a task whose result was dropped. Actors must end with their last handle."""
        return oid not in self._looked and oid[:8] != _NO_TASK and oid[:24] not in self._streams

    def _look_at(self, refs: Iterable[Any]) -> None:
        """Notes that somebody will see the errors of these."""
        for ref in refs:
            if self._objects.get(ref._bin) is PENDING:
                self._looked.add(ref._bin)
            else:
                self._unread.discard(ref._bin)

    def _drain_unpins_locked(self) -> None:
        counts: Dict[bytes, int] = {}
        unpinned = self._unpinned
        while unpinned:
            oid = unpinned.popleft()
            counts[oid] = counts.get(oid, 0) + 1
        body = b"".join(ID_COUNT.pack(oid, n) for oid, n in counts.items())
        self._out.append(HEADER.pack(4 + len(body), frames.UNPIN, 0, 0) + body)

    def _drop_stream_locked(self, task_id: bytes) -> None:
        stream = self._streams.pop(task_id, None)
        if stream is not None:
            self._dead_refs.extend(stream.unread())
            self._out.append(frames.consumed_frame(task_id, 0xFFFFFFFF))

    def _hold_locked(self, refs: bytes) -> None:
        count, extra = self._count, self._extra
        for i in range(0, len(refs), 56):
            oid = refs[i : i + 28]
            held = count.get(oid)
            if held is None:
                count[oid] = 1
                if self._orphans and oid in self._orphans:
                    extra[oid] = self._orphans.pop(oid)
            else:
                count[oid] = held + 1
                extra[oid] = extra.get(oid, 0) + 1

    def _drop_refs(self, refs: bytes) -> None:
        for i in range(0, len(refs), 56):
            self._gone(refs[i : i + 28])

    # ---------------------------------------------------------------- death

    def _lost(self, error: Optional[BaseException]) -> BaseException:
        from ray.exceptions import LocalRayletDiedError

        if self.why_lost is not None:
            return ConnectionError(
                f"The connection to the cluster is gone: {self.why_lost() or error or 'it was closed'}. "
                "Call ray.shutdown() and ray.init() to connect again."
            )
        why = f" ({error})" if error else ""
        return LocalRayletDiedError(
            f"The connection to this machine's node daemon is gone{why}: the daemon has ended or was killed. "
            "Its log is raylet.out in the session's logs folder. Call ray.shutdown() and ray.init() to connect again."
        )

    def _die(self, reason: BaseException) -> None:
        """Ends the connection for everybody; the first reason stays."""
        with self._lock:
            if self.dead is not None:
                return
            self.dead = reason
            waiting = [(callback, reason) for listed in self._callbacks.values() for _, callback in listed]
            waiting += [
                (request.callback, reason)
                for request in self._requests.values()
                if isinstance(request, GetRequest) and request.callback is not None
            ]
            self._callbacks.clear()
            self._subscribed = 0
            self._due.extend(waiting)
            for follower in self._followers:
                follower.wake()
            due, self._due = self._due, []
        try:
            self._sock.shutdown(2)
        except Exception:
            pass
        for callback, entry in due:
            callback(entry)
        if self.on_death is not None:
            self.on_death()
