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
KV_NAMESPACE_DASHBOARD = b"dashboard"
KV_NAMESPACE_PACKAGE = None
KV_NAMESPACE_PDB = b"ray_pdb"
# Kinds of messages that a driver is shown.
WORKER_CRASH_PUSH_ERROR = "worker_crash"
PICKLING_LARGE_OBJECT_PUSH_ERROR = "pickling_large_object"
PUT_RECONSTRUCTION_PUSH_ERROR = "put_reconstruction"
RESOURCE_DEADLOCK_ERROR = "resource_deadlock"
REMOVED_NODE_ERROR = "node_removed"
MONITOR_DIED_ERROR = "monitor_died"
DASHBOARD_AGENT_DIED_ERROR = "dashboard_agent_died"
EXCESS_QUEUEING_WARNING = "excess_queueing"
DETACHED_ACTOR_ANONYMOUS_NAMESPACE_ERROR = "detached_actor_anonymous_namespace"
# Lines that a worker's log has between the lines of the user's code.
LOG_PREFIX_ACTOR_NAME = ":actor_name:"
LOG_PREFIX_TASK_NAME = ":task_name:"
LOG_PREFIX_JOB_ID = ":job_id:"
TESTING_NEVER_DEDUP_TOKEN = "__ray_testing_never_deduplicate__"
RAY_OVERRIDE_DASHBOARD_URL = "RAY_OVERRIDE_DASHBOARD_URL"
RESOURCES_ENVIRONMENT_VARIABLE = "RAY_OVERRIDE_RESOURCES"
LABELS_ENVIRONMENT_VARIABLE = "RAY_OVERRIDE_LABELS"
LOGGING_REDIRECT_STDERR_ENVIRONMENT_VARIABLE = "RAY_LOG_TO_STDERR"
DEFAULT_DASHBOARD_AGENT_LISTEN_PORT = 52365
DEFAULT_TASK_MAX_RETRIES = 3
DEFAULT_RUNTIME_ENV_TIMEOUT_SECONDS = 600
FUNCTION_SIZE_WARN_THRESHOLD = 10**7
FUNCTION_SIZE_ERROR_THRESHOLD = 10**8
NEURON_CORES = "neuron_cores"
GPU = "GPU"
HPU = "HPU"
NPU = "NPU"
TPU = "TPU"
# What the names of directories with spilled objects begin with; an underscore and the node's id follow.
DEFAULT_OBJECT_PREFIX = "ray_spilled_objects"
DEFAULT_RESOURCES = {"CPU", "GPU", "memory", "object_store_memory"}


def env_integer(key: str, default: int) -> int:
    """A whole number from the environment."""
    return int(os.environ.get(key, default))


def env_float(key: str, default: float) -> float:
    """A number from the environment."""
    return float(os.environ.get(key, default))


def env_bool(key: str, default: bool) -> bool:
    """A yes or no from the environment: ``1`` and ``true`` are yes."""
    return os.environ[key].lower() in ("1", "true") if key in os.environ else default
