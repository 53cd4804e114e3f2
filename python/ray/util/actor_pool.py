"""A fixed set of actors that share a stream of work."""

from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

Submit = Callable[[Any, Any], Any]


class ActorPool:
    """Sends each value to the next actor that is free.

    Args:
        actors: handles of the actors.

    Example:
        >>> pool = ActorPool([Worker.remote() for _ in range(2)])  # doctest: +SKIP
        >>> list(pool.map(lambda a, v: a.double.remote(v), range(4)))  # doctest: +SKIP
        [0, 2, 4, 6]
    """

    def __init__(self, actors: List[Any]) -> None:
        self._idle_actors: List[Any] = list(actors)
        self._future_to_actor: Dict[Any, Tuple[int, Any]] = {}  # ref → (index, actor)
        self._index_to_future: Dict[int, Any] = {}  # index → ref
        self._next_task_index = 0
        self._next_return_index = 0
        self._pending_submits: List[Tuple[Submit, Any]] = []

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the values.

        Args:
            fn: takes (actor, value), calls a method of the actor and gives the ref.
        """
        return self._map(fn, values, self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """As :meth:`map`, each result as soon as it is there."""
        return self._map(fn, values, self.get_next_unordered)

    def _map(self, fn: Submit, values: Iterable[Any], take: Callable[..., Any]) -> Iterator[Any]:
        # Results of earlier calls would be mixed up with the new ones.
        while self.has_next():
            try:
                self.get_next_unordered(timeout=0)
            except TimeoutError:
                pass
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield take()

        return results()

    def submit(self, fn: Submit, value: Any) -> None:
        """Gives value to a free actor, or keeps it until there is one."""
        if self._idle_actors:
            actor = self._idle_actors.pop()
            ref = fn(actor, value)
            key = tuple(ref) if isinstance(ref, list) else ref
            self._future_to_actor[key] = (self._next_task_index, actor)
            self._index_to_future[self._next_task_index] = ref
            self._next_task_index += 1
        else:
            self._pending_submits.append((fn, value))

    def has_next(self) -> bool:
        """Whether any result has not been taken yet."""
        return bool(self._future_to_actor)

    def get_next(self, timeout: Optional[float] = None, ignore_if_timedout: bool = False) -> Any:
        """The next result, in the order of submission.

        Args:
            timeout: most seconds to wait; None waits for ever.
            ignore_if_timedout: throw the result away if it is late.

        Raises:
            StopIteration: nothing is left.
            ValueError: get_next_unordered has taken results before.
            TimeoutError: it was not there in time.
        """
        import ray

        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next_return_index >= self._next_task_index:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        if self._next_return_index not in self._index_to_future:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        ref = self._index_to_future[self._next_return_index]
        late = False
        if timeout is not None:
            ready, _ = ray.wait(ref if isinstance(ref, list) else [ref], timeout=timeout)
            if not ready:
                if not ignore_if_timedout:
                    raise TimeoutError("Timed out waiting for result")
                late = True
        del self._index_to_future[self._next_return_index]
        self._next_return_index += 1
        self._give_back(ref)
        if late:
            raise TimeoutError("Timed out waiting for result. The result has been thrown away.")
        return ray.get(ref)

    def get_next_unordered(self, timeout: Optional[float] = None, ignore_if_timedout: bool = False) -> Any:
        """Any result that is there; see :meth:`get_next`."""
        import ray

        if not self.has_next():
            raise StopIteration("No more results to get")
        refs: List[Any] = []
        for key in self._future_to_actor:
            refs.extend(key if isinstance(key, tuple) else [key])
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout)
        late = False
        if not ready:
            if not ignore_if_timedout:
                raise TimeoutError("Timed out waiting for result")
            late = True
            key = next(iter(self._future_to_actor))
        else:
            key = next(k for k in self._future_to_actor if k == ready[0] or (isinstance(k, tuple) and ready[0] in k))
        index = self._future_to_actor[key][0]
        ref = self._index_to_future.pop(index)
        self._next_return_index = max(self._next_return_index, index + 1)
        self._give_back(ref)
        if late:
            raise TimeoutError("Timed out waiting for result. The result has been thrown away.")
        return ray.get(ref)

    def _give_back(self, ref: Any) -> None:
        key = tuple(ref) if isinstance(ref, list) else ref
        _, actor = self._future_to_actor.pop(key)
        self._return_actor(actor)

    def _return_actor(self, actor: Any) -> None:
        self._idle_actors.append(actor)
        if self._pending_submits:
            self.submit(*self._pending_submits.pop(0))

    def has_free(self) -> bool:
        """Whether an actor is free and no work waits."""
        return bool(self._idle_actors) and not self._pending_submits

    def pop_idle(self) -> Optional[Any]:
        """Takes a free actor out of the pool; None if there is none."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Adds an actor.

        Raises:
            ValueError: it is in the pool already.
        """
        busy = [running for _, running in self._future_to_actor.values()]
        if actor in self._idle_actors or actor in busy:
            raise ValueError("Actor already belongs to current ActorPool")
        self._return_actor(actor)
