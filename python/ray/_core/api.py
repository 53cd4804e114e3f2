"""``ray.get``, ``ray.put``, ``ray.wait`` and the other verbs of the core API."""

import json
import os
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple, TypeVar, Union, cast, overload

from ray._core import inspection, state
from ray._core.generators import ObjectRefGenerator
from ray._core.refs import ObjectRef

_warned_async_get = False
T = TypeVar("T")
G = TypeVar("G", bound=ObjectRefGenerator[Any])


@overload
def get(object_refs: ObjectRef[T], *, timeout: Optional[float] = None, _use_object_store: bool = False) -> T: ...


@overload
def get(
    object_refs: Sequence[ObjectRef[T]], *, timeout: Optional[float] = None, _use_object_store: bool = False
) -> List[T]: ...


@overload
def get(
    object_refs: Sequence[ObjectRef[Any]], *, timeout: Optional[float] = None, _use_object_store: bool = False
) -> List[Any]: ...


@overload
def get(object_refs: G, *, timeout: Optional[float] = None, _use_object_store: bool = False) -> G: ...


def get(
    object_refs: Any,
    *,
    timeout: Optional[float] = None,
    _use_object_store: bool = False,
) -> Any:
    """The value of a reference, or the values of a list of references.

    Args:
        object_refs: a reference or a list of them.
        timeout: seconds to wait at most; 0 only looks.

    Raises:
        GetTimeoutError: a value is not there in time.
        Exception: what the task that should have made a value raised.
    """
    client = state._client
    if client is None or client.dead is not None:
        client = state.client()
    if type(object_refs) is ObjectRef:
        if timeout is None:
            return client.get_one(object_refs)
        return client.get([object_refs], timeout)[0]
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    if not isinstance(object_refs, list):
        raise ValueError(
            f"Invalid type of object refs, {type(object_refs)}, is given. 'object_refs' must "
            f"either be an ObjectRef or a "
            "list of ObjectRefs. "
        )
    for item in object_refs:
        if type(item) is not ObjectRef:
            raise TypeError(f"Attempting to call `get` on the value {item!r}, which is not an ray.ObjectRef.")
    if not object_refs:
        return []
    return client.get(object_refs, timeout)


def put(value: T, *, _owner: Any = None, _tensor_transport: Any = None) -> ObjectRef[T]:
    """Stores a value in the object store; returns a reference to it.

    Raises:
        TypeError: value is a reference, or cannot be pickled.
        ObjectStoreFullError: there is no room, and none can be made.
    """
    client = state._client
    if client is None or client.dead is not None:
        client = state.client()
    if _owner is not None:
        raise ValueError(
            "The `_owner` argument of ray.put is no longer supported: the node that runs ray.put owns the object."
        )
    if _tensor_transport not in (None, "object_store", "OBJECT_STORE"):
        raise ValueError("not supported yet: _tensor_transport other than 'object_store'")
    if type(value) is ObjectRef:
        raise TypeError(
            "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, you can wrap the "
            "ray.ObjectRef in a list and call 'put' on it."
        )
    try:
        return client.put(value)
    except TypeError as error:
        raise inspection.explained(f"Could not serialize the put value {value!r}", value, error) from error


@overload
def wait(
    ray_waitables: List[ObjectRef[T]],
    *,
    num_returns: int = 1,
    timeout: Optional[float] = None,
    fetch_local: bool = True,
) -> Tuple[List[ObjectRef[T]], List[ObjectRef[T]]]: ...


@overload
def wait(
    ray_waitables: List[ObjectRefGenerator[T]],
    *,
    num_returns: int = 1,
    timeout: Optional[float] = None,
    fetch_local: bool = True,
) -> Tuple[List[ObjectRefGenerator[T]], List[ObjectRefGenerator[T]]]: ...


@overload
def wait(
    ray_waitables: Sequence[Any],
    *,
    num_returns: int = 1,
    timeout: Optional[float] = None,
    fetch_local: bool = True,
) -> Tuple[List[Any], List[Any]]: ...


def wait(
    ray_waitables: Any,
    *,
    num_returns: int = 1,
    timeout: Optional[float] = None,
    fetch_local: bool = True,
) -> Tuple[List[Any], List[Any]]:
    """Waits until num_returns of the references are ready; gives those, and the others.

    Args:
        ray_waitables: references, or generators (ready when their next item is). No duplicates.
        num_returns: how many to wait for; no more are given as ready.
        timeout: seconds to wait at most; 0 only looks.
        fetch_local: ready means here, not anywhere in the cluster.
    """
    if isinstance(ray_waitables, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got a single "
            f"{type(ray_waitables).__name__}"
        )
    if not isinstance(ray_waitables, list):
        raise TypeError(f"wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got {type(ray_waitables)}")
    if timeout is not None and timeout < 0:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    generators = False
    for item in ray_waitables:
        if type(item) is not ObjectRef:
            if not isinstance(item, ObjectRefGenerator):
                raise TypeError(
                    "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got list containing "
                    f"{type(item)}"
                )
            generators = True
    client = state._client
    if client is None or client.dead is not None:
        client = state.client()
    if not ray_waitables:
        return [], []
    if len(set(ray_waitables)) != len(ray_waitables):
        raise ValueError("Wait requires a list of unique ray_waitables.")
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}.")
    if num_returns > len(ray_waitables):
        raise ValueError(
            f"num_returns cannot be greater than the number of ray_waitables provided to ray.wait: {num_returns} > "
            f"{len(ray_waitables)}."
        )
    if generators:
        return _wait_mixed(client, ray_waitables, num_returns, timeout, fetch_local)
    refs = cast(List[ObjectRef], ray_waitables)
    return client.wait(refs, num_returns, timeout, fetch_local)  # type: ignore[return-value]


def _wait_mixed(
    client: Any, items: List[Any], num_returns: int, timeout: Optional[float], fetch_local: bool
) -> Tuple[List[Any], List[Any]]:
    """As wait, where some items are generators."""
    import time

    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        ready: Set[int] = set()
        refs = [item for item in items if type(item) is ObjectRef]
        if refs:
            found, _ = client.wait(refs, len(refs), 0, fetch_local)
            ready.update(id(item) for item in found)
        else:
            client.poll()
        ready.update(id(item) for item in items if type(item) is not ObjectRef and item._ready())
        left = None if deadline is None else deadline - time.monotonic()
        if len(ready) >= num_returns or (left is not None and left <= 0):
            break
        client.wait_until(
            lambda seen=client._arrivals: client._arrivals != seen,
            lambda: tuple(item._task_id if type(item) is not ObjectRef else item._bin for item in items),
            time.monotonic() + min(0.05, left if left is not None else 0.05),
            blocking=True,
        )
    first: List[Any] = []
    rest: List[Any] = []
    for item in items:
        (first if id(item) in ready and len(first) < num_returns else rest).append(item)
    return first, rest


def kill(actor: Any, *, no_restart: bool = True) -> None:
    """Ends an actor's process at once, without running exit handlers.

    Args:
        actor: its handle.
        no_restart: False lets it restart if its max_restarts allow that.
    """
    from ray.actor import ActorHandle

    client = state.client()
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"ray.kill() only supported for actors. For tasks, try ray.cancel(). Got: {type(actor)}.")
    client.call("actor.kill", {"actor_id": actor._id.hex(), "no_restart": bool(no_restart)})


def cancel(ray_waitable: Union[ObjectRef, ObjectRefGenerator], *, force: bool = False, recursive: bool = True) -> None:
    """Cancels the task that makes the object; harmless if it has ended.

    Args:
        ray_waitable: a reference to one of its results, or its generator.
        force: kills the worker that runs it; not for calls of actors.
        recursive: cancels the tasks that it submitted, too.
    """
    client = state.client()
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable._generator_ref
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            f"ray.cancel() only supported for object refs. For actors, try ray.kill(). Got: {type(ray_waitable)}."
        )
    if force and ray_waitable._bin[8:20] != b"\xff" * 12:
        raise ValueError("force=True is not supported for actor tasks: use ray.kill() to end the actor.")
    client.call(
        "task.cancel",
        {
            "object_id": ray_waitable.hex(),
            "owner": ray_waitable._owner.hex(),
            "force": bool(force),
            "recursive": bool(recursive),
        },
    )


def nodes() -> List[Dict[str, Any]]:
    """The nodes of the cluster, each as a dict."""
    rows, _ = state.connected().call("nodes.list")
    return [_node(row) for row in rows or []]


def _node(row: Dict[str, Any]) -> Dict[str, Any]:
    alive = row.get("state") in ("ALIVE", "DRAINING")
    port = _port(row.get("address"))
    sockets = os.path.join(row.get("session_dir") or "", "sockets")
    return {
        "NodeID": row.get("node_id"),
        "Alive": alive,
        "NodeManagerAddress": row.get("ip") or "",
        "NodeManagerHostname": row.get("hostname") or "",
        "NodeManagerPort": port,
        "ObjectManagerPort": port,
        "ObjectStoreSocketName": os.path.join(sockets, "plasma_store"),
        "RayletSocketName": os.path.join(sockets, "raylet"),
        "MetricsExportPort": _port(row.get("metrics_address")),
        "NodeName": row.get("name") or row.get("ip") or "",
        "RuntimeEnvAgentPort": port,
        "DeathReason": 0 if alive else _DEATH_KINDS.get(row.get("death_kind") or "", 2),
        "DeathReasonMessage": row.get("death_reason") or "",
        "alive": alive,
        "Resources": dict(row.get("total") or {}) if alive else {},
        "Labels": dict(row.get("labels") or {}),
    }


# The numbers that upstream's interface has for them.
_DEATH_KINDS = {
    "EXPECTED_TERMINATION": 1,
    "UNEXPECTED_TERMINATION": 2,
    "AUTOSCALER_DRAIN_PREEMPTED": 3,
    "AUTOSCALER_DRAIN_IDLE": 4,
}


def _port(address: Optional[str]) -> int:
    text = (address or "").rpartition(":")[2]
    return int(text) if text.isdigit() else 0


def cluster_resources() -> Dict[str, float]:
    """What all living nodes have: resource name to amount."""
    reply, _ = state.connected().call("cluster.resources")
    return {name: float(amount) for name, amount in (reply.get("total") or {}).items() if amount}


def available_resources() -> Dict[str, float]:
    """What is free now: resource name to amount."""
    reply, _ = state.connected().call("cluster.resources")
    return {name: float(amount) for name, amount in (reply.get("available") or {}).items() if amount > 0}


def timeline(filename: Optional[str] = None) -> Optional[List[Dict[str, Any]]]:
    """The tasks of the cluster as Chrome trace events; written to filename if that is given."""
    reply, _ = state.connected().call(
        "state.list", {"resource": "tasks", "filters": [], "limit": 10000, "detail": True}
    )
    events = []
    for row in reply.get("rows") or []:
        start, end = row.get("start_time_ms"), row.get("end_time_ms")
        if not start:
            continue
        events.append(
            {
                "cat": f"task::{row.get('name')}",
                "name": row.get("name"),
                "pid": row.get("node_id") or "",
                "tid": f"worker:{row.get('worker_id') or ''}",
                "ts": start * 1000,
                "dur": max(0, (end or start) - start) * 1000,
                "ph": "X",
                "cname": "generic_work",
                "args": {"task_id": row.get("task_id"), "job_id": row.get("job_id"), "state": row.get("state")},
            }
        )
    if filename is None:
        return events
    with open(filename, "w") as file:
        json.dump(events, file)
    return None


def get_gpu_ids() -> List[Any]:
    """The devices assigned to this task or actor; in a driver, those of CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES."""
    client = state.client()
    if client.mode == state.WORKER:
        task = state.current_task()
        ids = task.devices.get("GPU", []) if task is not None else []
        if not ids and state.actor is not None and state.actor.creation is not None:
            ids = state.actor.creation.devices.get("GPU", [])
        return [int(item) if str(item).isdigit() else item for item in ids]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("HIP_VISIBLE_DEVICES", ""))
    return [int(item) if item.isdigit() else item for item in visible.split(",") if item]
