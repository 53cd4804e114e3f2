"""The pool: actors that run batches of calls."""

import collections
import itertools
import math
import os
import threading
from multiprocessing import TimeoutError
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

Callback = Optional[Callable[[Any], None]]


class PoolTaskError(Exception):
    """Carries what a call raised, so that it can be told from the pool's own failures.

    Attributes:
        underlying: the exception of the call.
    """

    def __init__(self, underlying: BaseException) -> None:
        super().__init__(underlying)
        self.underlying = underlying


class _PoolActor:
    """One worker of a pool."""

    def __init__(self, initializer: Optional[Callable[..., Any]] = None, initargs: Iterable[Any] = ()) -> None:
        if initializer:
            initializer(*initargs)

    def ping(self) -> None:
        """Answers when the worker is up."""

    def run_batch(self, func: Callable[..., Any], batch: List[Tuple[Any, Dict[str, Any]]]) -> List[Any]:
        """Results of func for each (arguments, keywords); an exception stands for itself."""
        results: List[Any] = []
        for args, kwargs in batch:
            try:
                results.append(func(*(args or ()), **(kwargs or {})))
            except Exception as error:
                results.append(PoolTaskError(error))
        return results


class AsyncResult:
    """A result that will come.

    Made by the ``*_async`` methods of :class:`Pool`.
    """

    def __init__(
        self,
        chunk_object_refs: List[Any],
        callback: Callback = None,
        error_callback: Callback = None,
        single_result: bool = False,
    ) -> None:
        self._refs = chunk_object_refs
        self._single = single_result
        self._callback = callback
        self._error_callback = error_callback
        self._done = threading.Event()
        self._value: Any = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._collect, name="ray-pool-result", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        import ray

        results: List[Any] = []
        try:
            for ref in self._refs:
                for result in ray.get(ref):
                    if isinstance(result, PoolTaskError):
                        raise result.underlying
                    results.append(result)
            self._value = results[0] if self._single else results
        except BaseException as error:
            self._error = error
        self._done.set()
        if self._error is not None and self._error_callback is not None:
            self._error_callback(self._error)
        elif self._error is None and self._callback is not None:
            self._callback(self._value)

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until the result is there, at most timeout seconds."""
        self._done.wait(timeout)

    def get(self, timeout: Optional[float] = None) -> Any:
        """The result.

        Raises:
            multiprocessing.TimeoutError: it was not there in time.
            Exception: what the call raised.
        """
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value

    def ready(self) -> bool:
        """Whether the result is there."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether the call ended without an exception.

        Raises:
            ValueError: it has not ended yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None


