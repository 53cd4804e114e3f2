"""What is known about a job."""

import json
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any, Dict, Optional, Union


class JobStatus(str, Enum):
    """How far a job has come; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value

    def is_terminal(self) -> bool:
        """Whether the status will not change any more."""
        return self in (JobStatus.STOPPED, JobStatus.SUCCEEDED, JobStatus.FAILED)


class JobType(str, Enum):
    """Who started a job: the job server, or a driver that connected by itself."""

    SUBMISSION = "SUBMISSION"
    DRIVER = "DRIVER"


class JobErrorType(str, Enum):
    """Why a job failed."""

    RUNTIME_ENV_SETUP_FAILURE = "RUNTIME_ENV_SETUP_FAILURE"
    JOB_SUPERVISOR_ACTOR_START_TIMEOUT = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    JOB_SUPERVISOR_ACTOR_START_FAILURE = "JOB_SUPERVISOR_ACTOR_START_FAILURE"
    JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE = "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"
    JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE = "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"
    JOB_SUPERVISOR_ACTOR_DIED = "JOB_SUPERVISOR_ACTOR_DIED"
    JOB_ENTRYPOINT_COMMAND_START_ERROR = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
    JOB_ENTRYPOINT_COMMAND_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"


_MESSAGES = {
    JobStatus.PENDING: "Job has not started yet.",
    JobStatus.RUNNING: "Job is currently running.",
    JobStatus.STOPPED: "Job was intentionally stopped.",
    JobStatus.SUCCEEDED: "Job finished successfully.",
    JobStatus.FAILED: "Job failed.",
}


@dataclass
class JobInfo:
    """A submitted job.

    Attributes:
        start_time, end_time: milliseconds since 1970.
        entrypoint_memory: bytes.
    """

    status: JobStatus
    entrypoint: str
    message: Optional[str] = None
    error_type: Optional[JobErrorType] = None
    start_time: Optional[int] = None
    end_time: Optional[int] = None
    metadata: Optional[Dict[str, str]] = None
    runtime_env: Optional[Dict[str, Any]] = None
    entrypoint_num_cpus: Optional[Union[int, float]] = None
    entrypoint_num_gpus: Optional[Union[int, float]] = None
    entrypoint_memory: Optional[int] = None
    entrypoint_resources: Optional[Dict[str, float]] = None
    driver_agent_http_address: Optional[str] = None
    driver_node_id: Optional[str] = None
    driver_exit_code: Optional[int] = None

    def __post_init__(self) -> None:
        self.status = JobStatus(self.status)
        if self.message is None:
            self.message = _MESSAGES[self.status]

    def to_json(self) -> Dict[str, Any]:
        """A dict that JSON takes; the environment is a JSON text in ``runtime_env_json``."""
        found = asdict(self)
        found["status"] = str(self.status)
        if self.error_type is not None:
            found["error_type"] = JobErrorType(self.error_type).value
        found["runtime_env_json"] = json.dumps(found.pop("runtime_env"))
        return found

    @classmethod
    def from_json(cls, row: Dict[str, Any]) -> "JobInfo":
        """The job of what :meth:`to_json` gave."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in row.items() if name in known}
        if "runtime_env_json" in row:
            given["runtime_env"] = json.loads(row["runtime_env_json"])
        return cls(**given)


class _Model:
    """Dataclasses that convert to dicts in the ways that programs use."""

    def dict(self) -> Dict[str, Any]:
        """All fields, nested ones as dicts."""
        return asdict(self)  # type: ignore[call-overload]

    def model_dump(self) -> Dict[str, Any]:
        """The same as :meth:`dict`."""
        return self.dict()

    def json(self) -> str:
        """All fields as JSON."""
        return json.dumps(self.dict())


@dataclass
class DriverInfo(_Model):
    """The process that runs a job's program.

    Attributes:
        id: job id of the driver, hex.
        pid: process id, as text.
    """

    id: str
    node_ip_address: str
    pid: str


@dataclass
class JobDetails(_Model):
    """A job as the server reports it.

    Attributes:
        job_id: id of the driver's job, None until it connects.
        submission_id: id given at submission, None for a driver by itself.
        start_time, end_time: milliseconds since 1970.
    """

    type: JobType
    status: JobStatus
    entrypoint: str
    job_id: Optional[str] = None
    submission_id: Optional[str] = None
    driver_info: Optional[DriverInfo] = None
    message: Optional[str] = None
    error_type: Optional[str] = None
    start_time: Optional[int] = None
    end_time: Optional[int] = None
    metadata: Optional[Dict[str, str]] = None
    runtime_env: Optional[Dict[str, Any]] = None
    driver_agent_http_address: Optional[str] = None
    driver_node_id: Optional[str] = None
    driver_exit_code: Optional[int] = None

    def __post_init__(self) -> None:
        self.type = JobType(self.type)
        self.status = JobStatus(self.status)
        if isinstance(self.driver_info, dict):
            known = {field.name for field in fields(DriverInfo)}
            self.driver_info = DriverInfo(**{k: str(v) for k, v in self.driver_info.items() if k in known})

    @classmethod
    def from_row(cls, row: Dict[str, Any]) -> "JobDetails":
        """The job of a row that the server sent; what is not known here is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})
