"""Errors that a daemon describes (ErrorInfo) as exceptions."""

import base64
import builtins
from typing import Any, Dict

from ray import exceptions
from ray._core import serialization, state


def from_info(info: Dict[str, Any]) -> BaseException:
    """The exception that an ErrorInfo names; RaySystemError for an unknown name."""
    name = info.get("type") or "RaySystemError"
    message = info.get("message") or ""
    fields = info.get("fields") or {}
    make = _MAKERS.get(name)
    if make is not None:
        return make(message, fields)
    cls = getattr(exceptions, name, None)
    if isinstance(cls, type) and issubclass(cls, exceptions.RayError):
        return cls(message)
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception):
        return cls(message)
    return exceptions.RaySystemError(f"{name}: {message}")


def _actor_died(message: str, fields: Dict[str, Any]) -> BaseException:
    if fields.get("error"):
        died = exceptions.ActorDiedError(_argument_failed(message, fields), preempted=bool(fields.get("preempted")))
        died._actor_id = fields.get("actor_id")
        return died
    if message.startswith(exceptions.ActorDiedError.INIT_ERROR_MSG):
        # Ends with the constructor's own error, as the user's traceback does.
        return exceptions.ActorDiedError(fields.get("actor_id"), message, True, bool(fields.get("preempted")))
    return exceptions.ActorDiedError(
        fields.get("actor_id"),
        _actor_text(message, fields),
        bool(fields.get("init_failed")),
        bool(fields.get("preempted")),
    )


def _argument_failed(message: str, fields: Dict[str, Any]) -> BaseException:
    """The error of a task that did not run because one of its arguments is an error, or did not give what it must."""
    held = fields.get("error")
    if fields.get("raised"):
        return exceptions.RayTaskError(fields["raised"], message, ValueError(message))
    if not held:
        return exceptions.RaySystemError(message)
    error = serialization.deserialize(base64.b64decode(held)).error
    for name in reversed(fields.get("tasks") or []):
        error = exceptions.RayTaskError.of_argument(name, error, _node_ip())
    return error


def _node_ip() -> str:
    client = state._client
    return client.node_ip if client is not None else ""


def _actor_text(message: str, fields: Dict[str, Any]) -> str:
    lines = [message or exceptions.ActorDiedError.BASE_ERROR_MSG]
    for key in ("class_name", "actor_id", "pid", "name", "namespace", "ip"):
        value = fields.get(key)
        if value:
            lines.append(f"\t{key}: {value}")
    cause = fields.get("cause")
    if cause and str(cause) not in lines[0]:
        lines.append(str(cause))
    return "\n".join(lines)


def _lost(cls: type) -> Any:
    def make(message: str, fields: Dict[str, Any]) -> BaseException:
        error = cls(fields.get("object_id") or "")
        if message:
            error.detail = message
        return error

    return make


def _reconstruction(message: str, fields: Dict[str, Any]) -> BaseException:
    error = exceptions.ObjectReconstructionFailedError(fields.get("object_id") or "", fields.get("reason"))
    if message:
        error.detail = message
    return error


def _cancelled(message: str, fields: Dict[str, Any]) -> BaseException:
    from ray._core.ids import TaskID

    text = fields.get("task_id")
    cls = exceptions.tasks.ForceCancelledError if fields.get("crashed") else exceptions.TaskCancelledError
    return cls(TaskID.from_hex(text) if text else None, message or None)


_MAKERS = {
    "RayTaskError": _argument_failed,
    "ActorDiedError": _actor_died,
    "ActorUnavailableError": lambda message, fields: exceptions.ActorUnavailableError(message, fields.get("actor_id")),
    "TaskCancelledError": _cancelled,
    "ObjectLostError": _lost(exceptions.ObjectLostError),
    "ObjectFreedError": _lost(exceptions.ObjectFreedError),
    "ObjectFetchTimedOutError": _lost(exceptions.ObjectFetchTimedOutError),
    "OwnerDiedError": _lost(exceptions.OwnerDiedError),
    "ReferenceCountingAssertionError": _lost(exceptions.ReferenceCountingAssertionError),
    "ObjectReconstructionFailedError": _reconstruction,
}
