"""Rows of the state API: dataclasses that also read like dicts.

Times are milliseconds since 1970, sizes are bytes, ids are hexadecimal text.
A field is None where the cluster does not know it.
"""

from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type, Union

DEFAULT_LIMIT = 100
DEFAULT_RPC_TIMEOUT = 30
DEFAULT_LOG_LIMIT = 1000
RAY_MAX_LIMIT_FROM_API_SERVER = 10000

PredicateType = str  # "=" or "!="
SupportedFilterType = Union[str, bool, int, float]
Filters = List[Tuple[str, PredicateType, SupportedFilterType]]


class StateResource(str, Enum):
    """What can be listed, as in the URL."""

    ACTORS = "actors"
    JOBS = "jobs"
    PLACEMENT_GROUPS = "placement_groups"
    NODES = "nodes"
    WORKERS = "workers"
    TASKS = "tasks"
    OBJECTS = "objects"
    RUNTIME_ENVS = "runtime_envs"
    CLUSTER_EVENTS = "cluster_events"


class SummaryResource(str, Enum):
    """What can be summed up."""

    ACTORS = "actors"
    TASKS = "tasks"
    OBJECTS = "objects"


@dataclass
class StateSchema:
    """A row. ``row["key"]`` and ``row.key`` are the same."""

    @classmethod
    def columns(cls) -> List[str]:
        """Names of all fields."""
        return [item.name for item in fields(cls)]

    @classmethod
    def from_row(cls, row: Dict[str, Any]) -> "StateSchema":
        """The row of what the server sent; what is not known here is left out."""
        known = set(cls.columns())
        return cls(**{name: value for name, value in row.items() if name in known})

    def asdict(self) -> Dict[str, Any]:
        """All fields."""
        return asdict(self)

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or default where it is None or unknown."""
        value = getattr(self, key, None)
        return default if value is None else value

    def keys(self) -> List[str]:
        """Names of all fields."""
        return self.columns()

    def __getitem__(self, key: str) -> Any:
        if key not in self.columns():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns())


@dataclass
class ActorState(StateSchema):
    """An actor. States: DEPENDENCIES_UNREADY PENDING_CREATION ALIVE RESTARTING DEAD."""

    actor_id: Optional[str] = None
    class_name: Optional[str] = None
    state: Optional[str] = None
    job_id: Optional[str] = None
    name: Optional[str] = None
    node_id: Optional[str] = None
    pid: Optional[int] = None
    ray_namespace: Optional[str] = None
    serialized_runtime_env: Optional[str] = None
    required_resources: Optional[Dict[str, float]] = None
    death_cause: Optional[Dict[str, Any]] = None
    is_detached: Optional[bool] = None
    placement_group_id: Optional[str] = None
    repr_name: Optional[str] = None
    num_restarts: Optional[int] = None
    num_restarts_due_to_lineage_reconstruction: Optional[int] = None
    num_restarts_due_to_node_preemption: Optional[int] = None
    call_site: Optional[str] = None
    label_selector: Optional[Dict[str, str]] = None
    fallback_strategy: Optional[List[Dict[str, Any]]] = None


@dataclass
class PlacementGroupState(StateSchema):
    """A placement group. States: PENDING PREPARED CREATED REMOVED RESCHEDULING."""

    placement_group_id: Optional[str] = None
    name: Optional[str] = None
    creator_job_id: Optional[str] = None
    state: Optional[str] = None
    bundles: Optional[List[Dict[str, Any]]] = None
    is_detached: Optional[bool] = None
    stats: Optional[Dict[str, Any]] = None
    topology_strategy: Optional[Dict[str, str]] = None
    topology_assignments: Optional[Dict[str, Any]] = None


@dataclass
class NodeState(StateSchema):
    """A node. States: ALIVE DEAD."""

    node_id: Optional[str] = None
    node_ip: Optional[str] = None
    is_head_node: Optional[bool] = None
    state: Optional[str] = None
    state_message: Optional[str] = None
    node_name: Optional[str] = None
    resources_total: Optional[Dict[str, float]] = None
    labels: Optional[Dict[str, str]] = None
    start_time_ms: Optional[int] = None
    end_time_ms: Optional[int] = None


@dataclass
class JobState(StateSchema):
    """A job; ``type`` is SUBMISSION or DRIVER."""

    type: Optional[str] = None
    job_id: Optional[str] = None
    submission_id: Optional[str] = None
    driver_info: Optional[Dict[str, Any]] = None
    status: Optional[str] = None
    entrypoint: Optional[str] = None
    message: Optional[str] = None
    error_type: Optional[str] = None
    start_time: Optional[int] = None
    end_time: Optional[int] = None
    metadata: Optional[Dict[str, str]] = None
    runtime_env: Optional[Dict[str, Any]] = None
    driver_agent_http_address: Optional[str] = None
    driver_node_id: Optional[str] = None
    driver_exit_code: Optional[int] = None


@dataclass
class WorkerState(StateSchema):
    """A worker process or a driver."""

    worker_id: Optional[str] = None
    is_alive: Optional[bool] = None
    worker_type: Optional[str] = None
    exit_type: Optional[str] = None
    node_id: Optional[str] = None
    ip: Optional[str] = None
    pid: Optional[int] = None
    exit_detail: Optional[str] = None
    worker_launch_time_ms: Optional[int] = None
    worker_launched_time_ms: Optional[int] = None
    start_time_ms: Optional[int] = None
    end_time_ms: Optional[int] = None
    debugger_port: Optional[int] = None
    num_paused_threads: Optional[int] = None


@dataclass
class TaskState(StateSchema):
    """One attempt of a task."""

    task_id: Optional[str] = None
    attempt_number: Optional[int] = None
    name: Optional[str] = None
    state: Optional[str] = None
    job_id: Optional[str] = None
    actor_id: Optional[str] = None
    type: Optional[str] = None
    func_or_class_name: Optional[str] = None
    parent_task_id: Optional[str] = None
    node_id: Optional[str] = None
    worker_id: Optional[str] = None
    worker_pid: Optional[int] = None
    error_type: Optional[str] = None
    language: Optional[str] = None
    required_resources: Optional[Dict[str, float]] = None
    runtime_env_info: Optional[Dict[str, Any]] = None
    placement_group_id: Optional[str] = None
    events: Optional[List[Dict[str, Any]]] = None
    profiling_data: Optional[Dict[str, Any]] = None
    creation_time_ms: Optional[int] = None
    start_time_ms: Optional[int] = None
    end_time_ms: Optional[int] = None
    task_log_info: Optional[Dict[str, Any]] = None
    error_message: Optional[str] = None
    is_debugger_paused: Optional[bool] = None
    call_site: Optional[str] = None
    label_selector: Optional[Dict[str, str]] = None
    fallback_strategy: Optional[List[Dict[str, Any]]] = None
    #: Why it is not running yet, in words.
    reason: Optional[str] = None


@dataclass
class ObjectState(StateSchema):
    """One reference to an object."""

    object_id: Optional[str] = None
    object_size: Optional[int] = None
    task_status: Optional[str] = None
    attempt_number: Optional[int] = None
    reference_type: Optional[str] = None
    call_site: Optional[str] = None
    type: Optional[str] = None
    pid: Optional[int] = None
    ip: Optional[str] = None


@dataclass
class RuntimeEnvState(StateSchema):
    """An environment that was made, or could not be made, on a node."""

    runtime_env: Optional[Dict[str, Any]] = None
    success: Optional[bool] = None
    creation_time_ms: Optional[float] = None
    node_id: Optional[str] = None
    ref_cnt: Optional[int] = None
    error: Optional[str] = None


@dataclass
class ClusterEventState(StateSchema):
    """Something that the cluster did."""

    severity: Optional[str] = None
    time: Optional[str] = None
    source_type: Optional[str] = None
    message: Optional[str] = None
    event_id: Optional[str] = None
    custom_fields: Optional[Dict[str, Any]] = None


@dataclass
class ListApiOptions:
    """How to list: see :func:`ray.util.state.list_actors`."""

    limit: int = DEFAULT_LIMIT
    timeout: int = DEFAULT_RPC_TIMEOUT
    detail: bool = False
    filters: Optional[Filters] = field(default_factory=list)
    exclude_driver: bool = True


@dataclass
class GetApiOptions:
    """How to get one row."""

    timeout: int = DEFAULT_RPC_TIMEOUT


@dataclass
class SummaryApiOptions:
    """How to sum up."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    filters: Optional[Filters] = field(default_factory=list)
    summary_by: Optional[str] = None


SCHEMAS: Dict[str, Type[StateSchema]] = {
    "actors": ActorState,
    "jobs": JobState,
    "placement_groups": PlacementGroupState,
    "nodes": NodeState,
    "workers": WorkerState,
    "tasks": TaskState,
    "objects": ObjectState,
    "runtime_envs": RuntimeEnvState,
    "cluster_events": ClusterEventState,
}

#: The column that names a row of each resource.
ID_COLUMNS = {
    "actors": "actor_id",
    "jobs": "job_id",
    "placement_groups": "placement_group_id",
    "nodes": "node_id",
    "workers": "worker_id",
    "tasks": "task_id",
    "objects": "object_id",
}
