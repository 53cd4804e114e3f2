"""Storing values: in the daemon's table if they are small, else in shared memory."""

import os
import sys
from typing import Any, List, Optional, Tuple

from ray._core import frames, serialization
from ray._core.entries import LOCAL, CreateRequest
from ray._core.link import FLUSH_BYTES, FLUSH_FRAMES, Link
from ray._core.refs import ObjectRef

_PUT_INLINE = frames.Struct("<IBBHHHI28sBBHI")
# Room is lent in whole pages. The words of this process's slot that settle who has a spare: see _take_spare.
_PAGE = 4096
_TAKEN, _ENDED = 3, 4
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Puts(Link):
    """The part of a client that stores values."""

    def put(self, value: Any) -> ObjectRef:
        """Stores value as a new object."""
        blob, serialized = serialization.serialize_small(value)
        if serialized is not None and not serialized.held and serialized.size <= self.inline_limit:
            blob, serialized = serialized.to_bytes(), None
        if serialized is None and (len(blob) <= self.inline_limit or self.arena is None):
            size = len(blob)
            with self._lock:
                if self.dead is not None:
                    self.check_alive()
                self._put_counter = index = self._put_counter + 1
                oid = self._put_prefix + frames.U32.pack(index)
                head = _PUT_INLINE.pack(48 + size, 0x13, 0, 0, 36, 0, 0, oid, 0, 0, 0, size)
                out = self._out
                if size > 8192:
                    out.append(head)
                    out.append(blob)
                else:
                    out.append(head + blob)
                self._objects[oid] = blob
                self._count[oid] = 1
                self._out_bytes += size
                if len(out) > FLUSH_FRAMES or self._out_bytes > FLUSH_BYTES:
                    self._flush_locked()
            if not self._flusher_awake:
                self._wake_flusher()
            if self.record_sites:
                self._note_site("put object", [oid])
            return ObjectRef(oid, self.node_id, self)
        if serialized is None:
            serialized = serialization.serialize(value)
        return self._put_serialized(self._next_oid(), serialized)

    def _next_oid(self) -> bytes:
        with self._lock:
            self._put_counter += 1
            return self._put_prefix + frames.U32.pack(self._put_counter)

    def _put_serialized(self, oid: bytes, serialized: Any) -> ObjectRef:
        if serialized.held:
            self._look_at(serialized.held)
        encoded, inline = self.encode_value(oid, serialized, True)
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frames.put_frame(oid, encoded))
            self._count[oid] = 1
            if inline is not None and not serialized.held:
                self._objects[oid] = inline
            else:
                self._objects[oid] = LOCAL
            # With room for the next object at hand, several travel together.
            flush = inline is not None or not self._spares
            if flush:
                self._flush_locked()
        if not flush and not self._flusher_awake:
            self._wake_flusher()
        if self.record_sites:
            self._note_site("put object", [oid])
        return ObjectRef(oid, self.node_id, self)

    def encode_value(self, oid: bytes, serialized: Any, new: bool = False) -> Tuple[bytes, Optional[bytes]]:
        """The value as it travels; in the arena if it is large. Gives the blob too if it is inline.

        new: the object is one that PUT will name, for the first time; it may take room that was lent.
        """
        if serialized.size <= self.inline_limit or self.arena is None:
            if serialized.size > frames.MAX_FRAME - 4096:
                raise ValueError(
                    f"a value of {serialized.size} bytes is too large for one message (1 GiB); a driver on one of the "
                    "cluster's machines can store it in shared memory, or split the value"
                )
            blob = serialized.to_bytes()
            return frames.value_inline(blob, serialized.refs), blob
        spare = self._take_spare(serialized.size) if new else None
        if spare is not None:
            offset = self._fill(spare, serialized)
        else:
            offset = self._allocate(oid, serialized)
        return frames.value_arena(offset, serialized.size, serialized.refs), None

    def _take_spare(self, size: int) -> Optional[Tuple[int, int, int, bool]]:
        """Room that the daemon has lent ahead of need, if there is some for this size.

        The daemon may take it back at any time. Both sides store what they do first and read then what the other one
        has done, so one of them sees the other. A spare that was taken back meanwhile is left alone, and RETURN says
        so: the daemon may have seen it taken.
        """
        need = -(-size // _PAGE) * _PAGE
        again = need == self._spare_size
        self._spare_size = need
        if not again or self.slot is None:
            return None
        if not self._spares:
            self._read_what_is_there()
        words, at = self.arena.words, self.slot >> 3  # type: ignore[union-attr]
        while True:
            with self._lock:
                while self._spares and self._spares[0][0] <= words[at + _ENDED]:
                    self._spares.popleft()
                if not self._spares or self._spares[0][2] != need:
                    return None
                spare = self._spares.popleft()
                words[at + _TAKEN] = spare[0]
            with self._lock:  # a barrier between the store and the read, too
                if spare[0] > words[at + _ENDED]:
                    return spare
                self._out.append(frames.frame(frames.RETURN, frames.U32.pack(spare[0])))

    def _read_what_is_there(self) -> None:
        if self._role.acquire(False):
            try:
                self._pump(0.0)
            finally:
                self._role.release()
                if self._followers:
                    self._pass_role_on()

    def _fill(self, spare: Tuple[int, int, int, bool], serialized: Any) -> int:
        number, offset, _, warm = spare
        try:
            self.arena.write(offset, serialized.size, serialized, warm)  # type: ignore[union-attr]
        except BaseException:
            self.send(frames.frame(frames.RETURN, frames.U32.pack(number)))
            raise
        return offset

    def _allocate(self, oid: bytes, serialized: Any) -> int:
        if self.arena.idle:  # type: ignore[union-attr]
            self.arena.end_all_idle()  # type: ignore[union-attr]
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            # What was dropped before goes ahead of the request: its room may be what is asked for.
            if self._dead_refs:
                self._drain_locked()
            if self._unpinned:
                self._drain_unpins_locked()
            number = self._next_request()
            request = self._requests[number] = CreateRequest()
            self._out.append(frames.create_frame(number, oid, serialized.size))
            self._flush_locked()
        try:
            self.wait_until(lambda: request.done, lambda: (number,), None)
        finally:
            self._requests.pop(number, None)
        if request.error is not None:
            from ray._core.errors import from_info

            raise from_info(request.error)
        try:
            self.arena.write(request.offset, serialized.size, serialized, request.warm)  # type: ignore[union-attr]
        except BaseException:
            self.send(frames.frame(frames.ABORT, oid))
            raise
        return request.offset

    def _note_site(self, what: str, ids: List[bytes]) -> None:
        """Tells the daemon which line of the user's code made references."""
        caller = sys._getframe(1)
        while caller.f_back is not None and os.path.abspath(caller.f_code.co_filename).startswith(_PACKAGE):
            caller = caller.f_back
        code = caller.f_code
        site = f"({what}) | {code.co_filename}:{code.co_name}:{caller.f_lineno}"
        params = {"ids": [oid.hex() for oid in ids], "site": site}
        self.send(frames.call_frame(frames.NOTE, 0, "ref.site", params, b""))
