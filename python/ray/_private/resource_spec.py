"""Names of resources that nodes have by themselves."""

from ray._private.ray_constants import HEAD_NODE_RESOURCE_NAME

#: What a node's resource of its own begins with; the address follows.
NODE_ID_PREFIX = "node:"

__all__ = ["HEAD_NODE_RESOURCE_NAME", "NODE_ID_PREFIX"]
