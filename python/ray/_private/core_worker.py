"""What this process knows of its objects and of itself, under the names that old programs and libraries look for."""

from typing import Any, Dict

from ray._core import state
from ray._core.entries import ELSEWHERE, LOCAL, PENDING, Inline

#: How the ids of tasks that create actors begin.
_CREATION = b"\xff" * 8


class CoreWorker:
    """A view of this process's connection; it holds nothing itself.

    Raises:
        RaySystemError: from every method, when this process is not connected.
    """

    def object_exists(self, object_ref: Any, memory_store_only: bool = False) -> bool:
        """Whether the value is on this node.

        Args:
            object_ref: the reference.
            memory_store_only: whether it must be in this process's memory, as small values are.
        """
        client = state.connected()
        client.poll()
        entry = client._objects.get(object_ref.binary(), PENDING)
        if memory_store_only:
            return isinstance(entry, (bytes, Inline))
        if type(entry) is int and entry in (PENDING, ELSEWHERE):
            from ray.experimental import get_object_locations

            return client.node_id.hex() in get_object_locations([object_ref])[object_ref]["node_ids"]
        return type(entry) is not int or entry == LOCAL

    def get_all_reference_counts(self) -> Dict[bytes, Dict[str, int]]:
        """How many Python objects here stand for each object: hexadecimal id, as bytes, to ``{"local": count}``.

        Handles of actors are not among them.
        """
        client = state.connected()
        client.flush()
        with client._lock:
            counts = list(client._count.items())
        return {oid.hex().encode(): {"local": count, "submitted": 0} for oid, count in counts if oid[:8] != _CREATION}

    def get_memory_store_size(self) -> int:
        """How many small values are in this process's memory; what actors' creations return is not among them."""
        client = state.connected()
        client.flush()
        with client._lock:
            values = list(client._objects.items())
        return sum(1 for oid, entry in values if isinstance(entry, (bytes, Inline)) and oid[:8] != _CREATION)

    def get_job_config(self) -> Any:
        """JobConfig of the job: its environment, metadata and namespace."""
        from ray.job_config import JobConfig

        job = state.connected().job_config
        metadata = {
            name: text for name, text in (job.get("metadata") or {}).items() if name != "default_actor_lifetime"
        }
        return JobConfig(runtime_env=job.get("runtime_env"), metadata=metadata, ray_namespace=job.get("namespace"))

    def get_current_job_id(self) -> Any:
        """JobID of the job."""
        from ray._core.ids import JobID

        return JobID(state.connected().job_id)

    def get_current_node_id(self) -> Any:
        """NodeID of the node."""
        from ray._core.ids import NodeID

        return NodeID(state.connected().node_id)

    def get_worker_id(self) -> Any:
        """WorkerID of this process."""
        from ray._core.ids import WorkerID

        return WorkerID(state.connected().worker_id)

    def get_current_task_id(self) -> Any:
        """TaskID of the running task."""
        from ray._private.worker import global_worker

        return global_worker.current_task_id

    def get_actor_id(self) -> Any:
        """ActorID of the actor of this process, nil if there is none."""
        from ray._private.worker import global_worker

        return global_worker.actor_id

    def current_actor_is_asyncio(self) -> bool:
        """Whether the actor of this process is an async one."""
        return state.actor is not None and state.actor.is_async
