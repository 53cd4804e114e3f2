"""What each frame that arrives means."""

from typing import Any, Callable, Dict

from ray._core import frames
from ray._core.entries import ELSEWHERE, LOCAL, PENDING, GuardedInline, Inline, RefGuard, Shared
from ray._core.frames import ELSEWHERE as AT_OTHER
from ray._core.frames import HEADER, INLINE, U32, VALUE
from ray._core.tables import Tables

_PUSH_BODY = frames.PUSH_BODY.unpack_from
_HEADER = HEADER.unpack_from
_VALUE = VALUE.unpack_from


class Arrivals(Tables):
    """Handles frames for all threads; all methods run under ``_lock``."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._handlers: Dict[int, Callable[[bytes, int, int, int], None]] = {
            frames.OBJ: self._on_obj,
            frames.READY: self._on_ready,
            frames.CREATED: self._on_created,
            frames.LENT: self._on_lent,
            frames.REPLY: self._on_reply,
            frames.EXEC: self._on_exec_frame,
            frames.LEASE: self._on_lease_frame,
            frames.TEMPLATE: self._on_code_frame,
            frames.EXPORT: self._on_code_frame,
            frames.CALL: self._on_call,
            frames.NOTE: self._on_call,
            frames.FATAL: self._on_fatal,
        }

    def _wake(self, key: Any) -> None:
        for follower in self._interest.get(key, ()):
            follower.wake()

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

    # -------------------------------------------------------------- objects

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
            self._unread.discard(task_id + b"\x01\0\0\0")  # the stream's last item is the error, too
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

    def _settle(self, oid: bytes, entry: Any, error: bool) -> None:
        """The state of an object that was pending is known."""
        self._objects[oid] = entry
        if error:
            self._errors += 1
            if oid in self._looked:
                self._looked.discard(oid)
            else:
                self._unread.add(oid)
            for follower in self._followers:
                follower.wake()
        elif self._interest:
            self._wake(oid)
        if self._orphans and oid in self._orphans:
            self._count[oid] = 1
            self._extra[oid] = self._orphans.pop(oid) - 1
            self._gone(oid)
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
                entry = GuardedInline(place, RefGuard(self._gone, refs))
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

    # -------------------------------------------------------------- answers

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

    def _on_lent(self, data: bytes, pos: int, end: int, _: int) -> None:
        _, warm, number, offset, size = frames.LENT_BODY.unpack_from(data, pos)
        self._spares.append((number, offset, size, bool(warm)))

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

    # ----------------------------------------------- for a worker, and calls

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
