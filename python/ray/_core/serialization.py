"""Values to bytes and back: blobs as docs/PROTOCOL.md section 1 lays them out.

Plain builtins take the C pickler, everything else a cloudpickle pickler that
knows references, actor handles and registered serializers. Large buffers
travel out of band, so that arrays come back as views on shared memory.
"""

import ctypes
import io
import pickle
import sys
import threading
from struct import Struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from ray._core import arrow
from ray._core.slots import Slot

PICKLE = 0
RAW = 1
ERROR = 2
DAEMON_ERROR = 3
ARROW = 4
NONE = 5
VERSION = 1
ALIGN = 64

HEAD = Struct("<BBHI")
BUFFER = Struct("<QQ")
NONE_BLOB = HEAD.pack(NONE, VERSION, 0, 0)
_PICKLE_VERSION = Struct("<BBHI")

#: Types whose values need no look inside before they go to the C pickler.
ATOMS = frozenset({int, float, str, bool, bytes, type(None), complex, bytearray, range, slice, type(Ellipsis)})
_CONTAINERS = frozenset({list, tuple, set, frozenset})
# Containers up to this size are searched for anything that is no atom.
_SEARCH = 64

_dumps = pickle.dumps
_loads = pickle.loads
_pack_head = HEAD.pack


class Serialized:
    """A value as a blob that is not yet laid out in memory.

    Attributes:
        kind: kind of the blob.
        data: the pickle (or raw bytes).
        buffers: flat memoryviews that follow it.
        refs: references inside, 56 bytes each, concatenated.
        held: the ObjectRefs themselves, to keep them alive.
        size: bytes of the whole blob.
    """

    __slots__ = ("kind", "data", "buffers", "refs", "held", "size", "_offsets")

    def __init__(self, kind: int, data: bytes, buffers: List[memoryview], held: List[Any]) -> None:
        self.kind = kind
        self.data = data
        self.buffers = buffers
        self.held = held
        self.refs = b"".join([ref._bin + ref._owner for ref in held]) if held else b""
        position = HEAD.size + BUFFER.size * len(buffers) + len(data)
        offsets = []
        for buffer in buffers:
            position = (position + ALIGN - 1) // ALIGN * ALIGN
            offsets.append((position, buffer.nbytes))
            position += buffer.nbytes
        self._offsets = offsets
        self.size = position

    def parts(self) -> List[Any]:
        """The blob as consecutive byte strings: the buffers, and what is before, between."""
        position = HEAD.size + BUFFER.size * len(self.buffers) + len(self.data)
        places = [BUFFER.pack(*place) for place in self._offsets]
        between = b"".join([_pack_head(self.kind, VERSION, len(self.buffers), len(self.data)), *places, self.data])
        out: List[Any] = []
        for (offset, length), buffer in zip(self._offsets, self.buffers):
            out.append(between + b"\0" * (offset - position))
            out.append(buffer)
            position = offset + length
            between = b""
        return out or [between]

    def to_bytes(self) -> bytes:
        """The whole blob."""
        if not self.buffers:
            return _pack_head(self.kind, VERSION, 0, len(self.data)) + self.data
        return b"".join(self.parts())


def _plain(value: Any) -> bool:
    """Whether the C pickler treats the value as cloudpickle would."""
    kind = type(value)
    if kind in ATOMS:
        return True
    if kind in _CONTAINERS:
        if len(value) > _SEARCH:
            return False
        for item in value:
            if type(item) not in ATOMS:
                return False
        return True
    if kind is dict:
        if len(value) > _SEARCH:
            return False
        for key, item in value.items():
            if type(key) not in ATOMS or type(item) not in ATOMS:
                return False
        return True
    return False


def _is_plain_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return False
    return type(value) is getattr(numpy, "ndarray", None) and value.dtype.kind in "biufcSU"


# Pickles of arrays whose elements travel out of band: all that they say is the key.
_array_pickles: Dict[Tuple[Any, ...], bytes] = {}
_ARRAY_PICKLES = 1000


def _serialize_array(value: Any, kind: int) -> Serialized:
    """A plain array. The pickle of one of this dtype, shape and order is made once: it takes as long as a copy."""
    flags, dtype = value.flags, value.dtype
    known = flags.forc and dtype.metadata is None
    key = (dtype, value.shape, flags.c_contiguous, flags.writeable)
    if known:
        data = _array_pickles.get(key)
        if data is not None:
            return Serialized(kind, data, [pickle.PickleBuffer(value).raw()], [])
    buffers: List[memoryview] = []
    data = _dumps(value, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw()))
    if known and len(buffers) == 1:
        if len(_array_pickles) >= _ARRAY_PICKLES:
            _array_pickles.clear()
        _array_pickles[key] = data
    return Serialized(kind, data, buffers, [])


