"""Exceptions that the API raises, under the names that programs catch."""

from traceback import format_exception

from ray.exceptions.actors import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorHandleNotFoundError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    AsyncioActorExit,
    PendingCallsLimitExceeded,
    RayActorError,
)
from ray.exceptions.base import (
    RayError,
)
from ray.exceptions.objects import (
    GetTimeoutError,
    ObjectFetchTimedOutError,
    ObjectFreedError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectStoreFullError,
    OufOfBandObjectRefSerializationException,
    OutOfDiskError,
    OwnerDiedError,
    PlasmaObjectNotAvailable,
    ReferenceCountingAssertionError,
    _rebuild_lost,  # noqa: F401
)
from ray.exceptions.system import (
    AuthenticationError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayCgraphCapacityExceeded,
    RayChannelError,
    RayChannelTimeoutError,
    RayDirectTransportError,
    RaySystemError,
    RpcError,
    RuntimeEnvSetupError,
    StreamingGeneratorReplayInconsistentError,
    UserCodeException,
)
from ray.exceptions.tasks import (
    CrossLanguageError,
    ObjectRefStreamEndOfStreamError,
    RayTaskError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    UnserializableException,
    WorkerCrashedError,
    _rebuild_dual,  # noqa: F401
)

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OufOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RAY_EXCEPTION_TYPES",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
    "format_cause",
]


def format_cause(error: BaseException) -> str:
    """Traceback text of an exception, without color."""
    return "".join(format_exception(type(error), error, error.__traceback__))


RAY_EXCEPTION_TYPES = [
    PlasmaObjectNotAvailable,
    RayError,
    RayTaskError,
    WorkerCrashedError,
    RayActorError,
    ObjectStoreFullError,
    ObjectLostError,
    ObjectFetchTimedOutError,
    ReferenceCountingAssertionError,
    ObjectReconstructionFailedError,
    OwnerDiedError,
    GetTimeoutError,
    AsyncioActorExit,
    RuntimeEnvSetupError,
    TaskPlacementGroupRemoved,
    ActorPlacementGroupRemoved,
    LocalRayletDiedError,
    TaskUnschedulableError,
    ActorDiedError,
    ActorUnschedulableError,
    ActorUnavailableError,
    RayChannelError,
    RayChannelTimeoutError,
    OufOfBandObjectRefSerializationException,
    ActorAlreadyExistsError,
    ActorHandleNotFoundError,
]

# They are of this module for those who print or pickle them: pickles name it in other patch versions too.
for _public in list(globals().values()):
    if getattr(_public, "__module__", "").startswith(__name__ + "."):
        _public.__module__ = __name__
