"""A queue that tasks and actors of a cluster share."""

import asyncio
import queue
from typing import Any, Dict, Iterable, List, Optional, Type


class Empty(queue.Empty):
    """Nothing came in time."""


class Full(queue.Full):
    """No room came in time."""


class Queue:
    """First in, first out; may be passed to tasks and actors.

    Args:
        maxsize: most items that it holds; 0 or less for no bound.
        actor_options: options of the actor that holds the items, as for
            ``ActorClass.options``.
    """

    def __init__(self, maxsize: int = 0, actor_options: Optional[Dict[str, Any]] = None) -> None:
        import ray

        self.maxsize = maxsize
        self.actor = ray.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.maxsize, self.actor)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Items in the queue now."""
        return self._ask("qsize")

    def qsize(self) -> int:
        """The same as :meth:`size`."""
        return self.size()

    def empty(self) -> bool:
        """Whether it holds nothing now."""
        return self._ask("empty")

    def full(self) -> bool:
        """Whether it holds ``maxsize`` items now."""
        return self._ask("full")

    def _ask(self, method: str, *args: Any) -> Any:
        import ray

        return ray.get(getattr(self.actor, method).remote(*args))

    def put(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """Adds an item at the end.

        Args:
            block: wait for room.
            timeout: most seconds to wait; None waits for ever.

        Raises:
            Full: there was no room (in time).
            ValueError: timeout is negative.
        """
        _check_timeout(block, timeout)
        if block:
            self._ask("put", item, timeout)
        else:
            self._ask("put_nowait", item)

    async def put_async(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """:meth:`put` for coroutines."""
        _check_timeout(block, timeout)
        if block:
            await self.actor.put.remote(item, timeout)
        else:
            await self.actor.put_nowait.remote(item)

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """Takes the first item.

        Args:
            block: wait for one.
            timeout: most seconds to wait; None waits for ever.

        Raises:
            Empty: there was none (in time).
            ValueError: timeout is negative.
        """
        _check_timeout(block, timeout)
        return self._ask("get", timeout) if block else self._ask("get_nowait")

    async def get_async(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """:meth:`get` for coroutines."""
        _check_timeout(block, timeout)
        if block:
            return await self.actor.get.remote(timeout)
        return await self.actor.get_nowait.remote()

    def put_nowait(self, item: Any) -> None:
        """``put(item, block=False)``."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all items or none.

        Raises:
            TypeError: items cannot be iterated.
            Full: there is not room for all of them.
        """
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        self._ask("put_nowait_batch", list(items))

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> List[Any]:
        """Takes the first num_items items, or none.

        Raises:
            TypeError: num_items is no int.
            ValueError: it is negative.
            Empty: there are fewer.
        """
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        return self._ask("get_nowait_batch", num_items)

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Ends the actor behind the queue.

        Args:
            force: kill it at once; otherwise calls that run may end first.
            grace_period_s: seconds after which it is killed all the same.
        """
        import ray

        if self.actor:
            if force:
                ray.kill(self.actor, no_restart=True)
            else:
                ended = self.actor.__ray_terminate__.remote()
                _, waiting = ray.wait([ended], timeout=grace_period_s)
                if waiting:
                    ray.kill(self.actor, no_restart=True)
        self.actor = None  # type: ignore[assignment]


def _rebuild(cls: "Type[Queue]", maxsize: int, actor: Any) -> Queue:
    found = cls.__new__(cls)
    found.maxsize, found.actor = maxsize, actor
    return found


def _check_timeout(block: bool, timeout: Optional[float]) -> None:
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")


class _QueueActor:
    """Holds the items; an async actor, so that waiting callers block nobody."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.queue: "asyncio.Queue[Any]" = asyncio.Queue(maxsize)

    def qsize(self) -> int:
        return self.queue.qsize()

    def empty(self) -> bool:
        return self.queue.empty()

    def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: Optional[float] = None) -> None:
        try:
            await asyncio.wait_for(self.queue.put(item), timeout)
        except asyncio.TimeoutError:
            raise Full from None

    async def get(self, timeout: Optional[float] = None) -> Any:
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except asyncio.TimeoutError:
            raise Empty from None

    def put_nowait(self, item: Any) -> None:
        try:
            self.queue.put_nowait(item)
        except asyncio.QueueFull:
            raise Full from None

    def put_nowait_batch(self, items: List[Any]) -> None:
        if self.maxsize > 0 and len(items) + self.qsize() > self.maxsize:
            raise Full(f"Cannot add {len(items)} items to queue of size {self.qsize()} and maxsize {self.maxsize}.")
        for item in items:
            self.queue.put_nowait(item)

    def get_nowait(self) -> Any:
        try:
            return self.queue.get_nowait()
        except asyncio.QueueEmpty:
            raise Empty from None

    def get_nowait_batch(self, num_items: int) -> List[Any]:
        if num_items > self.qsize():
            raise Empty(f"Cannot get {num_items} items from queue of size {self.qsize()}.")
        return [self.queue.get_nowait() for _ in range(num_items)]
