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
    """What ``ray memory`` prints of the cluster to which this process is connected."""
    from ray._core import state

    reply, _ = state.client().call("memory.summary", {})
    rows = sorted(reply.get("rows") or [], key=lambda row: -(row.get("object_size") or 0))[:num_entries]
    columns = ("ip", "pid", "type", "object_size", "reference_type", "object_id")
    lines = ["  ".join(columns)]
    lines += ["  ".join(str(row.get(name, "")) for name in columns) for row in ([] if stats_only else rows)]
    total = sum(row.get("object_size") or 0 for row in rows)
    lines.append(f"{len(rows)} references, {total} bytes")
    return "\n".join(lines)


def global_gc() -> None:
    """Collects Python's garbage in all processes of the cluster.

    The others do it soon after this call returns.
    """
    import gc

    from ray._core import state

    state.client().call("objects.collect", {})
    gc.collect()
