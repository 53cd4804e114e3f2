"""Iterating over results as they come."""

from typing import Any, Iterable, Iterator, List, Optional, Sequence


def as_completed(
    refs: Sequence[Any], *, chunk_size: int = 10, yield_obj_refs: bool = False, **kwargs: Any
) -> Iterator[Any]:
    """Values of the refs, each as soon as it is there.

    Args:
        refs: object refs.
        chunk_size: how many are fetched at a time.
        yield_obj_refs: yield the (finished) refs instead of the values.
        kwargs: further arguments of ``ray.wait``.

    Raises:
        ValueError: chunk_size is below 1.
    """
    import ray

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if "num_returns" in kwargs:
        raise ValueError("Use the `chunk_size` argument instead of `num_returns`.")
    waiting: List[Any] = list(refs)
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=min(len(waiting), chunk_size), **kwargs)
        yield from ready if yield_obj_refs else ray.get(ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: Optional[int] = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Results of a remote function for each item, each as soon as it is there.

    Args:
        fn: a remote function of one argument.
        items: its arguments.
        backpressure_size: most calls in flight; None for no bound.
        chunk_size, yield_obj_refs, kwargs: see :func:`as_completed`.

    Raises:
        ValueError: a size is below what makes sense.
    """
    import ray

    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if backpressure_size is None:
        bound = float("inf")
    elif backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    else:
        bound = float(max(backpressure_size, chunk_size))
    waiting: List[Any] = []
    for item in items:
        while len(waiting) >= bound:
            ready, waiting = ray.wait(waiting, num_returns=min(len(waiting), chunk_size), **kwargs)
            yield from ready if yield_obj_refs else ray.get(ready)
        waiting.append(fn.remote(item))
    yield from as_completed(waiting, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs, **kwargs)
