"""The one connected client of this process and the task that runs now.

Public modules start here::

    from ray._core import state

    client = state.client()              # connects if need be (auto-init), or raises
    client = state.connected()           # raises if ray.init() has not been called
    state.is_connected()
    task = state.current_task()          # the running TaskInfo, never None while connected

``Client`` (see :mod:`ray._core.client`) offers ``call(method, params, tail)``,
``next_placement_group_id()`` and the attributes ``job_id node_id worker_id
node_ip namespace hello mode runtime_env``.
"""

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Dict, List, Optional

if TYPE_CHECKING:
    from ray._core.client import Client

DRIVER = "driver"
WORKER = "worker"

_client: "Optional[Client]" = None
_lock = threading.RLock()

# Called with no argument right before a client is disconnected, and after one
# has connected: caches of public modules are dropped or filled there.
on_disconnect: List[Any] = []
on_connect: List[Any] = []


class TaskInfo:
    """What is known about the task that a thread runs.

    Attributes:
        task_id: 24 bytes.
        parent_id: 24 bytes, the task that submitted it.
        actor_id: 16 bytes, or None outside an actor.
        name: name shown to users (``f``, ``A.method``).
        function_name: module-qualified name.
        kind: ``"driver"``, ``"task"``, ``"actor_create"`` or ``"actor_call"``.
        attempt: number of earlier tries.
        resources: resource name to amount held.
        devices: family to ids of the devices assigned.
        placement_group: 18 bytes of the group that it runs in, or None.
        capture_children: whether children without a strategy run in that group.
        runtime_env: dict of the environment it runs in.
        is_async: whether it is a coroutine of an async actor.
        canceled: set by a non-forced cancel of an actor call.
        template: the JSON object of the task's template.
    """

    __slots__ = (
        "task_id",
        "parent_id",
        "actor_id",
        "name",
        "function_name",
        "kind",
        "attempt",
        "resources",
        "devices",
        "placement_group",
        "capture_children",
        "runtime_env",
        "is_async",
        "canceled",
        "template",
        "seq",
        "epoch",
    )

    def __init__(self, task_id: bytes, kind: str = DRIVER, name: str = "", function_name: str = "") -> None:
        self.task_id = task_id
        self.parent_id = b"\xff" * 24
        self.actor_id: Optional[bytes] = None
        self.name = name
        self.function_name = function_name
        self.kind = kind
        self.attempt = 0
        self.resources: Dict[str, float] = {}
        self.devices: Dict[str, List[str]] = {}
        self.placement_group: Optional[bytes] = None
        self.capture_children = False
        self.runtime_env: Dict[str, Any] = {}
        self.is_async = False
        self.canceled = False
        self.template: Dict[str, Any] = {}
        self.seq = 0
        self.epoch = 0


class ActorState:
    """The actor that lives in this worker process, if any.

    Attributes:
        actor_id: 16 bytes.
        instance: the user's object, None while the constructor runs.
        class_name, name, namespace: as in its options ("" for no name).
        handle: the JSON object from which handles to it are made.
        creation: TaskInfo of its creation (resources, devices, group).
        reconstructed: whether this is not its first incarnation.
        is_async: whether it runs on an event loop.
        owner: 28 bytes, node that owns the creation object.
    """

    __slots__ = (
        "actor_id",
        "instance",
        "class_name",
        "name",
        "namespace",
        "handle",
        "creation",
        "reconstructed",
        "is_async",
        "owner",
    )

    def __init__(self, actor_id: bytes) -> None:
        self.actor_id = actor_id
        self.instance: Any = None
        self.class_name = ""
        self.name = ""
        self.namespace = ""
        self.handle: Dict[str, Any] = {}
        self.creation: Optional[TaskInfo] = None
        self.reconstructed = False
        self.is_async = False
        self.owner = b""


#: The actor of this process, None in drivers and in workers without one.
actor: Optional[ActorState] = None

_task: "ContextVar[Optional[TaskInfo]]" = ContextVar("ray_current_task", default=None)
# What threads without a task of their own (the user's helper threads) see.
_process_task: Optional[TaskInfo] = None


def is_connected() -> bool:
    """Whether this process is connected to a cluster."""
    return _client is not None and not _client.dead


def client() -> "Client":
    """The connected client; connects with ``ray.init()`` if there is none."""
    found = _client
    if found is not None and not found.dead:
        return found
    return _auto_init()


def connected() -> "Client":
    """The connected client; raises where ``ray.init()`` has not been called."""
    found = _client
    if found is None:
        from ray.exceptions import RaySystemError

        raise RaySystemError("Ray has not been started yet. You can start Ray with 'ray.init()'.")
    if found.dead:
        found.check_alive()
    return found


def _auto_init() -> "Client":
    found = _client
    if found is not None:
        found.check_alive()  # says why it is dead
        return found
    if os.environ.get("RAY_ENABLE_AUTO_CONNECT", "") == "0":
        return connected()
    import ray

    with _lock:
        if _client is None:
            ray.init()
    return connected()


def current_task() -> Optional[TaskInfo]:
    """The task that the calling thread or coroutine runs.

    A driver has a TaskInfo of kind ``"driver"``; None when not connected.
    """
    return _task.get() or _process_task


def mode() -> Optional[str]:
    """``"driver"``, ``"worker"`` or None when not connected."""
    return _client.mode if _client is not None else None


def set_client(new: "Optional[Client]") -> None:
    """Makes new the client of this process (None: there is none)."""
    global _client
    _client = new


def set_process_task(info: Optional[TaskInfo]) -> None:
    """Sets what threads without a task of their own see as the current task."""
    global _process_task
    _process_task = info


def set_actor(new: Optional[ActorState]) -> None:
    """Sets the actor of this process."""
    global actor
    actor = new
