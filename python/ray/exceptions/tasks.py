"""Errors of tasks: what user code raised, and why a task did not run to its end."""

import os
import sys
from typing import Any, Dict, Optional

from ray.exceptions.base import RayError


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
                "This exception is raised as RayTaskError only. You can use `ray_task_error.cause` to access the user "
                "exception.",
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
    Dual.__module__ = RayTaskError.__module__
    _dual_classes[cause_class] = Dual
    return Dual


def _rebuild_dual(error: RayTaskError) -> RayTaskError:
    return error.as_instanceof_cause()


class WorkerCrashedError(RayError):
    """The worker process ended while it ran the task."""

    def __str__(self) -> str:
        if self.args:
            return str(self.args[0])
        return (
            "The worker died unexpectedly while executing this task. Check the worker's log files for more information."
        )


class ForceCancelledError(TaskCancelledError, WorkerCrashedError):
    """The task was cancelled with ``force=True`` while it ran, which ended its worker.

    Code that expects either of the two finds it.
    """


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task was removed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The placement group corresponding to this task has been removed."


class TaskUnschedulableError(RayError):
    """No node can ever run the task."""

    def __init__(self, error_message: str = "") -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The task is not schedulable: {self.error_message}"


class ObjectRefStreamEndOfStreamError(RayError):
    """A stream of a generator task has ended."""


class UnserializableException(RayError):
    """The exception of a task cannot be unpickled here; its text is kept."""

    def __init__(self, original_stack_trace: str = "", cause: Any = None) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace
        self.cause = cause

    def __str__(self) -> str:
        return (
            "Failed to deserialize exception. Refer to the original stack trace for details.\n"
            f"Original exception:\nray.exceptions.RayTaskError: {self._original_stack_trace.rstrip()}"
        )
