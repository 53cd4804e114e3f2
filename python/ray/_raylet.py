"""Upstream's compiled module by name: the ids, references and errors that programs import from it.

Nothing is compiled here. What upstream keeps there and programs have no business with raises AttributeError.
"""

from ray import (
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    Language,
    NodeID,
    ObjectID,
    ObjectRef,
    ObjectRefGenerator,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from ray._core.ids import BaseID
from ray.exceptions import (
    ActorDiedError,
    AsyncioActorExit,
    AuthenticationError,
    GetTimeoutError,
    ObjectRefStreamEndOfStreamError,
    ObjectStoreFullError,
    OutOfDiskError,
    PendingCallsLimitExceeded,
    RayActorError,
    RayError,
    RaySystemError,
    RayTaskError,
    RpcError,
    TaskCancelledError,
)

# The number of returns that stands for "streaming", as the wire of upstream has it.
STREAMING_GENERATOR_RETURN = -2
OPTIMIZED = True
DynamicObjectRefGenerator = ObjectRefGenerator
StreamingObjectRefGenerator = ObjectRefGenerator

__all__ = [
    "OPTIMIZED",
    "STREAMING_GENERATOR_RETURN",
    "ActorClassID",
    "ActorDiedError",
    "ActorID",
    "AsyncioActorExit",
    "AuthenticationError",
    "BaseID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "GetTimeoutError",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OutOfDiskError",
    "PendingCallsLimitExceeded",
    "PlacementGroupID",
    "RayActorError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "RpcError",
    "StreamingObjectRefGenerator",
    "TaskCancelledError",
    "TaskID",
    "UniqueID",
    "WorkerID",
]