def serialize(value: Any) -> Serialized:
    """The value as a blob; TypeError names what cannot be pickled and where it is."""
    kind = type(value)
    if value is None:
        return Serialized(NONE, b"", [], [])
    if kind is bytes and len(value) > 512:
        return Serialized(RAW, value, [], [])
    if _plain(value):
        return Serialized(PICKLE, _dumps(value, 5), [], [])
    if kind.__module__ == "pyarrow.lib" and kind not in _custom:
        found = arrow.stream_of(value)
        if found is not None:
            return Serialized(ARROW, found[0], [found[1]], [])
    return _serialize_any(value, PICKLE)


def serialize_small(value: Any) -> Tuple[bytes, Optional[Serialized]]:
    """The blob of a value, or (b"", Serialized) where it has buffers or references."""
    if value is None:
        return NONE_BLOB, None
    if _plain(value):
        data = _dumps(value, 5)
        return _pack_head(PICKLE, VERSION, 0, len(data)) + data, None
    found = serialize(value)
    return b"", found


def serialize_args(args: tuple, kwargs: Dict[str, Any]) -> Serialized:
    """The blob of (args, kwargs) whose top-level references are already slots."""
    return _serialize_any((args, kwargs), PICKLE)


def args_are_plain(args: tuple, kwargs: Dict[str, Any]) -> bool:
    """Whether the C pickler alone can do it, and no top-level reference is there."""
    for item in args:
        if type(item) not in ATOMS and not _plain(item):
            return False
    if kwargs:
        for item in kwargs.values():
            if type(item) not in ATOMS and not _plain(item):
                return False
    return True


def plain_args_blob(args: tuple, kwargs: Dict[str, Any]) -> bytes:
    """The blob of plain (args, kwargs)."""
    data = _dumps((args, kwargs), 5)
    return _pack_head(PICKLE, VERSION, 0, len(data)) + data


def serialize_error(error: BaseException) -> Serialized:
    """The blob of an exception that stands for a value."""
    return _serialize_any(error, ERROR)


def _serialize_any(value: Any, kind: int) -> Serialized:
    held: List[Any] = []
    buffers: List[memoryview] = []

    def out_of_band(buffer: pickle.PickleBuffer) -> bool:
        view = _flat(buffer)
        if view is None:
            return True  # in band
        buffers.append(view)
        return False

    if _is_plain_array(value) and not _custom:
        return _serialize_array(value, kind)
    data = dump_any(value, held, out_of_band)
    return Serialized(kind, data, buffers, held)


def _flat(buffer: pickle.PickleBuffer) -> Optional[memoryview]:
    try:
        return buffer.raw()
    except BufferError:
        return None


# ------------------------------------------------------------------ pickling

_custom: Dict[type, Tuple[Callable, Callable]] = {}
_pickler_class: Optional[type] = None
_class_lock = threading.Lock()


