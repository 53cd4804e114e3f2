"""References to objects."""

import os
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, Optional, TypeVar

from ray._core import state
from ray._core.ids import BaseID, JobID, TaskID

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T = TypeVar("T")

if TYPE_CHECKING:

    class _Base(BaseID, Generic[T]):
        """Type checkers see what a reference refers to."""
else:

    class _Base(BaseID):
        """At run time, what a reference refers to is a remark."""

        __slots__ = ()

        def __class_getitem__(cls, item: Any) -> Any:
            return cls


_NOBODY = b"\xff" * 28


class ObjectRef(_Base[T]):
    """A reference to an object: a value that exists, or that a task will make.

    Pass it to ``ray.get`` for the value, to ``ray.wait`` to see whether it is
    there, or to tasks and actor calls as an argument. References are counted:
    while one is alive anywhere in the cluster, so is the value.
    """

    __slots__ = ("_owner", "_c")
    SIZE = 28

    def __init__(self, binary: bytes, owner: bytes = _NOBODY, client: Any = None) -> None:
        self._c = client
        if owner is _NOBODY:  # a user's
            BaseID.__init__(self, binary)
        self._bin = binary
        self._owner = owner

    def __del__(self) -> None:
        # Runs at any point of any thread: it may only append.
        client = self._c
        if client is not None:
            client._gone(self._bin)

    def __class_getitem__(cls, item: Any) -> Any:
        from types import GenericAlias

        return GenericAlias(cls, item)

    def task_id(self) -> TaskID:
        """The task that makes the object."""
        return TaskID(self._bin[:24])

    def job_id(self) -> JobID:
        """The job in which it was made."""
        return JobID(self._bin[20:24])

    def owner_address(self) -> bytes:
        """The node that owns the object, as bytes."""
        return self._owner

    def call_site(self) -> str:
        """Where the reference was made; empty unless recorded."""
        return ""

    def __copy__(self) -> "ObjectRef[T]":
        client = self._c
        return ObjectRef(self._bin, self._owner) if client is None else client.adopt(self._bin, self._owner)

    def __deepcopy__(self, memo: Any) -> "ObjectRef[T]":
        return self.__copy__()

    def __reduce__(self) -> tuple:
        # Pickled by hand, not as part of a value: nothing can count such
        # copies, so this process keeps the object for good.
        if os.environ.get("RAY_allow_out_of_band_object_ref_serialization", "1") in ("0", "false", "False"):
            from ray.exceptions import OufOfBandObjectRefSerializationException

            raise OufOfBandObjectRefSerializationException(
                f"{self!r} was pickled outside of tasks, actors and ray.put, where references cannot be counted, and "
                "RAY_allow_out_of_band_object_ref_serialization=0 forbids it. Pass the reference as "
                "an argument instead."
            )
        client = self._c
        if client is not None:
            client.pin_for_good(self)
        return load_ref, (self._bin, self._owner)

    def future(self) -> "concurrent.futures.Future[T]":
        """A future for the value; cancelling it does not cancel the task."""
        import concurrent.futures

        future: concurrent.futures.Future = concurrent.futures.Future()

        def done(result: Any) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result[0])

        _client_of(self).on_value(self, done)
        return future

    def as_future(self, _internal: bool = False) -> "asyncio.Future[T]":
        """An asyncio future for the value, in the running event loop."""
        from ray._core import aio

        return aio.future_of(_client_of(self), self)

    def __await__(self) -> Generator[Any, None, T]:
        return self.as_future(_internal=True).__await__()

    async def _ready(self) -> None:
        """Returns when the value is there or failed, without reading it."""
        from ray._core import aio

        await aio.future_of(_client_of(self), self, values=False)

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        """Calls ``callback(value or exception)`` in another thread when it is there."""

        def done(result: Any) -> None:
            callback(result if isinstance(result, BaseException) else result[0])

        _client_of(self).on_value(self, done)

    def _on_ready(self, callback: Callable[[], None]) -> None:
        """Calls ``callback()`` when the value is there."""
        _client_of(self).on_value(self, lambda _: callback())


def _client_of(ref: ObjectRef) -> Any:
    return ref._c if ref._c is not None else state.client()


def load_ref(binary: bytes, owner: bytes) -> ObjectRef:
    """The reference that was pickled as these bytes, counted in this process."""
    client = state._client
    if client is None:
        return ObjectRef(binary, owner)
    return client.adopt(binary, owner)


def was_put(ref: ObjectRef) -> bool:
    """Whether ``ray.put`` made the object, rather than a task: its id has the counter 0 (docs/PROTOCOL.md)."""
    return ref._bin[4:8] == b"\0\0\0\0"


def describe(ref: Optional[Any]) -> str:
    """Short text for messages."""
    return "None" if ref is None else f"{type(ref).__name__}({ref.hex()})"
