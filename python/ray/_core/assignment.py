"""What a worker is sent: templates and tasks."""

import pickle
import sys
from typing import Any, Dict, Optional

from ray._core import frames
from ray._core.frames import EXEC_BODY
from ray._core.state import TaskInfo

exec_head = EXEC_BODY.unpack_from


class Template:
    """What a worker knows of a template."""

    __slots__ = (
        "json",
        "name",
        "function_name",
        "function_id",
        "method",
        "function",
        "streaming",
        "dynamic",
        "backpressure",
        "per_yield",
        "max_calls",
        "max_retries",
        "retry",
        "group",
        "info",
        "calls",
        "marker",
    )

    def __init__(self, value: Dict[str, Any]) -> None:
        self.json = value
        self.name: str = value.get("name") or ""
        self.function_name: str = value.get("function") or ""
        self.function_id: str = value.get("function_id") or ""
        self.method: str = value.get("method") or ""
        self.function: Any = None
        self.streaming = bool(value.get("streaming"))
        self.dynamic = bool(value.get("dynamic"))
        self.backpressure: int = value.get("backpressure") or 0
        self.max_calls: int = value.get("max_calls") or 0
        self.max_retries: int = value.get("max_retries") or 0
        self.retry: Any = bool(value.get("retry_exceptions"))
        extra = value.get("extra") or {}
        self.per_yield: int = extra.get("per_yield") or 1  # objects in one yield of a generator
        if self.retry and extra.get("retry"):
            self.retry = extra["retry"]  # pickled classes, loaded when they are needed
        self.group: str = value.get("concurrency_group") or ""
        self.info: Optional[TaskInfo] = None
        self.calls = 0
        self.marker = self.name.rsplit(".", 1)[0] if value.get("kind") != "task" else self.name

    def retries(self, error: BaseException) -> bool:
        """Whether the user's exception is one to be tried again for."""
        if not self.retry:
            return False
        if self.retry is True:
            return True
        if isinstance(self.retry, str):
            import base64

            try:
                self.retry = pickle.loads(base64.b64decode(self.retry))
            except Exception as unloadable:
                print(
                    f"The exceptions in retry_exceptions of {self.name} cannot be loaded here, so that it is not tried "
                    f"again for any: {type(unloadable).__name__}: {unloadable}",
                    file=sys.stderr,
                )
                self.retry = False
                return False
        cause = getattr(error, "cause", None)
        return isinstance(error, self.retry) or isinstance(cause, self.retry)


class Exec:
    """One EXEC frame, taken apart."""

    __slots__ = (
        "kind",
        "flags",
        "seq",
        "epoch",
        "template",
        "nreturns",
        "attempt",
        "task_id",
        "parent_id",
        "deps",
        "payload",
        "guard",
        "refs",
        "owner",
    )

    def __init__(self, data: bytes) -> None:
        (
            own,
            self.kind,
            self.flags,
            self.seq,
            self.epoch,
            self.template,
            self.nreturns,
            self.attempt,
            ndeps,
            nrefs,
            size,
            self.task_id,
            self.parent_id,
        ) = exec_head(data, 0)
        pos = own
        self.owner = data[80:108] if own > 80 else b""
        self.deps: Any = ()
        self.guard: Any = None
        refs = b""
        if ndeps:
            deps = []
            for _ in range(ndeps):
                ref = data[pos : pos + 56]
                where, inner, place, pos = frames.read_value(data, pos + 56)
                refs += inner
                deps.append((ref, where, place))
            self.deps = deps
        if nrefs:
            refs += data[pos : pos + 56 * nrefs]
            pos += 56 * nrefs
        self.refs = refs
        self.payload = data[pos : pos + size]
