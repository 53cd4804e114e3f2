"""The shared memory of a node as this process sees it."""

import ctypes
import mmap
import os
import sys
import weakref
from typing import Any, Callable, Dict, List, Tuple

# Smaller copies are not worth a look for numpy.
_NUMPY_COPY = 1 << 20


class _Watch(weakref.ref):
    """A weak reference that knows which object's view it watches."""

    __slots__ = ("object_id",)


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
        if offset < self.size:
            exporter = (ctypes.c_char * size).from_buffer(self._map, offset)
        else:
            piece = mmap.mmap(
                self._disk_file(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset - self.size
            )
            exporter = (ctypes.c_char * size).from_buffer(piece)
        watch = _Watch(exporter, self._unused)
        watch.object_id = object_id
        self._watches[id(watch)] = watch
        return exporter, memoryview(exporter).cast("B").toreadonly()

    def _disk_file(self) -> int:
        if len(self._descriptors) < 2:
            raise RuntimeError("the node daemon named an object on disk, but did not hand the file over")
        return self._descriptors[1]

    def _unused(self, watch: _Watch) -> None:
        if self._watches.pop(id(watch), None) is not None:
            self._on_unused(watch.object_id)

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
            numpy.copyto(target, numpy.frombuffer(part, dtype="u1"))
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
        try:
            self._words.release()
            self._bytes.release()
            self._map.close()
        except BufferError:
            pass
        for descriptor in self._descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass
