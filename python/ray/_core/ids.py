"""Identifiers: fixed-size binary names of everything in a cluster.

The layouts are those that users see in ``hex()``: an object id is the id of
the task that makes it and an index, a task id ends in an actor id, an actor
id ends in a job id.
"""

import os
import struct
from typing import Any, Optional, TypeVar

_T = TypeVar("_T", bound="BaseID")


class BaseID:
    """A binary identifier of a fixed size. Nil is all ``0xff``."""

    __slots__ = ("_bin", "__weakref__")
    SIZE = 28

    def __init__(self, binary: bytes) -> None:
        if not isinstance(binary, (bytes, bytearray)):
            raise TypeError(f"Unsupported type: {type(self).__name__} is made of bytes, not of {type(binary).__name__}")
        if len(binary) != self.SIZE:
            raise ValueError(f"{type(self).__name__} needs to have length {self.SIZE}, got {len(binary)}")
        self._bin = bytes(binary)

    @classmethod
    def from_binary(cls: "type[_T]", binary: bytes) -> _T:
        """The id made of these bytes."""
        return cls(binary)

    @classmethod
    def from_hex(cls: "type[_T]", text: str) -> _T:
        """The id that ``hex()`` printed as text."""
        if isinstance(text, bytes):
            text = text.decode()
        return cls(bytes.fromhex(text))

    @classmethod
    def from_random(cls: "type[_T]") -> _T:
        """A new random id."""
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def nil(cls: "type[_T]") -> _T:
        """The id that names nothing."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def size(cls) -> int:
        """Length of the id in bytes."""
        return cls.SIZE

    def is_nil(self) -> bool:
        """Whether the id names nothing."""
        return self._bin == b"\xff" * self.SIZE

    def binary(self) -> bytes:
        """The bytes of the id."""
        return self._bin

    def hex(self) -> str:
        """The id as lower-case hexadecimal digits."""
        return self._bin.hex()

    def __hash__(self) -> int:
        return hash(self._bin)

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and other._bin == self._bin

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return self._bin < other._bin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._bin.hex()})"

    __str__ = __repr__

    def __reduce__(self) -> tuple:
        return type(self), (self._bin,)


class UniqueID(BaseID):
    """A random identifier of 28 bytes."""

    __slots__ = ()


class NodeID(UniqueID):
    """One life of a node daemon in a cluster."""

    __slots__ = ()


class WorkerID(UniqueID):
    """One worker or driver process."""

    __slots__ = ()


class FunctionID(UniqueID):
    """The content of an exported function or class."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """The content of an exported actor class."""

    __slots__ = ()


class ClusterID(UniqueID):
    """One life of a cluster."""

    __slots__ = ()


class JobID(BaseID):
    """One driver's run: a little-endian counter of 4 bytes."""

    __slots__ = ()
    SIZE = 4

    @classmethod
    def from_int(cls, value: int) -> "JobID":
        """The id of job number value."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"a job number is between 0 and 2**32 - 1, got {value}")
        return cls(struct.pack("<I", value))

    def int(self) -> int:
        """The job's number."""
        return struct.unpack("<I", self._bin)[0]


class ActorID(BaseID):
    """One actor: 12 unique bytes and the job id."""

    __slots__ = ()
    SIZE = 16

    @classmethod
    def of(cls, job_id: JobID, parent_task_id: "Optional[TaskID]" = None, parent_task_counter: int = 0) -> "ActorID":
        """A new id in the job."""
        return cls(os.urandom(12) + job_id.binary())

    @classmethod
    def nil_from_job(cls, job_id: JobID) -> "ActorID":
        """The actor part of the ids of tasks that are no actor calls."""
        return cls(b"\xff" * 12 + job_id.binary())

    @property
    def job_id(self) -> JobID:
        """The job that the actor belongs to."""
        return JobID(self._bin[12:])


class TaskID(BaseID):
    """One task: 8 unique bytes and an actor id (nil part for plain tasks)."""

    __slots__ = ()
    SIZE = 24

    @classmethod
    def for_driver_task(cls, job_id: JobID) -> "TaskID":
        """The id that stands for the driver itself."""
        return cls(b"\xff" * 20 + job_id.binary())

    @classmethod
    def for_fake_task(cls, job_id: JobID) -> "TaskID":
        """A random id in the job."""
        return cls(os.urandom(8) + b"\xff" * 12 + job_id.binary())

    @classmethod
    def for_actor_creation_task(cls, actor_id: ActorID) -> "TaskID":
        """The task that runs the actor's constructor."""
        return cls(b"\xff" * 8 + actor_id.binary())

    @classmethod
    def for_actor_task(cls, job_id: JobID, parent_task_id: Any, counter: int, actor_id: ActorID) -> "TaskID":
        """A new id for a call of the actor."""
        return cls(os.urandom(8) + actor_id.binary())

    @classmethod
    def for_normal_task(cls, job_id: JobID, parent_task_id: Any, counter: int) -> "TaskID":
        """A new id for a plain task."""
        return cls(os.urandom(8) + b"\xff" * 12 + job_id.binary())

    def actor_id(self) -> ActorID:
        """The actor part of the id."""
        return ActorID(self._bin[8:])

    def job_id(self) -> JobID:
        """The job that the task belongs to."""
        return JobID(self._bin[20:])


class PlacementGroupID(BaseID):
    """One placement group: 14 unique bytes and the job id."""

    __slots__ = ()
    SIZE = 18

    @classmethod
    def of(cls, job_id: JobID) -> "PlacementGroupID":
        """A new random id in the job."""
        return cls(os.urandom(14) + job_id.binary())


ID_CLASSES = [
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
]
