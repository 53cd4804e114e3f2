"""The shared memory of a node as this process sees it."""

import ctypes
import mmap
import os
import sys
import weakref
from typing import Any, Callable, Dict, Tuple

# Smaller copies are not worth a look for numpy.
_NUMPY_COPY = 1 << 20


class _Watch(weakref.ref):
    """A weak reference that knows which object's view it watches."""

    __slots__ = ("object_id",)


class Arena:
    """One mapping of the node's shared memory.

    Args:
        descriptor: file descriptor, owned by the arena from now on.
        size: bytes to map.
        on_unused: called with an object id, from anywhere, when the last view of it is gone.
    """

    def __init__(self, descriptor: int, size: int, on_unused: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[: size // 8 * 8].cast("Q")
        self._on_unused = on_unused
        self._watches: Dict[int, _Watch] = {}
        self.size = size

    def set_word(self, offset: int, value: int) -> None:
        """Stores 8 bytes at an offset that is a multiple of 8, at once."""
        self._words[offset >> 3] = value

    def view(self, object_id: bytes, offset: int, size: int) -> Tuple[Any, memoryview]:
        """An exporter and a read-only view of an object.

        The object counts as used until the exporter and all that was made from the view are gone.
        """
        exporter = (ctypes.c_char * size).from_buffer(self._map, offset)
        watch = _Watch(exporter, self._unused)
        watch.object_id = object_id
        self._watches[id(watch)] = watch
        return exporter, memoryview(exporter).cast("B").toreadonly()

    def _unused(self, watch: _Watch) -> None:
        if self._watches.pop(id(watch), None) is not None:
            self._on_unused(watch.object_id)

    def write(self, offset: int, size: int, serialized: Any, warm: bool) -> None:
        """Lays a blob out at offset: by copying where the pages are mapped here, else through the file."""
        position = offset
        for part in serialized.parts():
            length = len(part) if isinstance(part, bytes) else part.nbytes
            if warm or length < 4096:
                self._copy(position, part, length)
            else:
                self._pwrite(position, part)
            position += length
        if position != offset + size:
            raise RuntimeError(f"a blob of {size} bytes was written as {position - offset}")

    def _copy(self, position: int, part: Any, length: int) -> None:
        numpy = sys.modules.get("numpy") if length >= _NUMPY_COPY else None
        if numpy is not None and hasattr(numpy, "copyto"):
            # Lets other threads run meanwhile.
            target = numpy.frombuffer(self._bytes, dtype="u1", count=length, offset=position)
            numpy.copyto(target, numpy.frombuffer(part, dtype="u1"))
        else:
            self._bytes[position : position + length] = part

    def _pwrite(self, position: int, part: Any) -> None:
        view = memoryview(part).cast("B") if not isinstance(part, memoryview) else part
        done = 0
        while done < view.nbytes:
            done += os.pwrite(self._descriptor, view[done:], position + done)

    def close(self) -> None:
        """Forgets the mapping; views that are left keep their memory."""
        self._watches.clear()
        try:
            self._words.release()
            self._bytes.release()
            self._map.close()
        except BufferError:
            pass
        try:
            os.close(self._descriptor)
        except OSError:
            pass
