"""Numbers and names that tests of others read."""

import os

RAY_ADDRESS_ENVIRONMENT_VARIABLE = "RAY_ADDRESS"
RAY_NAMESPACE_ENVIRONMENT_VARIABLE = "RAY_NAMESPACE"
RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE = "RAY_RUNTIME_ENV"
RAY_JOB_CONFIG_JSON_ENV_VAR = "RAY_JOB_CONFIG_JSON_ENV_VAR"
RAY_OVERRIDE_JOB_RUNTIME_ENV = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
DEFAULT_PORT = 6379
DEFAULT_DASHBOARD_IP = "127.0.0.1"
DEFAULT_DASHBOARD_PORT = 8265
ID_SIZE = 28
HEX_ID_LENGTH = 56
RESOURCE_CONSTRAINT_PREFIX = "accelerator_type:"
HEAD_NODE_RESOURCE_NAME = "node:__internal_head__"
NODE_ID_PREFIX = "node:"
PLACEMENT_GROUP_BUNDLE_RESOURCE_NAME = "bundle"
DEFAULT_OBJECT_STORE_MEMORY_PROPORTION = 0.3
OBJECT_STORE_MINIMUM_MEMORY_BYTES = 75 * 1024 * 1024
DEFAULT_MAX_CONCURRENCY_ASYNC = 1000
WORKER_DIED_PUSH_ERROR = "worker_died"
TASK_PUSH_ERROR = "task"
INFEASIBLE_TASK_ERROR = "infeasible_task"
WORKER_POOL_LARGE_ERROR = "worker_pool_large"
ERROR_KEY_PREFIX = b"Error:"
KV_NAMESPACE_FUNCTION_TABLE = b"fun"


def env_integer(key: str, default: int) -> int:
    """A whole number from the environment."""
    return int(os.environ.get(key, default))


def env_float(key: str, default: float) -> float:
    """A number from the environment."""
    return float(os.environ.get(key, default))


def env_bool(key: str, default: bool) -> bool:
    """A yes or no from the environment: ``1`` and ``true`` are yes."""
    return os.environ[key].lower() in ("1", "true") if key in os.environ else default
