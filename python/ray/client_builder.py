"""``ray.client("host:port").connect()``: the older way to connect from outside."""

import os
import warnings
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ray.job_config import JobConfig

RAY_ADDRESS_ENVIRONMENT_VARIABLE = "RAY_ADDRESS"
RAY_NAMESPACE_ENVIRONMENT_VARIABLE = "RAY_NAMESPACE"
RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE = "RAY_RUNTIME_ENV"


@dataclass
class ClientContext:
    """Facts about a connection; ``with`` it, the connection ends at the end."""

    dashboard_url: Optional[str]
    python_version: str
    ray_version: str
    ray_commit: str
    _num_clients: int = 1
    _context_to_restore: Any = None

    def __enter__(self) -> "ClientContext":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Ends the connection."""
        import ray

        ray.shutdown()


class ClientBuilder:
    """Collects settings, then connects.

    Args:
        address: host:port of the cluster; None starts or finds a local one.
    """

    def __init__(self, address: Optional[str]) -> None:
        self.address = address
        self._job_config = JobConfig()
        self._init_args: Dict[str, Any] = {}

    def env(self, env: Dict[str, Any]) -> "ClientBuilder":
        """Sets the environment of the job."""
        self._job_config.set_runtime_env(env)
        return self

    def namespace(self, namespace: str) -> "ClientBuilder":
        """Sets the namespace of the job."""
        self._job_config.set_ray_namespace(namespace)
        return self

    def _arguments(self) -> Dict[str, Any]:
        namespace = self._job_config.ray_namespace or os.environ.get(RAY_NAMESPACE_ENVIRONMENT_VARIABLE)
        env: Any = self._job_config.runtime_env
        if not env and os.environ.get(RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE):
            import json

            env = json.loads(os.environ[RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE])
        return {"namespace": namespace, "runtime_env": env or None, **self._init_args}

    def _target(self) -> Optional[str]:
        return f"ray://{self.address}" if self.address else None

    def connect(self) -> ClientContext:
        """Connects.

        Raises:
            ConnectionError: nobody answers there.
            RuntimeError: this process is connected already.
        """
        import ray

        if ray.is_initialized():
            raise RuntimeError(
                "The client has already connected to the cluster with allow_multiple=False, or ray.init() has been "
                "called. Call ray.shutdown() first."
            )
        context = ray.init(self._target(), **self._arguments())
        return ClientContext(
            dashboard_url=getattr(context, "dashboard_url", None),
            python_version=getattr(context, "python_version", ""),
            ray_version=getattr(context, "ray_version", ""),
            ray_commit=getattr(context, "ray_commit", ""),
        )


class _LocalClientBuilder(ClientBuilder):
    """For the addresses None and "local"."""

    def _target(self) -> Optional[str]:
        return self.address


def client(address: Optional[str] = None, _deprecation_warn_enabled: bool = True) -> ClientBuilder:
    """A builder for a connection (``ray.init("ray://host:port")`` is the usual way).

    Args:
        address: ``host:port`` or ``ray://host:port``; "local" starts a cluster;
            None takes RAY_ADDRESS, or starts or finds a local one.
    """
    if _deprecation_warn_enabled:
        warnings.warn("ray.client() is deprecated: use ray.init('ray://host:port').", DeprecationWarning, stacklevel=2)
    if address is None:
        address = os.environ.get(RAY_ADDRESS_ENVIRONMENT_VARIABLE)
    if address is None or address == "local":
        return _LocalClientBuilder(address)
    if "://" in address:
        scheme, _, address = address.partition("://")
        if scheme != "ray":
            raise RuntimeError(f"Module: {scheme} does not exist. It was taken from the address {scheme}://{address}.")
    return ClientBuilder(address)
