"""Exceptions that the API raises, under the names that programs catch."""

import os
import sys
from traceback import format_exception
from typing import Any, Dict, Optional, Type


class RayError(Exception):
    """Base class of every error of this package."""


class CrossLanguageError(RayError):
    """A task of another language failed."""


class TaskCancelledError(RayError):
    """The task was cancelled before it ended."""

    def __init__(self, task_id: Any = None, error_message: Optional[str] = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        if self.task_id is None:
            text = "This task or its dependency was cancelled."
        else:
            text = f"Task: {self.task_id} was cancelled."
        if self.error_message:
            text += f" {self.error_message}"
        return text


class RayTaskError(RayError):
    """User code raised an exception in a task or in a method of an actor.

    ``ray.get`` raises :meth:`as_instanceof_cause`, which is an instance both
    of this class and of the class of the original exception.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: Optional[BaseException],
        proctitle: Optional[str] = None,
        pid: Optional[int] = None,
        ip: Optional[str] = None,
        actor_repr: Optional[str] = None,
        actor_id: Optional[str] = None,
    ) -> None:
        self.args = (function_name, traceback_str, cause, proctitle, pid, ip)
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle or f"ray::{function_name}"
        self.pid = pid or os.getpid()
        self.ip = ip or ""
        self.actor_repr = actor_repr
        self.actor_id = actor_id
        self._annotated: Optional[str] = None
        assert traceback_str is not None

    def __reduce__(self) -> tuple:
        return (
            RayTaskError,
            (
                self.function_name,
                self.traceback_str,
                self.cause,
                self.proctitle,
                self.pid,
                self.ip,
                self.actor_repr,
                self.actor_id,
            ),
        )

    @classmethod
    def of_argument(cls, name: str, error: BaseException, ip: str, where: str = "", **fields: Any) -> "RayTaskError":
        """The error of the task ``name``, which did not run because the argument that it waits for is ``error``.

        Args:
            name: of the task or method.
            error: what became of the argument; its own cause becomes the cause.
            ip: address of the node.
            where: what the first line says of the process besides its pid and address.
            fields: of the error, as the constructor takes them.
        """
        plain = getattr(error, "_plain", error)
        kind = f"{type(plain).__module__}.{type(plain).__qualname__}"
        text = (
            f"ray::{name}() (pid={os.getpid()}, ip={ip}{where})\n"
            f"  At least one of the input arguments for this task could not be computed:\n{kind}: {error}"
        )
        cause = plain.cause if isinstance(plain, RayTaskError) and plain.cause is not None else plain
        return cls(name, text, cause, None, os.getpid(), ip, **fields)

    def make_dual_exception_instance(self) -> "RayTaskError":
        """The error as an instance of its cause's class too; raises TypeError where that cannot be."""
        cause_class = type(self.cause)
        if issubclass(RayTaskError, cause_class):
            return self
        return _dual_class(cause_class)(self.cause, self, str(self))  # type: ignore[call-arg]

    # The name that callers of earlier versions use.
    make_dual_exception_type = make_dual_exception_instance

    def as_instanceof_cause(self) -> "RayTaskError":
        """What ``ray.get`` raises: catchable as the original exception."""
        cause_class = type(self.cause)
        if self.cause is None or issubclass(RayTaskError, cause_class):
            return self
        return self._dual_or_self()

    def _dual_or_self(self) -> "RayTaskError":
        try:
            return self.make_dual_exception_instance()
        except Exception as error:
            import logging

            logging.getLogger("ray.exceptions").warning(
                "The exception of the task, of type %s, cannot be the base of another class (%s). "
                "It is raised as a RayTaskError; its cause attribute holds the original.",
                type(self.cause),
                error,
            )
            return self

    def __str__(self) -> str:
        if self._annotated is not None:
            return self._annotated
        lines = self.traceback_str.strip("\n").split("\n")
        return "\n".join(lines)


_dual_classes: Dict[type, type] = {}


def _dual_class(cause_class: type) -> type:
    """The class that is RayTaskError and cause_class at once."""
    found = _dual_classes.get(cause_class)
    if found is not None:
        return found
    group = sys.version_info >= (3, 11) and issubclass(cause_class, BaseExceptionGroup)  # noqa: F821

    class Dual(RayTaskError, cause_class):  # type: ignore[misc,valid-type]
        actor_id = None  # hides a property of the cause's class

        if group:

            def __new__(cls, cause: Any, error: RayTaskError, text: str) -> Any:
                return super().__new__(cls, cause.message, cause.exceptions)

        else:

            def __new__(cls, cause: Any, error: RayTaskError, text: str) -> Any:
                try:
                    return super().__new__(cls, *cause.args)
                except TypeError:
                    return super().__new__(cls)

        def __init__(self, cause: Any, error: RayTaskError, text: str) -> None:
            self.cause = cause
            self.function_name = error.function_name
            self.traceback_str = error.traceback_str
            self.proctitle = error.proctitle
            self.pid = error.pid
            self.ip = error.ip
            self.actor_repr = error.actor_repr
            self.actor_id = error.actor_id
            self._annotated = text
            self._plain = error
            self.args = (cause,)

        def __getattr__(self, name: str) -> Any:
            if name in ("cause", "_plain"):
                raise AttributeError(name)
            return getattr(self.cause, name)

        def __reduce__(self) -> tuple:
            return _rebuild_dual, (self._plain,)

        def __str__(self) -> str:
            return self._annotated or ""

    Dual.__name__ = f"RayTaskError({cause_class.__name__})"
    Dual.__qualname__ = Dual.__name__
    _dual_classes[cause_class] = Dual
    return Dual


def _rebuild_dual(error: RayTaskError) -> RayTaskError:
    return error.as_instanceof_cause()


class LocalRayletDiedError(RayError):
    """The node daemon of this process is gone."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The node daemon of this process is gone."


class WorkerCrashedError(RayError):
    """The worker process ended while it ran the task."""

    def __str__(self) -> str:
        if self.args:
            return str(self.args[0])
        return (
            "The worker died unexpectedly while executing this task. Check the worker's log files for more information."
        )


class RayActorError(RayError):
    """A call to an actor could not be answered."""

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(
        self,
        actor_id: Optional[str] = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(error_msg)
        self._actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted

    def __str__(self) -> str:
        return self.error_msg

    def __reduce__(self) -> tuple:
        return type(self), (self._actor_id, self.error_msg, self._actor_init_failed, self._preempted)

    @property
    def actor_id(self) -> Optional[str]:
        """Hexadecimal id of the actor, None if it is not known."""
        return self._actor_id

    @property
    def actor_init_failed(self) -> bool:
        """Whether the constructor raised."""
        return self._actor_init_failed

    @property
    def preempted(self) -> bool:
        """Whether the actor's node was taken away."""
        return self._preempted


class ActorDiedError(RayActorError):
    """The actor is dead and does not come back."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."
    INIT_ERROR_MSG = "The actor died because of an error raised in its creation task, "

    def __init__(
        self,
        cause: Any = None,
        error_msg: Optional[str] = None,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        actor_id = cause if isinstance(cause, (str, type(None))) else None
        if isinstance(cause, RayTaskError):
            actor_id = cause.actor_id
            actor_init_failed = True
            error_msg = error_msg or (self.INIT_ERROR_MSG + str(cause))
        super().__init__(actor_id, error_msg or self.BASE_ERROR_MSG, actor_init_failed, preempted)


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached now, but may come back."""

    def __init__(
        self,
        error_message: str = "The actor is temporarily unavailable.",
        actor_id: Any = None,
        preempted: bool = False,
    ) -> None:
        if isinstance(actor_id, (bytes, bytearray)):
            actor_id = actor_id.hex()
        super().__init__(actor_id, error_message, False, preempted)

    def __reduce__(self) -> tuple:
        return ActorUnavailableError, (self.error_msg, self._actor_id, self._preempted)


class RaySystemError(RayError):
    """The system itself failed."""

    def __init__(self, client_exc: Any = None, traceback_str: Optional[str] = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        text = f"System error: {self.client_exc}"
        if self.traceback_str:
            text += f"\ntraceback: {self.traceback_str}"
        return text


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator that was run again yielded a different number of items."""

    def __init__(self, message: str = "A generator that was run again yielded a different number of items.") -> None:
        super().__init__(message)

    def __reduce__(self) -> tuple:
        return type(self), (self.client_exc,)


class RayDirectTransportError(RaySystemError):
    """A tensor could not be moved between devices."""


class RayChannelError(RaySystemError):
    """A channel failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """Too many executions of a compiled graph are in flight."""


class AuthenticationError(RayError):
    """The cluster did not accept this process's token."""

    def __init__(self, message: str = "The cluster did not accept the token of this process.") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UserCodeException(RayError):
    """User code that the system called back raised an exception."""


class ObjectStoreFullError(RayError):
    """The object does not fit in the object store."""

    def __str__(self) -> str:
        text = super().__str__()
        return (
            text + "\nThe local object store is full of objects that are still in scope and cannot be evicted. "
            "`ray memory` lists them and who holds them."
        )


class OutOfDiskError(RayError):
    """The disk to which objects are spilled is full."""

    def __str__(self) -> str:
        return super().__str__() + "\nThe object cannot be made because the local disk is full."


class OutOfMemoryError(RayError):
    """The task was ended because the machine ran out of memory."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class NodeDiedError(RayError):
    """The node on which it ran is gone."""

    def __init__(self, message: str = "The node died.") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class RpcError(RayError):
    """A call between processes failed."""

    UNKNOWN = -1

    def __init__(self, message: str = "", rpc_code: Optional[int] = None) -> None:
        super().__init__(message, rpc_code)
        self.message = message
        self.rpc_code = self.UNKNOWN if rpc_code is None else rpc_code

    def __str__(self) -> str:
        return self.message


class ObjectLostError(RayError):
    """The object's value is gone."""

    def __init__(self, object_ref_hex: str = "", owner_address: Any = None, call_site: str = "") -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site or ""
        self.detail = ""

    def __reduce__(self) -> tuple:
        return _rebuild_lost, (type(self), self.object_ref_hex, self.owner_address, self.call_site, self.detail)

    def _base_str(self) -> str:
        return f"Failed to retrieve object {self.object_ref_hex}."

    _why = "All copies of the object are lost, because of node failures, and it cannot be made again."

    def __str__(self) -> str:
        text = f"{self._base_str()} {self.detail or self._why}"
        if self.call_site:
            text += f" The reference was created at: {self.call_site}"
        return text


def _rebuild_lost(cls: Type[ObjectLostError], object_hex: str, owner: Any, call_site: str, detail: str) -> Any:
    made = cls.__new__(cls)
    ObjectLostError.__init__(made, object_hex, owner, call_site)
    made.detail = detail
    return made


class ObjectFetchTimedOutError(ObjectLostError):
    """The object could not be fetched in time."""

    _why = "Its value could not be fetched from any node in time; the system may be overloaded."


class ObjectFreedError(ObjectLostError):
    """The object was freed by hand."""

    _why = "The object was freed with ray._private.internal_api.free, although a reference to it was left."


class OwnerDiedError(ObjectLostError):
    """The node that owned the object is gone."""

    _why = "The object's owner has exited, and with it went what was known about the object."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The owner has already deleted the object."""

    _why = "The object has already been deleted by the reference counting protocol."


class ObjectReconstructionFailedError(ObjectLostError):
    """The object is lost and could not be made again."""

    def __init__(
        self,
        object_ref_hex: str = "",
        reason: Any = None,
        owner_address: Any = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.reason = reason
        if reason:
            self.detail = f"The object cannot be made again: {reason}"

    _why = "The object cannot be made again because the retries of its task are used up."


class GetTimeoutError(RayError, TimeoutError):
    """``ray.get`` did not have its values in time."""


class PlasmaObjectNotAvailable(RayError):
    """An object is not in the local store."""


class AsyncioActorExit(RayError):
    """Raised by ``exit_actor()`` in an async actor."""


class RuntimeEnvSetupError(RayError):
    """The runtime environment of a task or actor could not be made."""

    def __init__(self, error_message: Optional[str] = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        text = "Failed to set up runtime environment."
        return f"{text}\n{self.error_message}" if self.error_message else text


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task was removed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The placement group corresponding to this task has been removed."


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor was removed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The placement group corresponding to this actor has been removed."


class PendingCallsLimitExceeded(RayError):
    """The caller has too many calls to the actor under way."""


class TaskUnschedulableError(RayError):
    """No node can ever run the task."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The task is not schedulable: {self.error_message}"


class ActorUnschedulableError(RayError):
    """No node can ever run the actor."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The actor is not schedulable: {self.error_message}"


class ObjectRefStreamEndOfStreamError(RayError):
    """A stream of a generator task has ended."""


class OufOfBandObjectRefSerializationException(RayError):
    """An ObjectRef was pickled outside of the system, which the settings forbid."""


class UnserializableException(RayError):
    """The exception of a task cannot be unpickled here; its text is kept."""

    def __init__(self, original_stack_trace: str = "", cause: Any = None) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace
        self.cause = cause

    def __str__(self) -> str:
        return "Failed to deserialize exception. Refer to the original stack trace for details.\n" + (
            self._original_stack_trace
        )


class ActorAlreadyExistsError(ValueError, RayError):
    """The name is taken by another actor."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle belongs to another cluster, or its actor is not known."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message


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
