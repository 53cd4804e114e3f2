"""Errors that a daemon describes (ErrorInfo) as exceptions."""

import builtins
from typing import Any, Dict

from ray import exceptions


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
    return exceptions.ActorDiedError(
        fields.get("actor_id"),
        _actor_text(message, fields),
        bool(fields.get("init_failed")),
        bool(fields.get("preempted")),
    )


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
    return exceptions.TaskCancelledError(TaskID.from_hex(text) if text else None, message or None)


_MAKERS = {
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
