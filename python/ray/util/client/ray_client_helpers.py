"""Clusters that tests connect to from outside."""

from contextlib import contextmanager
from typing import Any, Iterator


@contextmanager
def connect_to_client_or_not(connect_to_client: bool) -> Iterator[None]:
    """A block that runs over ``ray://`` or not.

    A process has one connection, and the API is the same over both kinds: a
    block in a process that is connected keeps the connection that there is.
    """
    yield


@contextmanager
def ray_start_client_server(metadata: Any = None, ray_connect_handler: Any = None, **kwargs: Any) -> Iterator[Any]:
    """A cluster of one node to which this process connects with ``ray://``; gives the package.

    Args:
        metadata, ray_connect_handler: of a proxy process, which there is not here.
        kwargs: ``ray_init_kwargs``, of the node: what ``Cluster.add_node`` takes.
    """
    import ray
    from ray._common.network_utils import find_free_port
    from ray.cluster_utils import Cluster

    port = find_free_port()
    given = dict(kwargs.get("ray_init_kwargs") or {})
    namespace = given.pop("namespace", None)
    cluster = Cluster(initialize_head=True, head_node_args={**given, "ray_client_server_port": port})
    try:
        ray.init(f"ray://127.0.0.1:{port}", namespace=namespace)
        yield ray
    finally:
        ray.shutdown()
        cluster.shutdown()
