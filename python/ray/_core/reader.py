"""Reading the data connection: who reads, what each frame means, who is woken.

The *reading role* is a lock. Its holder reads and handles frames for all
threads. A thread that finds the role taken lists the keys that it waits for
(object ids, request numbers) and sleeps; the reader wakes it when one of them
is settled, or when it gives the role up while that thread is still there.

Lock order: the role first, then ``_lock``. Nothing that can run user code
(unpickling, callbacks) happens under ``_lock``.
"""

import select
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

from ray._core import frames
from ray._core.frames import ELSEWHERE as AT_OTHER
from ray._core.frames import HEADER, ID_COUNT, INLINE, U32, VALUE

# What the table of objects knows about a value that is not at hand.
PENDING = 0  # its task, submitted here, has not ended
LOCAL = 1  # it is in the arena: GET gives its place
ELSEWHERE = 2  # it exists: GET brings it

# Up to here, malloc serves a receive buffer without a system call.
_CHUNK = 120_000
# How long a worker waits for what may be there at once before it lends its CPU.
_PATIENCE_S = 0.002

_PUSH_BODY = frames.PUSH_BODY.unpack_from
_HEADER = HEADER.unpack_from
_VALUE = VALUE.unpack_from
_U32 = U32.unpack_from


class Inline:
    """A blob that contains references, which it holds."""

    __slots__ = ("blob", "refs")

    def __init__(self, blob: bytes, refs: bytes) -> None:
        self.blob = blob
        self.refs = refs


class Shared:
    """A value in the arena, pinned while this or a view of it is alive."""

    __slots__ = ("exporter", "view", "guard")

    def __init__(self, exporter: Any, view: memoryview, guard: Any) -> None:
        self.exporter = exporter
        self.view = view
        self.guard = guard


class RefGuard:
    """Holds the references inside a value until the value has been read."""

    __slots__ = ("_gone", "_refs")

    def __init__(self, gone: Callable[[bytes], None], refs: bytes) -> None:
        self._gone = gone
        self._refs = refs

    def __del__(self) -> None:
        gone, refs = self._gone, self._refs
        for i in range(0, len(refs), 56):
            gone(refs[i : i + 28])


class GetRequest:
    """A GET under way."""

    __slots__ = ("ids", "values", "left", "callback")

    def __init__(self, ids: List[bytes], callback: Optional[Callable[[Any], None]]) -> None:
        self.ids = ids
        self.values: List[Any] = [None] * len(ids)
        self.left = len(ids)
        self.callback = callback


class WaitRequest:
    """A WAIT under way; fresh holds the indices that nobody has looked at."""

    __slots__ = ("fresh", "count")

    def __init__(self) -> None:
        self.fresh: List[int] = []
        self.count = 0


class CreateRequest:
    """A CREATE under way."""

    __slots__ = ("done", "offset", "warm", "error")

    def __init__(self) -> None:
        self.done = False
        self.offset = 0
        self.warm = False
        self.error: Optional[Dict[str, Any]] = None


class Reply:
    """A CALL under way."""

    __slots__ = ("done", "error", "result", "tail")

    def __init__(self) -> None:
        self.done = False
        self.error = False
        self.result: Any = None
        self.tail = b""


class _Follower:
    """A thread that sleeps while another one reads."""

    __slots__ = ("lock", "awake")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.awake = False

    def wake(self) -> None:
        """Wakes the thread; under the client's lock."""
        if not self.awake:
            self.awake = True
            self.lock.release()


def _poll_wait(poll: Any, milliseconds: Optional[float]) -> Any:
    return poll.poll(milliseconds)


def _lock_wait(lock: Any, timeout: float) -> bool:
    return lock.acquire(True, timeout)


#: Code at which a signal's handler may raise: nothing is half done there.
SAFE_CODES = frozenset({_poll_wait.__code__, _lock_wait.__code__})


