"""What the tables of a connection hold: values that came, requests that are out, threads that sleep."""

import threading
from typing import Any, Callable, Dict, List, Optional

# What the table of objects knows about a value that is not at hand.
PENDING = 0  # its task, submitted here, has not ended
LOCAL = 1  # it is in the arena: GET gives its place
ELSEWHERE = 2  # it exists: GET brings it


class Inline:
    """A blob that contains references, which it holds."""

    __slots__ = ("blob", "refs")

    def __init__(self, blob: bytes, refs: bytes) -> None:
        self.blob = blob
        self.refs = refs


class GuardedInline(Inline):
    """A blob that was asked for and is not kept in the table."""

    __slots__ = ("guard",)

    def __init__(self, blob: bytes, guard: Any) -> None:
        super().__init__(blob, b"")
        self.guard = guard


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


class Follower:
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
