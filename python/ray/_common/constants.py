"""Names of resources that the scheduler gives to nodes."""

from ray._private.ray_constants import HEAD_NODE_RESOURCE_NAME, NODE_ID_PREFIX

#: Set to 0, a blocking ``ray.get`` in an async actor goes without its warning.
RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR = "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC"

__all__ = ["HEAD_NODE_RESOURCE_NAME", "NODE_ID_PREFIX", "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR"]
