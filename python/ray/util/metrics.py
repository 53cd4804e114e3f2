"""Metrics of an application: counters, gauges and histograms.

They appear as ``ray_<name>`` among the Prometheus metrics of the node. Values
are collected in the process and sent to its node about once a second.
"""

import atexit
import re
import threading
import warnings
from typing import Any, Dict, List, Optional, Tuple, Union

Number = Union[int, float]
Tags = Dict[str, str]
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PERIOD_S = 0.5

__all__ = ["Counter", "Gauge", "Histogram"]


class _Series:
    """What one metric with one set of tag values has gathered since the last push."""

    __slots__ = ("value", "counts", "sum", "count")

    def __init__(self, buckets: int) -> None:
        self.value = 0.0
        self.counts = [0] * buckets
        self.sum = 0.0
        self.count = 0


class _Recorder:
    """Gathers values and sends them in batches. One per process.

    A thread runs only while there are values to send.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: Dict[Tuple[str, str, Tuple[Tuple[str, str], ...]], Tuple["Metric", _Series]] = {}
        self._thread: Optional[threading.Thread] = None
        self._wake = threading.Event()
        self._hooked = False

    def record(self, metric: "Metric", tags: Tags, value: float) -> None:
        """Adds one value."""
        key = (metric._kind, metric._name, tuple(sorted(tags.items())))
        with self._lock:
            entry = self._series.get(key)
            if entry is None:
                entry = self._series[key] = (metric, _Series(len(metric._boundaries) + 1))
            metric._add(entry[1], value)
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def _start(self) -> None:
        from ray._core import state

        if not self._hooked:
            self._hooked = True
            atexit.register(self.flush)
            state.on_disconnect.append(self.flush)
        self._wake.clear()
        self._thread = threading.Thread(target=self._run, name="ray-metrics", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait(_PERIOD_S)
            self.flush()
            with self._lock:
                if not self._series:
                    self._thread = None
                    return

    def flush(self) -> None:
        """Sends what has been gathered; keeps it if there is no connection yet."""
        from ray._core import frames, state

        if not state.is_connected():
            return
        with self._lock:
            gathered, self._series = self._series, {}
        if not gathered:
            return
        records = [_record(metric, dict(key[2]), series) for key, (metric, series) in gathered.items()]
        try:
            client = state.connected()
            client.send(frames.call_frame(frames.NOTE, 0, "metrics.record", {"records": records}))
        except Exception:  # the connection has just ended: metrics must never fail a program
            pass

    def after_fork(self) -> None:
        """A child process has none of the threads."""
        self.__init__()  # type: ignore[misc]


def _record(metric: "Metric", tags: Tags, series: _Series) -> Dict[str, Any]:
    """One entry of a push; amounts of counters and histograms are since the last push."""
    found: Dict[str, Any] = {
        "name": metric._name,
        "kind": metric._kind,
        "description": metric._description,
        "tags": tags,
    }
    if metric._kind == "histogram":
        found.update(boundaries=sorted(metric._boundaries), counts=series.counts, sum=series.sum, count=series.count)
    else:
        found["value"] = series.value
    return found


_recorder = _Recorder()
try:
    import os

    os.register_at_fork(after_in_child=_recorder.after_fork)
except AttributeError:  # a platform without fork
    pass


class Metric:
    """What counters, gauges and histograms have in common.

    Args:
        name: letters, digits, ``_`` and ``:``; does not begin with a digit.
        description: for people.
        tag_keys: names of the tags that values may carry.

    Raises:
        TypeError, ValueError: an argument cannot be.
    """

    _kind = ""

    def __init__(self, name: str, description: str = "", tag_keys: Optional[Tuple[str, ...]] = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, got {type(name)}.")
        if not name:
            raise ValueError("Empty name is not allowed. Please provide a metric name.")
        if not isinstance(description, str):
            raise TypeError(f"description must be a str, got {type(description)}.")
        self._discarded = not _NAME.fullmatch(name)
        if self._discarded:
            warnings.warn(
                f"Invalid metric name: {name}. Its values will be thrown away: a name has only letters, digits, "
                "_ and :, and does not begin with a digit.",
                stacklevel=3,
            )
        if tag_keys is not None and not isinstance(tag_keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(tag_keys)}")
        for key in tag_keys or ():
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        self._name = name
        self._description = description
        self._tag_keys: Tuple[str, ...] = tag_keys or ()
        self._default_tags: Tags = {}
        self._boundaries: List[float] = []

    def set_default_tags(self, default_tags: Tags) -> "Metric":
        """Values for tags that a call does not give.

        Raises:
            ValueError: a key is none of ``tag_keys``.
            TypeError: a value is no str.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            if not isinstance(value, str):
                raise TypeError(f"Tag values must be str, got {type(value)}.")
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> Dict[str, Any]:
        """``name``, ``description``, ``tag_keys`` and ``default_tags``."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def _send(self, value: float, tags: Optional[Tags]) -> None:
        """Checks the tags and records the value."""
        for given in (tags or {}).values():
            if not isinstance(given, str):
                raise TypeError(f"Tag values must be str, got {type(given)}.")
        merged = {**self._default_tags, **(tags or {})}
        final = {key: merged[key] for key in self._tag_keys if key in merged}
        missing = [key for key in self._tag_keys if key not in final]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        if not self._discarded:
            _recorder.record(self, final, float(value))

    def _add(self, series: _Series, value: float) -> None:
        raise NotImplementedError

    def __reduce__(self) -> Any:
        arguments: Tuple[Any, ...] = (self._name, self._description)
        arguments += (self._boundaries, self._tag_keys) if self._boundaries else (self._tag_keys,)
        return _rebuild, (type(self), arguments, self._default_tags)


def _rebuild(cls: type, arguments: Tuple[Any, ...], default_tags: Tags) -> Metric:
    metric = cls(*arguments)
    metric._default_tags = dict(default_tags)
    return metric


def _check_number(value: Any) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value must be int or float, got {type(value)}.")


class Counter(Metric):
    """A number that only grows; exported as ``ray_<name>_total``."""

    _kind = "counter"

    def inc(self, value: Number = 1.0, tags: Optional[Tags] = None) -> None:
        """Adds value.

        Raises:
            TypeError: value is no number.
            ValueError: it is not above zero, or a tag has no value.
        """
        _check_number(value)
        if value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        self._send(value, tags)

    def _add(self, series: _Series, value: float) -> None:
        series.value += value


class Gauge(Metric):
    """A number that goes up and down."""

    _kind = "gauge"

    def set(self, value: Optional[Number], tags: Optional[Tags] = None) -> None:
        """Replaces the value; None does nothing.

        Raises:
            TypeError: value is no number.
            ValueError: a tag has no value.
        """
        if value is None:
            return
        _check_number(value)
        self._send(value, tags)

    def _add(self, series: _Series, value: float) -> None:
        series.value = value


class Histogram(Metric):
    """How often values fall between boundaries.

    Args:
        boundaries: upper ends of the buckets, above zero; one more bucket takes the rest.
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Optional[List[float]] = None,
        tag_keys: Optional[Tuple[str, ...]] = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError(
                "boundaries argument should be provided when using the Histogram class. "
                'e.g., Histogram("name", boundaries=[1.0, 2.0])'
            )
        for index, boundary in enumerate(boundaries):
            if boundary <= 0:
                raise ValueError(
                    f"Invalid `boundaries` argument at index {index}, {boundaries}. "
                    "Use positive values for the arguments."
                )
        self._boundaries = list(boundaries)

    def observe(self, value: Number, tags: Optional[Tags] = None) -> None:
        """Counts value into its bucket.

        Raises:
            TypeError: value is no number.
            ValueError: a tag has no value.
        """
        _check_number(value)
        self._send(value, tags)

    def _add(self, series: _Series, value: float) -> None:
        bounds = sorted(self._boundaries)
        index = next((i for i, bound in enumerate(bounds) if value <= bound), len(bounds))
        series.counts[index] += 1
        series.sum += value
        series.count += 1

    @property
    def info(self) -> Dict[str, Any]:
        """As of every metric, and ``boundaries``."""
        return {**super().info, "boundaries": list(self._boundaries)}
