"""The setting ``ray.init(logging_config=)``."""

import json
import logging
import time
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Dict, List

from ray._private.ray_logging.constants import DEFAULT_ATTRIBUTES, STANDARD_ATTRIBUTES

ENCODINGS = ("TEXT", "JSON")


@dataclass
class LoggingConfig:
    """How the root logger of the driver and of the workers writes.

    Args:
        encoding: ``"TEXT"`` (lines) or ``"JSON"`` (one object a line).
        log_level: name of the lowest level that is written.
        additional_log_standard_attrs: further attributes of log records to write.

    Raises:
        ValueError: an encoding or attribute is unknown.
    """

    _ENCODINGS: ClassVar[tuple] = ENCODINGS

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: List[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"Invalid encoding type: {self.encoding}. Valid encoding types are: {list(ENCODINGS)}")
        for name in self.additional_log_standard_attrs:
            if name not in STANDARD_ATTRIBUTES:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. "
                    f"The valid attributes are: {sorted(STANDARD_ATTRIBUTES)}"
                )

    def to_dict(self) -> Dict[str, Any]:
        """The settings as a dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Dict[str, Any]) -> "LoggingConfig":
        """The settings of a dict; what is missing has its default."""
        known = ("encoding", "log_level", "additional_log_standard_attrs")
        return cls(**{name: value for name, value in settings.items() if name in known})

    def _formatter(self) -> logging.Formatter:
        if self.encoding == "JSON":
            return JSONFormatter(self.additional_log_standard_attrs)
        return TextFormatter(self.additional_log_standard_attrs)

    def _configure_logging(self) -> None:
        """Makes the root logger and the package's logger write in this way."""
        handler = logging.StreamHandler()
        handler.setFormatter(self._formatter())
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(self.log_level)
        ours = logging.getLogger("ray")
        ours.handlers[:] = []
        ours.propagate = True
        ours.setLevel(self.log_level)


def _context() -> Dict[str, str]:
    """Ids of where the record was made, as far as there are any."""
    from ray._core import state

    if not state.is_connected():
        return {}
    client = state.connected()
    found = {"job_id": client.job_id.hex(), "worker_id": client.worker_id.hex(), "node_id": client.node_id.hex()}
    task = state.current_task()
    if task is not None and task.kind != state.DRIVER:
        found.update(task_id=task.task_id.hex(), task_name=task.name, task_func_name=task.function_name)
    if state.actor is not None:
        found.update(actor_id=state.actor.actor_id.hex(), actor_name=state.actor.name)
    return found


def _extra(record: logging.LogRecord) -> Dict[str, Any]:
    """What the program added to the record with ``extra=``."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES}


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, attributes: List[str]) -> None:
        super().__init__()
        self._attributes = list(dict.fromkeys(list(DEFAULT_ATTRIBUTES) + list(attributes)))

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        row = {name: getattr(record, name, None) for name in self._attributes}
        row.update(_context())
        row.update(_extra(record))
        if record.exc_info:
            row["exc_text"] = self.formatException(record.exc_info)
        row["timestamp_ns"] = int(record.created * 1e9) if record.created else time.time_ns()
        return json.dumps(row, default=str)


class TextFormatter(logging.Formatter):
    """A line with the ids as ``name=value`` at its end."""

    def __init__(self, attributes: List[str]) -> None:
        super().__init__("%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s")
        self._attributes = list(attributes)

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        parts = {name: getattr(record, name, None) for name in self._attributes}
        parts.update(_context())
        parts.update(_extra(record))
        return " ".join([line] + [f"{name}={value}" for name, value in parts.items()])