def register_serializer(cls: type, serializer: Callable, deserializer: Callable) -> None:
    """Pickle instances of cls as ``serializer(instance)`` from now on, in this process."""
    _custom[cls] = (serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Undo :func:`register_serializer`."""
    _custom.pop(cls, None)


def _make_pickler_class() -> type:
    from ray import cloudpickle
    from ray._core.refs import ObjectRef, load_ref

    base = cloudpickle.Pickler
    base_override = base.reducer_override

    class Pickler(base):  # type: ignore[misc,valid-type]
        """cloudpickle that collects references."""

        def __init__(self, file: Any, held: List[Any], buffer_callback: Any) -> None:
            super().__init__(file, protocol=5, buffer_callback=buffer_callback)
            self._held = held

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is ObjectRef:
                self._held.append(obj)
                return load_ref, (obj._bin, obj._owner)
            if kind in _custom:
                serializer, deserializer = _custom[kind]
                return deserializer, (serializer(obj),)
            in_cluster = getattr(kind, "_ray_reduce_in_cluster", None)
            if in_cluster is not None:
                return in_cluster(obj)
            return base_override(self, obj)

    return Pickler


def dump_any(value: Any, held: Optional[List[Any]], buffer_callback: Any = None) -> bytes:
    """Pickles value with everything that this package knows; references go to held."""
    global _pickler_class
    if _pickler_class is None:
        with _class_lock:
            if _pickler_class is None:
                _pickler_class = _make_pickler_class()
    file = io.BytesIO()
    try:
        _pickler_class(file, [] if held is None else held, buffer_callback).dump(value)
    except RecursionError:
        raise
    except (TypeError, pickle.PicklingError, AttributeError) as error:
        raise _with_path(error, value) from error
    return file.getvalue()


def _with_path(error: BaseException, value: Any) -> TypeError:
    from ray._core.inspection import find_culprit

    try:
        path, culprit = find_culprit(value)
    except Exception:  # the search must never hide the error itself
        path, culprit = "", None
    text = str(error)
    if path:
        shown = repr(culprit)
        if len(shown) > 200:
            shown = shown[:200] + "…"
        kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
        text = f"{text}\n  what cannot be pickled: {path} = {shown} (a {kind})"
    return TypeError(text)


def code_blob(value: Any) -> Tuple[bytes, List[Any]]:
    """A function or class pickled for export, and the references that it captures."""
    held: List[Any] = []
    return dump_any(value, held), held


# ---------------------------------------------------------------- unpickling


class ErrorValue:
    """A value that is an error: ``error`` is to be raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def deserialize(blob: Any, view: Optional[memoryview] = None) -> Any:
    """The value of a blob; an :class:`ErrorValue` for the error kinds.

    Args:
        blob: the bytes, or a memoryview of shared memory.
        view: read-only memoryview whose slices become the buffers; blob itself if not given.
    """
    kind, version, nbuf, size = HEAD.unpack_from(blob, 0)
    if kind == NONE:
        return None
    if version != VERSION:
        raise ValueError(f"a value is in format {version}, this process reads format {VERSION}")
    start = 8 + 16 * nbuf
    if kind == PICKLE:
        if not nbuf:
            return _loads(blob[8 : 8 + size])
        source = view if view is not None else aligned(blob)
        return _loads(source[start : start + size], buffers=_buffers(source, nbuf))
    if kind == ARROW:
        source = view if view is not None else aligned(blob)
        return arrow.value_of(bytes(source[start : start + size]), _buffers(source, nbuf)[0])
    if kind == RAW:
        return bytes(blob[start : start + size])
    if kind == ERROR:
        source = view if view is not None else memoryview(blob).toreadonly()
        return _load_error(source[start : start + size], _buffers(source, nbuf))
    if kind == DAEMON_ERROR:
        import json

        from ray._core.errors import from_info

        return ErrorValue(from_info(json.loads(bytes(blob[start : start + size]))))
    raise ValueError(f"a value has kind {kind}, which this version cannot read; upgrade the package")


def aligned(blob: Any) -> memoryview:
    """A read-only copy that begins at a multiple of 64 bytes, as values in shared memory do.

    Offsets of buffers in a blob are such multiples, and vectorised code relies on it.
    """
    size = len(blob)
    raw = bytearray(size + 63)
    skip = -ctypes.addressof(ctypes.c_char.from_buffer(raw)) % 64
    raw[skip : skip + size] = blob
    return memoryview(raw)[skip : skip + size].toreadonly()


def is_error(blob: Any) -> bool:
    """Whether the blob stands for an error."""
    return blob[0] == ERROR or blob[0] == DAEMON_ERROR


def _buffers(source: memoryview, nbuf: int) -> List[memoryview]:
    out = []
    for i in range(nbuf):
        offset, length = BUFFER.unpack_from(source, 8 + 16 * i)
        out.append(source[offset : offset + length])
    return out


def _load_error(data: memoryview, buffers: List[memoryview]) -> ErrorValue:
    error = _loads(data, buffers=buffers)
    if isinstance(error, BaseException):
        return ErrorValue(error)
    return ErrorValue(RuntimeError(f"a task failed with something that is no exception: {error!r}"))


def resolve_slots(args: tuple, kwargs: Dict[str, Any], values: List[Any]) -> Tuple[tuple, Dict[str, Any]]:
    """args and kwargs with the dependencies' values in place of their slots."""
    if any(type(item) is Slot for item in args):
        args = tuple(values[item] if type(item) is Slot else item for item in args)
    if kwargs:
        kwargs = {key: values[item] if type(item) is Slot else item for key, item in kwargs.items()}
    return args, kwargs
