"""The shared memory of a node as this process sees it."""

import ctypes
import mmap
import os
import sys
import time
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from ray._core.copying import SHARED_FROM, copy_shared

# Smaller copies are not worth a look for numpy.
_NUMPY_COPY = 1 << 20
# How long an object stays pinned after its last view is gone: whoever reads it
# again soon need not ask the daemon.
_IDLE_S = 0.02
# How many of those, and which part of the store, may wait while another object is fetched.
_IDLE_MOST = 64
_IDLE_PART = 8
# Types of buffers of one size; making one is dear.
_TYPES_KEPT = 256


class _Watch(weakref.ref):
    """A weak reference that knows which object's view it watches."""

    __slots__ = ("object_id", "place")
    object_id: bytes
    place: Optional[Tuple[int, int]]


class Arena:
    """One mapping of the node's shared memory.

    Args:
        descriptors: of the memory file and, if there is one, of the file on disk that holds what does not fit
            into it; owned by the arena from now on. Offsets from size on lie in the second.
        size: bytes of the memory file.
        on_unused: called with an object id, from anywhere, when the last view of it is gone.
    """

    def __init__(self, descriptors: List[int], size: int, on_unused: Callable[[bytes], None]) -> None:
        self._descriptors = descriptors
        self._descriptor = descriptors[0]
        self._map = mmap.mmap(self._descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bytes = memoryview(self._map)
        self.words = self._bytes[: size // 8 * 8].cast("Q")
        self._on_unused = on_unused
        self._watches: Dict[int, _Watch] = {}
        self._live: Dict[bytes, _Watch] = {}
        # Pinned objects without a view, and when the last one went. Only atomic operations touch it.
        self.idle: Dict[bytes, Tuple[int, int, float]] = {}
        self._types: Dict[int, Any] = {}
        self.size = size

    def view(self, object_id: bytes, offset: int, size: int, again: bool = False) -> Tuple[Any, memoryview]:
        """An exporter and a read-only view of an object that was pinned for this process.

        The object counts as used until the exporter and all that was made from the view are gone, and, with
        ``again``, for a moment longer: :meth:`reuse` may give it out once more.
        """
        kind = self._types.get(size)
        if kind is None:
            if len(self._types) >= _TYPES_KEPT:
                self._types.clear()
            kind = self._types[size] = ctypes.c_char * size
        if offset < self.size:
            exporter = kind.from_buffer(self._map, offset)
        else:
            piece = mmap.mmap(
                self._disk_file(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset - self.size
            )
            exporter = kind.from_buffer(piece)
        watch = _Watch(exporter, self._unused)
        watch.object_id = object_id
        watch.place = (offset, size) if again else None
        self._watches[id(watch)] = watch
        if again:
            self._live[object_id] = watch
        return exporter, memoryview(exporter).cast("B").toreadonly()

    def _disk_file(self) -> int:
        if len(self._descriptors) < 2:
            raise RuntimeError("the node daemon named an object on disk, but did not hand the file over")
        return self._descriptors[1]

    def _unused(self, watch: _Watch) -> None:
        if self._watches.pop(id(watch), None) is None:
            return
        place, object_id = watch.place, watch.object_id
        if place is not None:
            if self._live.get(object_id) is watch:
                self._live.pop(object_id, None)
            kept = (place[0], place[1], time.monotonic())
            if self.idle.setdefault(object_id, kept) is kept:
                return
        self._on_unused(object_id)

    def reuse(self, object_id: bytes) -> Optional[Tuple[Any, memoryview]]:
        """As :meth:`view` for an object that is still pinned, without a new pin; None if there is no such object."""
        watch = self._live.get(object_id)
        if watch is not None:
            exporter = watch()
            if exporter is not None:
                return exporter, memoryview(exporter).cast("B").toreadonly()
        kept = self.idle.pop(object_id, None)
        if kept is None:
            return None
        return self.view(object_id, kept[0], kept[1], True)

    def end_idle(self, object_id: Optional[bytes] = None) -> None:
        """Gives up one object that is pinned without a view, or all that have been so long enough."""
        if object_id is not None:
            if self.idle.pop(object_id, None) is not None:
                self._on_unused(object_id)
            return
        limit = time.monotonic() - _IDLE_S
        for found, kept in list(self.idle.items()):
            if kept[2] <= limit:
                self.end_idle(found)

    def bound_idle(self) -> None:
        """Gives up every object that is pinned without a view if they are many, or much of the store."""
        kept = list(self.idle.values())
        if len(kept) > _IDLE_MOST or sum(size for _, size, _ in kept) > self.size // _IDLE_PART:
            self.end_all_idle()

    def end_all_idle(self) -> None:
        """Gives up every object that is pinned without a view: its memory may be needed."""
        for found in list(self.idle):
            self.end_idle(found)

    def write(self, offset: int, size: int, serialized: Any, warm: bool) -> None:
        """Lays a blob out at offset: by copying where the pages are mapped here, else through the file."""
        position = offset
        on_disk = offset >= self.size
        for part in serialized.parts():
            length = len(part) if isinstance(part, bytes) else part.nbytes
            if on_disk:
                self._pwrite(self._disk_file(), position - self.size, part)
            elif warm or length < 4096:
                self._copy(position, part, length)
            else:
                self._pwrite(self._descriptor, position, part)
            position += length
        if position != offset + size:
            raise RuntimeError(f"a blob of {size} bytes was written as {position - offset}")

    def _copy(self, position: int, part: Any, length: int) -> None:
        numpy = sys.modules.get("numpy") if length >= _NUMPY_COPY else None
        if numpy is not None and hasattr(numpy, "copyto"):
            # Lets other threads run meanwhile.
            target = numpy.frombuffer(self._bytes, dtype="u1", count=length, offset=position)
            source = numpy.frombuffer(part, dtype="u1")
            if length < SHARED_FROM:
                numpy.copyto(target, source)
            else:
                copy_shared(numpy.copyto, target, source)
        else:
            self._bytes[position : position + length] = part

    def _pwrite(self, descriptor: int, position: int, part: Any) -> None:
        view = memoryview(part).cast("B") if not isinstance(part, memoryview) else part
        done = 0
        while done < view.nbytes:
            done += os.pwrite(descriptor, view[done:], position + done)

    def close(self) -> None:
        """Forgets the mapping; views that are left keep their memory."""
        self._watches.clear()
        self._live.clear()
        self.idle.clear()
        try:
            self.words.release()
            self._bytes.release()
            self._map.close()
        except BufferError:
            pass
        for descriptor in self._descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass
