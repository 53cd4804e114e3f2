"""Helpers around tasks and actors."""

import importlib
from typing import Any, Dict, List, Optional, Union

from ray.util import accelerators
from ray.util.actor_pool import ActorPool
from ray.util.check_serialize import inspect_serializability
from ray.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
from ray.util.helpers import as_completed, map_unordered
from ray.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.serialization import deregister_serializer, register_serializer

__all__ = [
    "accelerators",
    "ActorPool",
    "as_completed",
    "connect",
    "deregister_serializer",
    "disable_log_once_globally",
    "disconnect",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
]

# Imported when they are asked for: most programs need none of them.
_LAZY = (
    "annotations",
    "check_serialize",
    "client",
    "collective",
    "debug",
    "helpers",
    "iter",
    "joblib",
    "metrics",
    "multiprocessing",
    "pdb",
    "queue",
    "rpdb",
    "scheduling_strategies",
    "serialization",
    "state",
    "tpu",
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"ray.util.{name}")
    raise AttributeError(f"module 'ray.util' has no attribute {name!r}")


def list_named_actors(all_namespaces: bool = False) -> List[Union[str, Dict[str, str]]]:
    """Names of the actors that are alive.

    Args:
        all_namespaces: all namespaces instead of this job's.

    Returns:
        A list of names, or with ``all_namespaces`` of ``{"name", "namespace"}``.
    """
    from ray._core import state

    client = state.client()
    rows, _ = client.call("actor.list", {"namespace": client.namespace, "all_namespaces": bool(all_namespaces)})
    if all_namespaces:
        return [{"name": row["name"], "namespace": row["namespace"]} for row in rows or []]
    return [row["name"] for row in rows or []]


def get_node_ip_address(address: Optional[str] = None) -> str:
    """The address by which other machines reach this one.

    Args:
        address: host:port of something on the network that is to be reached;
            the routing table decides, nothing is sent to it.
    """
    import socket

    from ray._core import state

    if address is None and state.is_connected():
        return state.connected().node_ip
    host, _, port = (address or "8.8.8.8:53").rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))
            return probe.getsockname()[0]
    except OSError:
        return "127.0.0.1"


def get_node_instance_id() -> str:
    """Name that the provider gave this machine, "" if there is none."""
    import os

    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")


def connect(
    conn_str: str,
    secure: bool = False,
    metadata: Optional[list] = None,
    connection_retries: int = 3,
    job_config: Any = None,
    namespace: Optional[str] = None,
    *,
    ignore_version: bool = False,
    ray_init_kwargs: Optional[Dict[str, Any]] = None,
    **_: Any,
) -> Dict[str, Any]:
    """Connects to a cluster from outside; ``ray.init("ray://host:port")`` is the usual way.

    Args:
        conn_str: host:port.
        namespace: namespace of the job.
        ray_init_kwargs: further arguments of ``ray.init``.

    Returns:
        Facts about the connection.

    Raises:
        RuntimeError: this process is connected already.
    """
    import ray

    if ray.is_initialized():
        raise RuntimeError("ray.util.connect() may not be called twice: this process is connected already.")
    context = ray.init(f"ray://{conn_str}", namespace=namespace, job_config=job_config, **(ray_init_kwargs or {}))
    return {
        "num_clients": 1,
        "python_version": getattr(context, "python_version", None),
        "ray_version": getattr(context, "ray_version", None),
        "ray_commit": getattr(context, "ray_commit", None),
        "protocol_version": "1",
    }


def disconnect() -> None:
    """Ends what :func:`connect` began; nothing happens if there is no connection."""
    import ray

    ray.shutdown()
