"""Arrow tables and record batches as Arrow IPC streams.

A slice travels without the rest of the table that it was cut from, and readers
see the columns in place, in shared memory. What IPC cannot express is left to
the pickler.
"""

import sys
from typing import Any, Optional, Tuple

_TABLE = b"table"
_BATCH = b"batch"


def stream_of(value: Any) -> Optional[Tuple[bytes, memoryview]]:
    """(what it is, its IPC stream), or None where the value is nothing of Arrow's or has to be pickled."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    kind = type(value)
    if kind is getattr(arrow, "Table", None):
        tag = _TABLE
    elif kind is getattr(arrow, "RecordBatch", None):
        tag = _BATCH
    else:
        return None
    try:
        sink = arrow.BufferOutputStream()
        with arrow.ipc.new_stream(sink, value.schema) as writer:
            writer.write(value)
        return tag, memoryview(sink.getvalue())
    except (arrow.ArrowException, AttributeError, NotImplementedError):
        return None


def value_of(tag: bytes, stream: memoryview) -> Any:
    """The inverse of :func:`stream_of`; the columns are views of the stream."""
    import pyarrow

    with pyarrow.ipc.open_stream(pyarrow.py_buffer(stream)) as reader:
        if tag == _BATCH:
            return reader.read_next_batch()
        return reader.read_all()
