"""Results for asyncio: values move into event loops in batches.

Waking a loop from another thread is a system call. Results that arrive
together are therefore queued and the loop is woken once.
"""

import asyncio
import threading
import weakref
from collections import deque
from typing import Any, Deque, Tuple

_bridges: "weakref.WeakKeyDictionary[Any, _Bridge]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Bridge:
    """The queue of results that wait for one event loop."""

    __slots__ = ("_loop", "_queue", "_scheduled")

    def __init__(self, loop: Any) -> None:
        self._loop = weakref.ref(loop)
        self._queue: Deque[Tuple[Any, tuple]] = deque()
        self._scheduled = False

    def call(self, function: Any, *args: Any) -> None:
        """Runs function(*args) in the loop."""
        self._queue.append((function, args))
        if self._scheduled:
            return
        self._scheduled = True
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._queue.clear()

    def _run(self) -> None:
        self._scheduled = False
        queue = self._queue
        while queue:
            function, args = queue.popleft()
            function(*args)


def bridge_to(loop: Any) -> _Bridge:
    """The bridge of an event loop."""
    found = _bridges.get(loop)
    if found is None:
        with _lock:
            found = _bridges.get(loop)
            if found is None:
                found = _bridges[loop] = _Bridge(loop)
    return found


def future_of(client: Any, ref: Any, values: bool = True) -> "asyncio.Future":
    """A future in the running loop that gets ref's value (None if not values)."""
    loop = asyncio.get_event_loop()
    future = loop.create_future()
    bridge = bridge_to(loop)

    def set_in_loop(entry: Any) -> None:
        if future.done():
            return
        if isinstance(entry, BaseException):
            future.set_exception(entry)
            return
        if not values:
            future.set_result(None)
            return
        try:
            future.set_result(client.value_of(ref, entry))
        except Exception as error:
            future.set_exception(error)

    client.subscribe(ref, lambda entry: bridge.call(set_in_loop, entry))
    return future
