"""References to the items of generator tasks."""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Iterator, List, Optional

from ray._core import frames
from ray._core.refs import ObjectRef
from ray._core.typed import Of, T

if TYPE_CHECKING:
    from ray._core.client import Client


class Stream:
    """What a client knows of a streaming task: filled by the reader, read by one consumer."""

    __slots__ = ("_items", "ended", "failed", "total", "last")

    def __init__(self) -> None:
        self._items: Deque[bytes] = deque()
        self.ended = False
        self.failed = False
        self.total = 0
        self.last = b""

    def add(self, oid: bytes) -> None:
        """An item has arrived."""
        self._items.append(oid)
        self.last = oid

    def end(self, items: int, entry: Any) -> None:
        """The task has ended; entry is the value of its first return, or a state."""
        self.total = items
        blob = getattr(entry, "blob", entry)
        self.failed = isinstance(blob, bytes) and blob[0] in (2, 3)
        self.ended = True

    def pop(self) -> Optional[bytes]:
        """The next item, None if none is there."""
        return self._items.popleft() if self._items else None

    def has_items(self) -> bool:
        """Whether an item is there."""
        return bool(self._items)

    def unread(self) -> List[bytes]:
        """The items that nobody took."""
        return list(self._items)


class ObjectRefGenerator(Of[T]):
    """An iterator, and asynchronous iterator, over references to what a generator task yields.

    ``next()`` waits for the next item and gives a reference to it. If the task
    fails, one more reference holds the error, then the iteration ends.
    """

    def __init__(self, client: "Client", task_id: bytes, stream: Stream, end: ObjectRef, backpressure: bool) -> None:
        self._client = client
        self._task_id = task_id
        self._stream = stream
        self._generator_ref = end
        self._backpressure = backpressure
        self._taken = 0
        self._error_given = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        return self._next_sync()

    def __aiter__(self) -> "ObjectRefGenerator[T]":
        return self

    async def __anext__(self) -> ObjectRef[T]:
        import asyncio

        while True:
            try:
                ref = self._take()
            except StopIteration:
                raise StopAsyncIteration from None
            if ref is not None:
                return ref
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._wait_item, 0.2)

    def _ready(self) -> bool:
        return self._stream.has_items() or self._stream.ended

    def _wait_item(self, timeout: Optional[float]) -> bool:
        if self._ready():
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._client.wait_until(self._ready, lambda: (self._task_id,), deadline, blocking=True)

    def _take(self) -> Optional[ObjectRef]:
        """The next reference, None if it is not there yet; StopIteration at the end."""
        with self._lock:
            oid = self._stream.pop()
            if oid is not None:
                self._taken += 1
                if self._backpressure:
                    self._client.send_now(frames.consumed_frame(self._task_id, self._taken))
                # The reader counted one Python object for it: this is the one.
                return ObjectRef(oid, self._client.node_id, self._client)
            if not self._stream.ended or self._stream.has_items():
                return None
            if self._stream.failed and not self._error_given:
                self._error_given = True
                return self._client.adopt(self._generator_ref._bin, self._generator_ref._owner)
            raise StopIteration

    def _next_sync(self, timeout_s: Optional[float] = None) -> ObjectRef:
        """The next reference; a nil one if it is not there within timeout_s seconds."""
        if timeout_s is not None and timeout_s < 0:
            timeout_s = None
        while True:
            ref = self._take()
            if ref is not None:
                return ref
            if not self._wait_item(timeout_s):
                return ObjectRef.nil()

    def completed(self) -> ObjectRef:
        """A reference that resolves when the task has ended, to its error if it failed."""
        return self._generator_ref

    def next_ready(self) -> bool:
        """Whether ``next()`` would return at once."""
        self._client.wait_until(self._ready, lambda: (self._task_id,), time.monotonic())
        return self._ready()

    def is_finished(self) -> bool:
        """Whether everything has been taken."""
        stream = self._stream
        return stream.ended and not stream.has_items() and (not stream.failed or self._error_given)

    def task_id(self) -> Any:
        """The task that makes the items."""
        return self._generator_ref.task_id()

    def _get_next_ref(self) -> ObjectRef:
        return self._get_next_ref_n(1)[0]

    def _get_next_ref_n(self, n: int) -> List[ObjectRef]:
        """References to the next n items, whether they are there or not."""
        first = self._taken + 2
        client = self._client
        return [client.adopt(self._task_id + frames.U32.pack(first + i), client.node_id) for i in range(n)]

    def _consume_next_ref_n(self, n: int) -> None:
        for _ in range(n):
            self._next_sync()

    def send(self, value: Any) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("a remote generator cannot be sent values")

    def throw(self, *_: Any) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("exceptions cannot be thrown into a remote generator; use ray.cancel")

    def close(self) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("a remote generator cannot be closed; use ray.cancel")

    async def asend(self, value: Any) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("a remote generator cannot be sent values")

    async def athrow(self, *_: Any) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("exceptions cannot be thrown into a remote generator; use ray.cancel")

    async def aclose(self) -> None:
        """Not supported: the generator runs elsewhere."""
        raise NotImplementedError("a remote generator cannot be closed; use ray.cancel")

    def __del__(self) -> None:
        client = getattr(self, "_client", None)
        if client is not None:
            client._gone(self._task_id)

    def __reduce__(self) -> Any:
        raise TypeError(
            "Serialization of an ObjectRefGenerator is not allowed: only the process that called the generator task "
            "can read it. Pass the references that it yields instead."
        )

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._generator_ref.hex()})"


class DynamicObjectRefGenerator(Of[T]):
    """The value of a task with ``num_returns="dynamic"``: references to its items."""

    def __init__(self, refs: List[ObjectRef]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        while self._refs:
            yield self._refs.pop(0)

    def __len__(self) -> int:
        return len(self._refs)
