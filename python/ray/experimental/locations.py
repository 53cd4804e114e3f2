"""Where objects are."""

from typing import Any, Dict, List


def get_object_locations(obj_refs: List[Any], timeout_ms: int = -1) -> Dict[Any, Dict[str, Any]]:
    """On which nodes the values of refs lie.

    Args:
        obj_refs: object refs.
        timeout_ms: most milliseconds to wait for the answer; -1 for no limit.

    Returns:
        For each ref ``{"node_ids": [hex], "object_size": bytes or None,
        "did_spill": bool}``; no nodes where the value is inline or not there.

    Raises:
        GetTimeoutError: the answer did not come in time.
        RuntimeError: ``ray.init`` was not called.
    """
    from ray._core import state

    if not state.is_connected():
        raise RuntimeError("Ray hasn't been initialized.")
    timeout = None if timeout_ms < 0 else timeout_ms / 1000
    reply, _ = state.client().call("objects.locations", {"ids": [ref.hex() for ref in obj_refs]}, timeout=timeout)
    return {ref: _entry((reply or {}).get(ref.hex()) or {}) for ref in obj_refs}


def _entry(row: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "node_ids": list(row.get("nodes") or []),
        "object_size": row.get("size") or None,
        "did_spill": bool(row.get("did_spill")),
    }


def get_local_object_locations(obj_refs: List[Any]) -> Dict[Any, Dict[str, Any]]:
    """The same as :func:`get_object_locations`: this node knows all of its own objects."""
    return get_object_locations(obj_refs)
