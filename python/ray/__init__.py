"""Distributed Python: tasks, actors and objects on a cluster of machines.

>>> import ray
>>> ray.init()  # doctest: +SKIP
>>> @ray.remote
... def square(x):
...     return x * x
>>> ray.get([square.remote(i) for i in range(4)])  # doctest: +SKIP
[0, 1, 4, 9]
"""

from typing import TYPE_CHECKING, Any  # isort:skip_file

from ray._version import __commit__, __version__
from ray._core.ids import (
    ActorClassID,
    ActorID,
    ClusterID,  # noqa: F401
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from ray._core.api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_gpu_ids,
    kill,
    nodes,
    put,
    timeline,
    wait,
)
from ray._core.bootstrap import init, shutdown
from ray._core.generators import DynamicObjectRefGenerator, ObjectRefGenerator
from ray._core.refs import ObjectRef
from ray._core.state import is_connected as is_initialized
from ray.actor import get_actor
from ray._core.decorator import remote
from ray.runtime_context import get_runtime_context
from ray import actor, exceptions, runtime_context  # noqa: F401  isort:skip

if TYPE_CHECKING:
    from ray._core.decorator import method
else:
    from ray.actor import method

ObjectID = ObjectRef

SCRIPT_MODE = 0
WORKER_MODE = 1
LOCAL_MODE = 2
SPILL_WORKER_MODE = 3
RESTORE_WORKER_MODE = 4

_LAZY_MODULES = {
    "_private",
    "autoscaler",
    "cloudpickle",
    "cluster_utils",
    "dag",
    "data",
    "experimental",
    "client_builder",
    "internal",
    "job_config",
    "job_submission",
    "runtime_env",
    "serve",
    "train",
    "tune",
    "types",
    "util",
    "widgets",
    "workflow",
}
_LAZY_NAMES = {
    "LoggingConfig": ("ray._private.ray_logging.logging_config", "LoggingConfig"),
    "ClientBuilder": ("ray.client_builder", "ClientBuilder"),
    "client": ("ray.client_builder", "client"),
    "Language": ("ray._core.language", "Language"),
    "java_function": ("ray._core.language", "java_function"),
    "java_actor_class": ("ray._core.language", "java_actor_class"),
    "cpp_function": ("ray._core.language", "cpp_function"),
    "_config": ("ray._core.language", "_config"),
}

__all__ = [
    "__version__",
    "_config",
    "get_runtime_context",
    "autoscaler",
    "available_resources",
    "cancel",
    "client",
    "ClientBuilder",
    "cluster_resources",
    "get",
    "get_actor",
    "get_gpu_ids",
    "init",
    "is_initialized",
    "java_actor_class",
    "java_function",
    "cpp_function",
    "kill",
    "Language",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "LoggingConfig",
    "actor",
    "data",
    "client_builder",
    "internal",
    "util",
    "widgets",
    "workflow",
    "ActorClassID",
    "ActorID",
    "NodeID",
    "JobID",
    "WorkerID",
    "FunctionID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "DynamicObjectRefGenerator",
    "TaskID",
    "UniqueID",
    "PlacementGroupID",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY_MODULES:
        return importlib.import_module(f"ray.{name}")
    if name in _LAZY_NAMES:
        module, attribute = _LAZY_NAMES[name]
        found = getattr(importlib.import_module(module), attribute)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'ray' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(set(globals()) | _LAZY_MODULES | set(_LAZY_NAMES))


__ray_commit__ = __commit__
