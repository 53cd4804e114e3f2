"""Errors of actors: dead, out of reach for now, never placed, or not to be found."""

from typing import Any, Optional

from ray.exceptions.base import RayError
from ray.exceptions.tasks import RayTaskError


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


class AsyncioActorExit(RayError):
    """Raised by ``exit_actor()`` in an async actor."""


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor was removed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The placement group corresponding to this actor has been removed."


class PendingCallsLimitExceeded(RayError):
    """The caller has too many calls to the actor under way."""


class ActorUnschedulableError(RayError):
    """No node can ever run the actor."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The actor is not schedulable: {self.error_message}"


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
