"""From the head's status to the values of ``ray.autoscaler.v2.schema``."""

from collections import Counter
from typing import Any, Dict, List

from ray.autoscaler.v2.schema import (
    NODE_DEATH_CAUSE_RAYLET_DIED,
    ClusterConstraintDemand,
    ClusterStatus,
    LaunchRequest,
    NodeInfo,
    NodeUsage,
    PlacementGroupResourceDemand,
    RayTaskActorDemand,
    ResourceDemandSummary,
    ResourceRequestByCount,
    ResourceUsage,
    Stats,
)

Row = Dict[str, Any]


def is_autoscaler_v2(fetch_from_server: bool = False, gcs_client: Any = None) -> bool:
    """Whether a cluster is scaled by the newer of upstream's autoscalers, in whose words this one speaks."""
    return True


class ClusterStatusParser:
    """Makes a ClusterStatus of the head's answer."""

    @classmethod
    def from_status(cls, row: Row, asked: float, took: float) -> ClusterStatus:
        """The status.

        Args:
            row: what the head answers to ``status``.
            asked: Unix time of the question.
            took: seconds until the answer.
        """
        out = ClusterStatus(stats=Stats(gcs_request_time_s=took, request_ts_s=asked))
        out.stats.cluster_resource_state_version = str(row.get("time_ms", 0))
        sums: Dict[str, ResourceUsage] = {}
        for node in row.get("nodes") or []:
            info = _node(node)
            if node["state"] == "DEAD":
                out.failed_nodes.append(info)
                continue
            (out.idle_nodes if info.node_status == "IDLE" else out.active_nodes).append(info)
            for usage in info._amounts():
                total = sums.setdefault(usage.resource_name, ResourceUsage(usage.resource_name))
                total.total += usage.total
                total.used += usage.used
        out.cluster_resource_usage = list(sums.values())
        _machines(out, row)
        out.resource_demands = _demands(row)
        return out


def _node(row: Row) -> NodeInfo:
    dead, idle = row["state"] == "DEAD", row.get("idle_ms") or 0
    total, available = row.get("total") or {}, row.get("available") or {}
    usage = [ResourceUsage(name, float(has), float(has) - available.get(name, 0)) for name, has in total.items()]
    status = {"ALIVE": "IDLE" if idle else "RUNNING"}.get(row["state"], row["state"])
    return NodeInfo(
        instance_type_name="",
        ray_node_type_name=row.get("node_type") or f"node_{row['node_id']}",
        instance_id=row.get("instance") or "",
        ip_address=row.get("ip") or "",
        node_status=status,
        node_id=row["node_id"],
        resource_usage=None if dead else NodeUsage(usage, idle if status == "IDLE" else 0),
        failure_detail=NODE_DEATH_CAUSE_RAYLET_DIED if dead else None,
        details=row.get("death_reason") if dead else None,
        node_activity=list(row.get("activity") or []),
        labels=dict(row.get("labels") or {}),
    )


def _machines(out: ClusterStatus, row: Row) -> None:
    """Adds what is on its way and what could not be had."""
    asked: Dict[str, LaunchRequest] = {}
    for machine in row.get("pending") or []:
        kind, since = machine["node_type"], machine.get("since_ms", 0) // 1000
        if machine["state"] not in ("QUEUED", "REQUESTED"):
            details = machine.get("reason") or machine["state"]
            node = NodeInfo("", kind, machine.get("id") or "", machine.get("ip") or "", details=details)
            out.pending_nodes.append(node)
            continue
        launch = asked.setdefault(kind, LaunchRequest("", kind, 0, LaunchRequest.Status.PENDING, since))
        launch.count += 1
        launch.request_ts_s = min(launch.request_ts_s, since)
    out.pending_launches = list(asked.values())
    for failure in row.get("failures") or []:
        if failure["kind"] == "LaunchFailed":
            when = failure["time_ms"] // 1000
            launch = LaunchRequest("", failure["node_type"], 1, LaunchRequest.Status.FAILED, when, when)
            launch.details = failure.get("details")
            out.failed_launches.append(launch)


def _demands(row: Row) -> ResourceDemandSummary:
    out = ResourceDemandSummary()
    for demand in row.get("demands") or []:
        if demand.get("count") and demand.get("resources"):
            shape = ResourceRequestByCount(demand["resources"], demand["count"])
            out.ray_task_actor_demand.append(RayTaskActorDemand([shape]))
    for group in row.get("placement_groups") or []:
        details = f"{group['placement_group_id']}:{group['strategy']}|{group['state']}"
        # The id of no node is all zeros.
        placed = {index for index, node in enumerate(group.get("bundle_nodes") or []) if node.strip("0")}
        left = [bundle for index, bundle in enumerate(group["bundles"]) if index not in placed]
        out.placement_group_demand.append(PlacementGroupResourceDemand(_counted(left), details))
    asked = row.get("constraints") or []
    if asked:
        shapes = [ResourceRequestByCount(demand["resources"], demand["count"]) for demand in asked]
        out.cluster_constraint_demand.append(ClusterConstraintDemand(shapes))
    return out


def _counted(bundles: List[Dict[str, float]]) -> List[ResourceRequestByCount]:
    counts = Counter(frozenset(bundle.items()) for bundle in bundles)
    return [ResourceRequestByCount(dict(shape), count) for shape, count in counts.items()]
