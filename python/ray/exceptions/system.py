"""Errors of the system itself: processes, machines, connections, environments."""

from typing import Any, Optional

from ray.exceptions.base import RayError


class LocalRayletDiedError(RayError):
    """The node daemon of this process is gone."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The node daemon of this process is gone."


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


class RuntimeEnvSetupError(RayError):
    """The runtime environment of a task or actor could not be made."""

    def __init__(self, error_message: Optional[str] = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        text = "Failed to set up runtime environment."
        return f"{text}\n{self.error_message}" if self.error_message else text