class Reader:
    """Tables of a connection and the one thread at a time that reads for them."""

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
        self._streams: Dict[bytes, Any] = {}

        self._requests: Dict[int, Any] = {}
        self._request_number = 0
        self._forgotten: Dict[int, List[bytes]] = {}  # answers may still be on their way
        self._multi: Dict[bytes, int] = {}  # number of returns of tasks that have several
        self._errors = 0
        self._arrivals = 0

        self._followers: Set[_Follower] = set()
        self._interest: Dict[Any, List[_Follower]] = {}
        self._callbacks: Dict[bytes, List[Tuple[Any, Callable[[Any], None]]]] = {}
        self._subscribed = 0
        self._due: List[Tuple[Callable[[Any], None], Any]] = []
        self._callback_queue: Any = None
        self._reader_thread: Optional[threading.Thread] = None
        self._reader_wanted = threading.Event()

        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        self._pending_input = getattr(sock, "pending", None)
        # Set by a worker: called around a wait of its main thread, and for frames meant for it.
        self.on_block: Optional[Callable[[], Any]] = None
        self.on_unblock: Optional[Callable[[Any], None]] = None
        self.on_exec: Optional[Callable[[bytes], None]] = None
        self.on_lease: Optional[Callable[[Dict[str, Any]], None]] = None
        self.on_death: Optional[Callable[[], None]] = None
        self.on_code: Optional[Callable[[int, bytes], None]] = None
        self.careful = False  # a signal may end a wait with an exception: poll before each recv

        self._handlers: Dict[int, Callable[[bytes, int, int, int], None]] = {
            frames.OBJ: self._on_obj,
            frames.READY: self._on_ready,
            frames.CREATED: self._on_created,
            frames.REPLY: self._on_reply,
            frames.EXEC: self._on_exec_frame,
            frames.LEASE: self._on_lease_frame,
            frames.TEMPLATE: self._on_code_frame,
            frames.EXPORT: self._on_code_frame,
            frames.CALL: self._on_call,
            frames.NOTE: self._on_call,
            frames.FATAL: self._on_fatal,
        }

    # -------------------------------------------------------------- sending

    def _next_request(self) -> int:
        self._request_number = number = self._request_number % 0xFFFFFFF0 + 1
        return number

    def flush(self) -> None:
        """Sends all that is buffered."""
        with self._lock:
            self._flush_locked()

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
            else:
                count[oid] = held + 1
                extra[oid] = extra.get(oid, 0) + 1

    # -------------------------------------------------------------- waiting

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
        me = _Follower()
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
                _lock_wait(me.lock, -1)
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

    def _pass_role_on(self) -> None:
        """Wakes one sleeping thread so that somebody reads."""
        with self._lock:
            for follower in self._followers:
                if not follower.awake:
                    follower.wake()
                    return

    def _wake(self, key: Any) -> None:
        for follower in self._interest.get(key, ()):
            follower.wake()

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
            if not (self._pending_input is not None and self._pending_input()):
                try:
                    found = _poll_wait(self._poll, None if timeout is None else timeout * 1000 + 0.999)
                except InterruptedError:
                    return False
                if not found:
                    return False
        try:
            data = self._recv(_CHUNK)
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

    def _handle(self, data: bytes) -> bytes:
        """Handles the whole frames in data; gives the rest."""
        pos, size = 0, len(data)
        handlers = self._handlers
        self._arrivals += 1
        while size - pos >= 8:
            length, kind, flags, _ = _HEADER(data, pos)
            end = pos + 4 + length
            if end > size:
                break
            if kind == 0x30:
                self._on_push(data, pos + 8, end)
            else:
                handler = handlers.get(kind)
                if handler is not None:
                    handler(data, pos + 8, end, flags)
            pos = end
        return data[pos:] if pos < size else b""

    def _on_push(self, data: bytes, pos: int, end: int) -> None:
        own, flags, _, nreturns, items, _, task_id = _PUSH_BODY(data, pos)
        pos += own
        stream = self._streams.get(task_id) if self._streams or flags else None
        objects = self._objects
        for _ in range(nreturns):
            index = data[pos : pos + 4]
            where, _, nrefs, length = _VALUE(data, pos + 4)
            pos += 12
            refs = b""
            if nrefs:
                refs = data[pos : pos + 56 * nrefs]
                pos += 56 * nrefs
                self._hold_locked(refs)
            oid = task_id + index
            blob = data[pos : pos + length]
            pos += length
            if flags & 1:
                self._on_item(task_id, stream, oid)
            if objects.get(oid) is not PENDING:
                # Released meanwhile, or known already: what came with it goes.
                if index == b"\0\0\0\0":
                    self._error_for_all(task_id, blob if where == INLINE else ELSEWHERE, refs)
                elif refs:
                    self._drop_refs(refs)
                continue
            if where == INLINE:
                self._settle(oid, Inline(blob, refs) if refs else blob, blob[0] == 2 or blob[0] == 3)
            else:
                if refs:
                    self._drop_refs(refs)
                self._settle(oid, ELSEWHERE if where == AT_OTHER else LOCAL, False)
        if self._multi and not flags & 1:
            self._multi.pop(task_id, None)
        if stream is not None and not flags & 1:
            stream.end(items, objects.get(task_id + b"\x01\0\0\0"))
            self._wake(task_id)

    def _on_item(self, task_id: bytes, stream: Any, oid: bytes) -> None:
        """One item of a stream: its PUSH is a delivery."""
        held = self._count.get(oid)
        if held is not None:
            # A replay of an item that is known: it counts as one more delivery.
            self._extra[oid] = self._extra.get(oid, 0) + 1
            return
        self._count[oid] = 1
        if stream is None:
            self._gone(oid)
            return
        self._objects[oid] = PENDING
        stream.add(oid)
        self._wake(task_id)

    def _error_for_all(self, task_id: bytes, entry: Any, refs: bytes) -> None:
        """A return with index 0 stands for every return."""
        for i in range(self._multi.get(task_id, 1)):
            oid = task_id + U32.pack(i + 1)
            if self._objects.get(oid) is PENDING:
                self._settle(oid, entry, type(entry) is not int)
        if refs:
            self._drop_refs(refs)

    def _drop_refs(self, refs: bytes) -> None:
        for i in range(0, len(refs), 56):
            self._gone(refs[i : i + 28])

    def _settle(self, oid: bytes, entry: Any, error: bool) -> None:
        """The state of an object that was pending is known."""
        self._objects[oid] = entry
        if error:
            self._errors += 1
            for follower in self._followers:
                follower.wake()
        elif self._interest:
            self._wake(oid)
        if self._callbacks:
            listed = self._callbacks.pop(oid, None)
            if listed is not None:
                for ref, callback in listed:
                    if type(entry) is int:
                        self._request_for(ref, callback)
                        self._due.append((lambda _: self.flush(), None))
                    else:
                        self._due.append((callback, entry))
                if not self._callbacks and not self._subscribed:
                    self._wake("callbacks")

    def _request_for(self, ref: Any, callback: Callable[[Any], None]) -> None:
        raise NotImplementedError

    def _on_obj(self, data: bytes, pos: int, end: int, _: int) -> None:
        own, _, number, index = frames.OBJ_BODY.unpack_from(data, pos)
        where, refs, place, _ = frames.read_value(data, pos + own)
        if refs:
            self._hold_locked(refs)
        request = self._requests.get(number)
        if request is None:
            if refs:
                self._drop_refs(refs)
            ids = self._forgotten.get(number)
            if ids is not None and where == frames.ARENA:
                self._unpinned.append(ids[index])
            return
        oid = request.ids[index]
        if where == INLINE:
            entry: Any = Inline(place, refs) if refs else place
            error = place[0] == 2 or place[0] == 3
            if oid in self._count and type(self._objects.get(oid, LOCAL)) is int and not refs:
                self._objects[oid] = entry
            elif refs:
                entry = _GuardedInline(place, RefGuard(self._gone, refs))
        elif where == frames.ARENA:
            exporter, view = self.arena.view(oid, place[0], place[1], again=not refs)
            entry = Shared(exporter, view, RefGuard(self._gone, refs) if refs else None)
            error = bytes(view[:1]) in (b"\x02", b"\x03")
        else:
            if refs:
                self._drop_refs(refs)
            return
        if request.values[index] is None:
            request.left -= 1
        request.values[index] = entry
        if error:
            self._errors += 1
            for follower in self._followers:
                follower.wake()
        elif self._interest:
            self._wake(number)
        if request.callback is not None:
            self._due.append((request.callback, entry))
            self._requests.pop(number, None)
            self._subscribed -= 1
            if not self._callbacks and not self._subscribed:
                self._wake("callbacks")

    def _on_ready(self, data: bytes, pos: int, end: int, _: int) -> None:
        number, n = frames.READY_BODY.unpack_from(data, pos)
        request = self._requests.get(number)
        if request is None:
            return
        fresh = frames.Struct(f"<{n}I").unpack_from(data, pos + 8)
        request.count += n
        request.fresh = request.fresh + list(fresh)
        if self._interest:
            self._wake(number)

    def _on_created(self, data: bytes, pos: int, end: int, _: int) -> None:
        own, status, warm, number, offset = frames.CREATED_BODY.unpack_from(data, pos)
        request = self._requests.get(number)
        if request is None:
            return
        if status:
            request.error = frames.load_json(data[pos + own : end]) or {
                "type": "ObjectStoreFullError",
                "message": "the object store is full",
            }
        request.offset, request.warm, request.done = offset, bool(warm), True
        self._wake(number)

    def _on_reply(self, data: bytes, pos: int, end: int, flags: int) -> None:
        number, size = frames.REPLY_BODY.unpack_from(data, pos)
        reply = self._requests.get(number)
        if reply is None:
            return
        pos += 8
        reply.result = frames.json.loads(data[pos : pos + size]) if size else None
        reply.tail = data[pos + size : end]
        reply.error = bool(flags & frames.REPLY_ERROR)
        reply.done = True
        self._wake(number)

    def _on_exec_frame(self, data: bytes, pos: int, end: int, _: int) -> None:
        if self.on_exec is not None:
            self.on_exec(data[pos:end])
            self._wake("exec")

    def _on_lease_frame(self, data: bytes, pos: int, end: int, _: int) -> None:
        if self.on_lease is not None:
            self.on_lease(frames.load_json(data[pos:end]))

    def _on_code_frame(self, data: bytes, pos: int, end: int, _: int) -> None:
        # TEMPLATE starts with a u32, EXPORT with an id of 28 bytes: the header tells which.
        kind = data[pos - 4]
        if self.on_code is not None:
            self.on_code(kind, data[pos:end])

    def _on_call(self, data: bytes, pos: int, end: int, _: int) -> None:
        number, method, _params, _tail = frames.read_call(data, pos, end)
        if number:
            error = {"type": "RaySystemError", "message": f"a client has no method {method!r}"}
            self._out.append(frames.reply_frame(number, error, error=True))

    def _on_fatal(self, data: bytes, pos: int, end: int, _: int) -> None:
        from ray._core.errors import from_info

        self._die(from_info(frames.load_json(data[pos:end])))

    # ---------------------------------------------------------------- death

    def _lost(self, error: Optional[BaseException]) -> BaseException:
        from ray.exceptions import LocalRayletDiedError

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


class _GuardedInline(Inline):
    """A blob that was asked for and is not kept in the table."""

    __slots__ = ("guard",)

    def __init__(self, blob: bytes, guard: RefGuard) -> None:
        super().__init__(blob, b"")
        self.guard = guard
