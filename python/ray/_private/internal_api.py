"""Calls for tests and libraries, not for programs."""

from typing import Any, List, Optional, Union


def free(object_refs: Union[Any, List[Any]], local_only: bool = False) -> None:
    """Frees objects although references to them exist; reading one raises ObjectFreedError.

    Raises:
        TypeError: object_refs is neither a ref nor a list of refs.
    """
    import ray
    from ray._core import state
    from ray._core.entries import ELSEWHERE

    refs = [object_refs] if isinstance(object_refs, ray.ObjectRef) else object_refs
    if not isinstance(refs, list) or not all(isinstance(ref, ray.ObjectRef) for ref in refs):
        raise TypeError(f"free() expects a list of ObjectRef, got {type(object_refs)}")
    if refs:
        client = state.client()
        if client.arena is not None:
            client.arena.end_all_idle()  # this process would find the value among what it has just read
        client.call("objects.free", {"ids": [ref.hex() for ref in refs]})
        with client._lock:
            for ref in refs:
                if type(client._objects.get(ref.binary())) is bytes:
                    client._objects[ref.binary()] = ELSEWHERE  # what this process has kept is not read again


def memory_summary(
    address: Optional[str] = None,
    redis_password: Optional[str] = None,
    group_by: str = "NODE_ADDRESS",
    sort_by: str = "OBJECT_SIZE",
    units: str = "B",
    line_wrap: bool = True,
    stats_only: bool = False,
    num_entries: Optional[int] = None,
) -> str:
    """What ``ray memory`` prints of the cluster to which this process is connected.

    Args:
        address: accepted and ignored, as are redis_password and line_wrap.
        group_by: ``NODE_ADDRESS`` or ``STACK_TRACE``.
        sort_by: ``OBJECT_SIZE``, ``PID`` or ``REFERENCE_TYPE``.
        units: ``B``, ``KB``, ``MB`` or ``GB``.
        stats_only: only what the object stores hold, have spilled and restored.
        num_entries: at most so many objects of each group.
    """
    from ray._core import state

    client = state.client()
    if client.arena is not None:
        client.arena.end_all_idle()  # what only waits to be read again is not in use
    params = {"group_by": group_by, "sort_by": sort_by, "units": units, "stats_only": stats_only}
    reply, _ = client.call("memory.summary", dict(params, num_entries=num_entries or 0))
    return str(reply["text"])


def global_gc() -> None:
    """Collects Python's garbage in all processes of the cluster.

    The others do it soon after this call returns.
    """
    import gc

    from ray._core import state

    state.client().call("objects.collect", {})
    gc.collect()