class IMapIterator:
    """Results of :meth:`Pool.imap`; further chunks are sent while results are read.

    Args:
        ordered: whether results come in the order of the arguments.
    """

    def __init__(
        self, pool: "Pool", func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int], ordered: bool
    ) -> None:
        self._pool = pool
        self._func = func
        self._chunks = _chunks(((item,) for item in iterable), chunksize or 1)
        self._ordered = ordered
        self._running: "collections.deque[Any]" = collections.deque()
        self._results: "collections.deque[Any]" = collections.deque()
        self._exhausted = False
        for _ in range(2 * pool._size):
            self._submit()

    def _submit(self) -> None:
        if self._exhausted:
            return
        chunk = next(self._chunks, None)
        if chunk is None:
            self._exhausted = True
        else:
            self._running.append(self._pool._run_chunk(self._func, [(args, {}) for args in chunk]))

    def __iter__(self) -> "IMapIterator":
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result; for a call that raised, a :class:`PoolTaskError` that holds what it raised.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it was not there within timeout seconds.
        """
        import ray

        if not self._results:
            if not self._running:
                raise StopIteration
            candidates = [self._running[0]] if self._ordered else list(self._running)
            ready, _ = ray.wait(candidates, num_returns=1, timeout=timeout)
            if not ready:
                raise TimeoutError
            self._running.remove(ready[0])
            self._submit()
            self._results.extend(ray.get(ready[0]))
        return self._results.popleft()


class OrderedIMapIterator(IMapIterator):
    """Results in the order of the arguments."""

    def __init__(self, pool: "Pool", func: Any, iterable: Iterable[Any], chunksize: Optional[int] = None) -> None:
        super().__init__(pool, func, iterable, chunksize, ordered=True)


class UnorderedIMapIterator(IMapIterator):
    """Results as they come."""

    def __init__(self, pool: "Pool", func: Any, iterable: Iterable[Any], chunksize: Optional[int] = None) -> None:
        super().__init__(pool, func, iterable, chunksize, ordered=False)


def _chunks(items: Iterable[Any], size: int) -> Iterator[List[Any]]:
    iterator = iter(items)
    while True:
        chunk = list(itertools.islice(iterator, size))
        if not chunk:
            return
        yield chunk


class Pool:
    """Actors behind the interface of ``multiprocessing.Pool``.

    Args:
        processes: how many; as many as the cluster has CPUs by default.
        initializer: called in each process first, with initargs.
        maxtasksperchild: calls after which a process is replaced.
        context: ignored.
        ray_address: cluster to connect to if this process is not connected
            yet; the variable RAY_ADDRESS by default.
        ray_remote_args: options of the actors.

    Raises:
        ValueError: processes is not positive, or more than the cluster has CPUs.
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., Any]] = None,
        initargs: Optional[Iterable[Any]] = None,
        maxtasksperchild: Optional[int] = None,
        context: Any = None,
        ray_address: Optional[str] = None,
        ray_remote_args: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._closed = False
        self._initializer = initializer
        self._initargs = tuple(initargs or ())
        self._max_tasks = maxtasksperchild or -1
        self._options = dict(ray_remote_args or {})
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._size = self._connect(processes, ray_address)
        self._actors: List[List[Any]] = []  # [handle, calls begun]
        self._next = 0
        self._lock = threading.Lock()
        self._outstanding: List[Any] = []
        self._retired: List[Any] = []
        for _ in range(self._size):
            self._actors.append([self._new_actor(), 0])
        import ray

        ray.get([actor.ping.remote() for actor, _ in self._actors])

    def _connect(self, processes: Optional[int], address: Optional[str]) -> int:
        import ray

        if processes is not None and processes <= 0:
            raise ValueError("Processes in the pool must be >0.")
        if not ray.is_initialized():
            target = address or os.environ.get("RAY_ADDRESS")
            if target:
                ray.init(address=target)
            else:
                ray.init(num_cpus=processes)
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if processes is None:
            return max(cpus, 1)
        per_actor = self._options.get("num_cpus", 1)
        if per_actor and processes * per_actor > cpus and not address:
            raise ValueError(
                f"Tried to start a pool with {processes} processes on an existing ray cluster, "
                f"but there are only {cpus} CPUs in the ray cluster."
            )
        return processes

    def _new_actor(self) -> Any:
        import ray

        options = {"num_cpus": 0, **self._options}  # a pool within a task of a pool must not wait for a CPU
        return ray.remote(_PoolActor).options(**options).remote(self._initializer, self._initargs)

    def _run_chunk(self, func: Callable[..., Any], batch: List[Tuple[Any, Dict[str, Any]]]) -> Any:
        """Sends a batch to the next actor; gives the ref of the list of its results."""
        with self._lock:
            index = self._next
            self._next = (self._next + 1) % self._size
            entry = self._actors[index]
            if 0 < self._max_tasks <= entry[1]:
                # Calls that it has begun still end; it goes when they have.
                self._retired.append(entry[0])
                entry[0].__ray_terminate__.remote()
                entry = self._actors[index] = [self._new_actor(), 0]
            entry[1] += len(batch)
            ref = entry[0].run_batch.remote(func, batch)
            self._outstanding.append(ref)
            if len(self._outstanding) > 1000:
                self._forget_finished()
            return ref

    def _forget_finished(self) -> None:
        import ray

        _, self._outstanding = ray.wait(self._outstanding, num_returns=len(self._outstanding), timeout=0)

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def _start(
        self,
        func: Callable[..., Any],
        calls: List[Tuple[Any, Dict[str, Any]]],
        chunksize: Optional[int],
        callback: Callback,
        error_callback: Callback,
        single: bool = False,
    ) -> AsyncResult:
        self._check_running()
        size = chunksize or max(1, math.ceil(len(calls) / (self._size * 4)))
        refs = [self._run_chunk(func, chunk) for chunk in _chunks(calls, size)]
        return AsyncResult(refs, callback, error_callback, single)

    def apply(
        self, func: Callable[..., Any], args: Optional[Tuple] = None, kwargs: Optional[Dict[str, Any]] = None
    ) -> Any:
        """Runs func in one process and waits for the result."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Optional[Tuple] = None,
        kwargs: Optional[Dict[str, Any]] = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """Runs func in one process.

        Args:
            callback: called with the result.
            error_callback: called with the exception.
        """
        return self._start(func, [(args or (), kwargs or {})], 1, callback, error_callback, single=True)

    def map(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = None) -> List[Any]:
        """``[func(x) for x in iterable]``, spread over the processes."""
        return self.map_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """:meth:`map` that does not wait."""
        return self._start(func, [((item,), {}) for item in iterable], chunksize, callback, error_callback)

    def starmap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = None) -> List[Any]:
        """``[func(*x) for x in iterable]``, spread over the processes."""
        return self._start(func, [(tuple(item), {}) for item in iterable], chunksize, None, None).get()

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult:
        """:meth:`starmap` that does not wait."""
        return self._start(func, [(tuple(item), {}) for item in iterable], None, callback, error_callback)

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = 1) -> IMapIterator:
        """An iterator over the results, in order; arguments are read as it advances."""
        self._check_running()
        return OrderedIMapIterator(self, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Optional[int] = 1
    ) -> IMapIterator:
        """:meth:`imap` with results as they come."""
        self._check_running()
        return UnorderedIMapIterator(self, func, iterable, chunksize)

    def __enter__(self) -> "Pool":
        self._check_running()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.terminate()

    def close(self) -> None:
        """Takes no more work; what was given ends."""
        self._closed = True

    def terminate(self) -> None:
        """Ends all processes at once."""
        import ray

        self.close()
        for actor in [entry[0] for entry in self._actors] + self._retired:
            if ray.is_initialized():
                ray.kill(actor)
        self._actors, self._retired = [], []

    def join(self) -> None:
        """Waits until all work has ended, then ends the processes.

        Raises:
            ValueError: close() or terminate() has not been called.
        """
        import ray

        if not self._closed:
            raise ValueError("Pool is still running")
        if self._actors:
            if self._outstanding:
                ray.wait(self._outstanding, num_returns=len(self._outstanding))
            self.terminate()
