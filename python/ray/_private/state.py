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
