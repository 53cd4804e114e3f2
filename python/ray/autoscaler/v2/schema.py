"""A cluster's status as values, by the names that upstream's programs know."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List, Optional

#: What is said of every node that has died.
NODE_DEATH_CAUSE_RAYLET_DIED = "NodeTerminated"


@dataclass
class ResourceUsage:
    """How much there is of a resource, and how much of it is in use; memory in bytes."""

    resource_name: str = ""
    total: float = 0.0
    used: float = 0.0


@dataclass
class NodeUsage:
    """What is in use on one node, and for how many milliseconds nothing was."""

    usage: List[ResourceUsage]
    idle_time_ms: int


@dataclass
class NodeInfo:
    """A node, or a machine that is to become one."""

    instance_type_name: str
    ray_node_type_name: str
    instance_id: str
    ip_address: str
    node_status: Optional[str] = None
    node_id: Optional[str] = None  # hex; None until it has joined
    resource_usage: Optional[NodeUsage] = None
    failure_detail: Optional[str] = None
    details: Optional[str] = None
    node_activity: Optional[List[str]] = None
    labels: Optional[Dict[str, str]] = None

    def _amounts(self) -> List[ResourceUsage]:
        return self.resource_usage.usage if self.resource_usage else []

    def total_resources(self) -> Dict[str, float]:
        """Resource to amount."""
        return {row.resource_name: row.total for row in self._amounts()}

    def available_resources(self) -> Dict[str, float]:
        """Resource to the amount that is free."""
        return {row.resource_name: row.total - row.used for row in self._amounts()}

    def used_resources(self) -> Dict[str, float]:
        """Resource to the amount that is in use."""
        return {row.resource_name: row.used for row in self._amounts()}


@dataclass
class LaunchRequest:
    """Machines of one type that were asked for, or that could not be had. Times are Unix seconds."""

    class Status(Enum):
        FAILED = "FAILED"
        PENDING = "PENDING"

    instance_type_name: str
    ray_node_type_name: str
    count: int
    state: Status
    request_ts_s: int
    failed_ts_s: Optional[int] = None
    details: Optional[str] = None


@dataclass
class ResourceRequestByCount:
    """A shape of resources, and how many of it are asked for."""

    bundle: Dict[str, float]
    count: int

    def __str__(self) -> str:
        return f"[{self.count} {self.bundle}]"


@dataclass
class ResourceDemand:
    """Things that wait for a place."""

    bundles_by_count: List[ResourceRequestByCount]


@dataclass
class PlacementGroupResourceDemand(ResourceDemand):
    """A placement group that waits; details is ``ID:STRATEGY|STATE``."""

    details: str
    pg_id: Optional[str] = None
    strategy: Optional[str] = None
    state: Optional[str] = None

    def __post_init__(self) -> None:
        group, colon, rest = self.details.partition(":")
        strategy, bar, state = rest.partition("|")
        if colon and bar:
            self.pg_id, self.strategy, self.state = group, strategy, state


@dataclass
class RayTaskActorDemand(ResourceDemand):
    """Tasks and actors that wait."""


@dataclass
class ClusterConstraintDemand(ResourceDemand):
    """What ``request_resources`` asked for."""


@dataclass
class ResourceDemandSummary:
    """All that waits, by what it is."""

    placement_group_demand: List[PlacementGroupResourceDemand] = field(default_factory=list)
    ray_task_actor_demand: List[RayTaskActorDemand] = field(default_factory=list)
    cluster_constraint_demand: List[ClusterConstraintDemand] = field(default_factory=list)


@dataclass
class Stats:
    """How old the status is and how long it took to get; what is not measured is None."""

    gcs_request_time_s: float = 0.0
    none_terminated_node_request_time_s: Optional[float] = None
    autoscaler_iteration_time_s: Optional[float] = None
    autoscaler_version: Optional[str] = None
    cluster_resource_state_version: Optional[str] = None
    request_ts_s: Optional[float] = None


@dataclass
class ClusterStatus:
    """A cluster at one time."""

    active_nodes: List[NodeInfo] = field(default_factory=list)
    idle_nodes: List[NodeInfo] = field(default_factory=list)
    pending_launches: List[LaunchRequest] = field(default_factory=list)
    failed_launches: List[LaunchRequest] = field(default_factory=list)
    pending_nodes: List[NodeInfo] = field(default_factory=list)
    failed_nodes: List[NodeInfo] = field(default_factory=list)
    cluster_resource_usage: List[ResourceUsage] = field(default_factory=list)
    resource_demands: ResourceDemandSummary = field(default_factory=ResourceDemandSummary)
    stats: Stats = field(default_factory=Stats)

    def total_resources(self) -> Dict[str, float]:
        """Resource to amount, of all nodes that live."""
        return {row.resource_name: row.total for row in self.cluster_resource_usage}

    def available_resources(self) -> Dict[str, float]:
        """Resource to the amount that is free."""
        return {row.resource_name: row.total - row.used for row in self.cluster_resource_usage}
