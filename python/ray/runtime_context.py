"""Where the calling code runs: job, node, worker, task, actor."""

import json
import os
from typing import Any, Dict, List, Optional

from ray._core import state
from ray._core.devices import FAMILIES
from ray.util.annotations import Deprecated


class RuntimeContext:
    """Facts about the process and the task that ask for them.

    Ids are lower-case hexadecimal strings. Made by :func:`get_runtime_context`.
    """

    def get(self) -> Dict[str, Any]:
        """The main facts as one dict (deprecated: use the methods)."""
        from ray._core.ids import ActorID, JobID, NodeID, TaskID

        found: Dict[str, Any] = {
            "job_id": JobID.from_hex(self.get_job_id()),
            "node_id": NodeID.from_hex(self.get_node_id()),
            "namespace": self.namespace,
        }
        task, actor = self.get_task_id(), self.get_actor_id()
        if self.worker_mode and task is not None:
            found["task_id"] = TaskID.from_hex(task)
        if self.worker_mode and actor is not None:
            found["actor_id"] = ActorID.from_hex(actor)
        return found

    @property
    def worker_mode(self) -> bool:
        """Whether this process is a worker (as opposed to a driver)."""
        return state.client().mode == state.WORKER

    @property
    @Deprecated(message="Use get_job_id() instead", warning=True)
    def job_id(self) -> Any:
        """JobID of this job (deprecated: use :meth:`get_job_id`)."""
        from ray._core.ids import JobID

        return JobID(state.client().job_id)

    def get_job_id(self) -> str:
        """Id of the job that this process works for."""
        return state.client().job_id.hex()

    @property
    @Deprecated(message="Use get_node_id() instead", warning=True)
    def node_id(self) -> Any:
        """NodeID of this node (deprecated: use :meth:`get_node_id`)."""
        from ray._core.ids import NodeID

        return NodeID(state.client().node_id)

    def get_node_id(self) -> str:
        """Id of the node on which this process runs."""
        return state.client().node_id.hex()

    def get_worker_id(self) -> str:
        """Id of this process."""
        return state.client().worker_id.hex()

    def get_session_name(self) -> str:
        """Name of the cluster's session."""
        return state.client().hello.get("session_name", "")

    def get_temp_dir(self) -> str:
        """Directory of this node under which session directories lie."""
        client = state.client()
        found = client.hello.get("temp_dir") or os.path.dirname(client.hello.get("session_dir", ""))
        return found

    def _task(self) -> Optional[state.TaskInfo]:
        """The task that runs now; None in a driver."""
        state.client()
        task = state.current_task()
        return task if task is not None and task.kind != state.DRIVER else None

    @property
    @Deprecated(message="Use get_task_id() instead", warning=True)
    def task_id(self) -> Any:
        """TaskID of the running task (deprecated: use :meth:`get_task_id`)."""
        from ray._core.ids import TaskID

        task = self._task()
        return TaskID(task.task_id) if task else TaskID.nil()

    def get_task_id(self) -> Optional[str]:
        """Id of the running task, None in a driver."""
        task = self._task()
        return task.task_id.hex() if task else None

    def get_task_name(self) -> Optional[str]:
        """Name of the running task, None in a driver."""
        task = self._task()
        return task.name if task else None

    def get_task_function_name(self) -> Optional[str]:
        """Module-qualified name of the running function, None in a driver."""
        task = self._task()
        return task.function_name if task else None

    @property
    @Deprecated(message="Use get_actor_id() instead", warning=True)
    def actor_id(self) -> Any:
        """ActorID of this actor, None outside one (deprecated: use :meth:`get_actor_id`)."""
        from ray._core.ids import ActorID

        return ActorID(state.actor.actor_id) if state.actor else None

    def get_actor_id(self) -> Optional[str]:
        """Id of the actor that lives in this process, None if there is none."""
        state.client()
        return state.actor.actor_id.hex() if state.actor else None

    def get_actor_name(self) -> Optional[str]:
        """Name of the actor of this process: "" if it has none, None outside an actor."""
        state.client()
        return state.actor.name if state.actor else None

    @property
    def current_actor(self) -> Any:
        """A handle to the actor that lives in this process.

        Raises:
            RuntimeError: this process is no actor.
        """
        state.client()
        if state.actor is None:
            raise RuntimeError("This method is only available in an Actor.")
        from ray.actor import ActorHandle

        return ActorHandle._for_current_actor()

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor has been restarted at least once.

        Raises:
            AssertionError: this process is no actor.
        """
        state.client()
        assert state.actor is not None, "This method is only available in an Actor."
        return state.actor.reconstructed

    @property
    def namespace(self) -> str:
        """Namespace of this job."""
        return state.client().namespace

    @property
    def gcs_address(self) -> str:
        """Address of the cluster's head, host:port."""
        return state.client().gcs_address

    @property
    @Deprecated(message="Use get_placement_group_id() instead", warning=True)
    def current_placement_group_id(self) -> Any:
        """PlacementGroupID of the running task (deprecated: use :meth:`get_placement_group_id`)."""
        from ray._core.ids import PlacementGroupID

        found = self.get_placement_group_id()
        return PlacementGroupID.from_hex(found) if found else PlacementGroupID.nil()

    def get_placement_group_id(self) -> Optional[str]:
        """Id of the placement group in which this task or actor runs, None if in none."""
        group = self._holder_field("placement_group")
        return group.hex() if group else None

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether tasks submitted from here go into the same placement group."""
        return bool(self._holder_field("capture_children"))

    def _holder_field(self, name: str) -> Any:
        """A field of what holds the resources: the actor's creation, or the task."""
        task = self._task()
        value = getattr(task, name) if task is not None else None
        if not value and state.actor is not None and state.actor.creation is not None:
            value = getattr(state.actor.creation, name)
        return value

    def get_assigned_resources(self) -> Dict[str, float]:
        """Resources that this task or actor holds: name to amount.

        Raises:
            AssertionError: called in a driver.
        """
        assert self.worker_mode, "This method is only available when the process is a worker. Current mode: " + str(
            state.mode()
        )
        resources = self._holder_field("resources") or {}
        return {_plain_name(name): float(amount) for name, amount in resources.items() if amount and _shown(name)}

    @property
    def runtime_env(self) -> Any:
        """The environment in which this task, actor or job runs, as a RuntimeEnv."""
        from ray.runtime_env import RuntimeEnv

        return RuntimeEnv(_validate=False, **self._environment())

    def get_runtime_env_string(self) -> str:
        """The same as :attr:`runtime_env`, as JSON."""
        return json.dumps(self._environment(), sort_keys=True)

    def _environment(self) -> Dict[str, Any]:
        return dict(self._holder_field("runtime_env") or state.client().runtime_env or {})

    def get_accelerator_ids(self) -> Dict[str, List[str]]:
        """Devices assigned to this task or actor: family to list of ids."""
        found: Dict[str, List[str]] = {name: [] for name in FAMILIES}
        if self.worker_mode:
            for family, ids in (self._holder_field("devices") or {}).items():
                found[family] = list(ids)
        return found

    @Deprecated(message="Use get_accelerator_ids() instead", warning=True)
    def get_resource_ids(self) -> Dict[str, List[str]]:
        """The same as :meth:`get_accelerator_ids` (deprecated)."""
        return self.get_accelerator_ids()

    def get_node_labels(self) -> Dict[str, str]:
        """Labels of the node on which this process runs."""
        return dict(state.client().hello.get("labels") or {})

    def is_canceled(self) -> bool:
        """Whether the running task has been cancelled.

        Raises:
            RuntimeError: called in an async actor, whose tasks are cancelled by asyncio.
        """
        task = self._task()
        if task is None:
            return False
        if task.is_async:
            raise RuntimeError(
                "This method is not supported in an async actor: its methods get asyncio.CancelledError instead."
            )
        return bool(task.canceled)


def _shown(name: str) -> bool:
    """Whether a resource is one that the user asked for (no helper resource of a group)."""
    return not name.startswith("bundle_group_")


def _plain_name(name: str) -> str:
    """CPU_group_<id> and CPU_group_<i>_<id> as CPU."""
    return name.split("_group_")[0] if "_group_" in name else name


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """Facts about the process and task that call; connects with ray.init() if need be.

    Example:
        >>> ray.get_runtime_context().get_node_id()  # doctest: +SKIP
        '0c9f…'
    """
    state.client()
    return _context
