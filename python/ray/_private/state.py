"""The cluster's tables as dicts, as old programs read them."""

from typing import Any, Dict, List, Optional


def nodes() -> List[Dict[str, Any]]:
    """The same as ``ray.nodes()``."""
    import ray

    return ray.nodes()


def cluster_resources() -> Dict[str, float]:
    """The same as ``ray.cluster_resources()``."""
    import ray

    return ray.cluster_resources()


def available_resources() -> Dict[str, float]:
    """The same as ``ray.available_resources()``."""
    import ray

    return ray.available_resources()


def available_resources_per_node() -> Dict[str, Dict[str, float]]:
    """What is free on each living node, by the node's id."""
    return _per_node("available")


def total_resources_per_node() -> Dict[str, Dict[str, float]]:
    """What each living node has, by the node's id."""
    return _per_node("total")


def _per_node(kind: str) -> Dict[str, Dict[str, float]]:
    from ray._core import state

    rows, _ = state.connected().call("nodes.list")
    living = [row for row in rows or [] if row.get("state") in ("ALIVE", "DRAINING")]
    return {row["node_id"]: dict(row.get(kind) or {}) for row in living}


def node_ids() -> List[str]:
    """The resource of each living node that is named after the node's address."""
    found = []
    for node in nodes():
        found += [name for name in node["Resources"] if name.startswith("node:") and "__" not in name]
    return found


def current_node_id() -> str:
    """The resource that is named after the address of this process's node."""
    import ray

    return "node:" + ray.util.get_node_ip_address()


def timeline(filename: Optional[str] = None) -> Optional[List[Dict[str, Any]]]:
    """The same as ``ray.timeline()``."""
    import ray

    return ray.timeline(filename)


def actors(
    actor_id: Optional[str] = None, job_id: Any = None, actor_state_name: Optional[str] = None
) -> Dict[str, Any]:
    """Actors by id, or the one with actor_id; names of keys as in the table of old."""
    from ray.util.state import list_actors
    from ray.util.state.common import Filters

    filters: Filters = [("actor_id", "=", actor_id)] if actor_id else []
    if job_id is not None:
        filters.append(("job_id", "=", job_id.hex()))
    if actor_state_name:
        filters.append(("state", "=", actor_state_name))
    listed = list_actors(filters=filters, limit=10000, detail=True)
    rows: Dict[str, Any] = {str(row.actor_id): _entry(row) for row in listed}
    return rows.get(actor_id, {}) if actor_id else rows


def _entry(row: Any) -> Dict[str, Any]:
    return {
        "ActorID": row.actor_id,
        "ActorClassName": row.class_name,
        "IsDetached": bool(row.is_detached),
        "Name": row.name or "",
        "JobID": row.job_id,
        "Address": {"IPAddress": "", "Port": 0, "NodeID": row.node_id},
        "State": row.state,
        "NumRestarts": row.num_restarts or 0,
        "Pid": row.pid,
        "DeathCause": row.death_cause,
    }
