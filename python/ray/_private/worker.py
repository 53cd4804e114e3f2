"""Facts about this process, as old programs and libraries read them."""

from typing import Any, Optional

from ray._core import state, unhandled
from ray._private.core_worker import CoreWorker
from ray._private.node import Node

SCRIPT_MODE = 0
WORKER_MODE = 1
SPILL_WORKER_MODE = 2
RESTORE_WORKER_MODE = 3


class Worker:
    """A view of this process's connection; it holds nothing itself."""

    @property
    def connected(self) -> bool:
        """Whether this process is connected."""
        return state.is_connected()

    def check_connected(self) -> None:
        """Raises RaySystemError unless this process is connected."""
        state.connected()

    @property
    def mode(self) -> Optional[int]:
        """SCRIPT_MODE in a driver, WORKER_MODE in a worker, None when not connected."""
        if not state.is_connected():
            return None
        return WORKER_MODE if state.mode() == state.WORKER else SCRIPT_MODE

    @property
    def current_job_id(self) -> Any:
        """JobID of the job, nil when not connected."""
        from ray._core.ids import JobID

        return JobID(state.connected().job_id) if state.is_connected() else JobID.nil()

    @property
    def current_node_id(self) -> Any:
        """NodeID of the node."""
        from ray._core.ids import NodeID

        return NodeID(state.connected().node_id)

    @property
    def current_task_id(self) -> Any:
        """TaskID of the running task."""
        from ray._core.ids import TaskID

        task = state.current_task()
        return TaskID(task.task_id) if task else TaskID.nil()

    @property
    def actor_id(self) -> Any:
        """ActorID of the actor of this process, nil if there is none."""
        from ray._core.ids import ActorID

        return ActorID(state.actor.actor_id) if state.actor else ActorID.nil()

    @property
    def worker_id(self) -> bytes:
        """Id of this process, as bytes."""
        return state.connected().worker_id

    @property
    def namespace(self) -> str:
        """Namespace of the job."""
        return state.connected().namespace

    @property
    def runtime_env(self) -> dict:
        """Environment of the job."""
        return dict(state.connected().runtime_env)

    @property
    def node_ip_address(self) -> str:
        """Address of the node."""
        return state.connected().node_ip

    @property
    def core_worker(self) -> CoreWorker:
        """What this process knows of its objects."""
        state.connected()
        return _core_worker

    def put_object(self, value: Any) -> Any:
        """As ``ray.put``."""
        import ray

        return ray.put(value)

    @property
    def node(self) -> Node:
        """The node that this process runs on."""
        return _global_node


global_worker = Worker()
_global_node = Node()
_core_worker = CoreWorker()


def is_initialized() -> bool:
    """Whether this process is connected."""
    return state.is_connected()


def _unhandled_error_handler(error: BaseException) -> None:
    """Called with each error that nobody looked at; programs may put their own in its place."""
    unhandled.show(error)


def get_global_worker() -> Worker:
    """The view of this process."""
    return global_worker
