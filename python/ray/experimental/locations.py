"""Where objects are."""

from typing import Any, Dict, List


def get_object_locations(obj_refs: List[Any], timeout_ms: int = -1) -> Dict[Any, Dict[str, Any]]:
    """On which nodes the values of refs lie.

    Args:
        obj_refs: object refs.
        timeout_ms: most milliseconds to wait for the answer; -1 for no limit.

    Returns:
        For each ref ``{"node_ids": [hex], "object_size": bytes or None,
        "did_spill": bool}``; no nodes where the value is not there, or is a small
        one that a task returned; a small one that was put is at its owner's.

    Raises:
        GetTimeoutError: the answer did not come in time.
        RuntimeError: ``ray.init`` was not called.
    """
    from ray._core import state
    from ray.exceptions import GetTimeoutError

    if not state.is_connected():
        raise RuntimeError("Ray hasn't been initialized.")
    if timeout_ms == 0:
        raise GetTimeoutError("The locations of objects cannot be had within 0 ms.")
    timeout = None if timeout_ms < 0 else timeout_ms / 1000
    reply, _ = state.client().call("objects.locations", {"ids": [ref.hex() for ref in obj_refs]}, timeout=timeout)
    return {ref: _entry(ref, (reply or {}).get(ref.hex()) or {}) for ref in obj_refs}


def _entry(ref: Any, row: Dict[str, Any]) -> Dict[str, Any]:
    from ray._core.refs import was_put

    nodes = list(row.get("nodes") or [])
    if not nodes and row.get("size") and was_put(ref):
        nodes = [ref._owner.hex()]
    return {
        "node_ids": nodes,
        "object_size": row.get("size") or None,
        "did_spill": bool(row.get("did_spill")),
    }


def get_local_object_locations(obj_refs: List[Any]) -> Dict[Any, Dict[str, Any]]:
    """The same as :func:`get_object_locations`: this node knows all of its own objects."""
    return get_object_locations(obj_refs)
