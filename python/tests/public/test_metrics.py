"""Metrics: checks, and what a push says."""

import json
import pickle

import pytest
from ray._core import frames
from ray.util import metrics
from ray.util.metrics import Counter, Gauge, Histogram


@pytest.fixture
def pushed(client, monkeypatch):
    """A recorder of its own; `pushed()` gives the records sent so far."""
    recorder = metrics._Recorder()
    monkeypatch.setattr(recorder, "_start", lambda: None)
    monkeypatch.setattr(metrics, "_recorder", recorder)

    def read():
        recorder.flush()
        records = []
        for frame in client.frames:
            _, method, params, _ = frames.read_call(frame, 8, len(frame))
            assert method == "metrics.record"
            records += params["records"]
        return records

    return read


def test_counter(pushed):
    counter = Counter("c", description="d", tag_keys=("k",))
    counter.inc(tags={"k": "a"})
    counter.inc(2, tags={"k": "a"})
    counter.inc(5, tags={"k": "b", "undeclared": "x"})
    records = pushed()
    assert records == [
        {"name": "c", "kind": "counter", "description": "d", "tags": {"k": "a"}, "value": 3.0},
        {"name": "c", "kind": "counter", "description": "d", "tags": {"k": "b"}, "value": 5.0},
    ]
    json.dumps(records)
    counter.inc(1, tags={"k": "a"})
    assert pushed()[-1]["value"] == 1.0  # what is new since the last push


def test_gauge_and_histogram(pushed):
    gauge = Gauge("g")
    gauge.set(1)
    gauge.set(None)
    gauge.set(4.5)
    histogram = Histogram("h", boundaries=[10.0, 1.0])
    for value in (0.5, 1.0, 5.0, 50.0):
        histogram.observe(value)
    by_name = {record["name"]: record for record in pushed()}
    assert by_name["g"]["value"] == 4.5
    assert by_name["h"]["boundaries"] == [1.0, 10.0]
    assert by_name["h"]["counts"] == [2, 1, 1]
    assert (by_name["h"]["sum"], by_name["h"]["count"]) == (56.5, 4)


def test_default_tags(pushed):
    counter = Counter("c", tag_keys=("a", "b"))
    assert counter.set_default_tags({"a": "1"}) is counter
    with pytest.raises(ValueError, match="Missing value for tag key.*b"):
        counter.inc()
    counter.inc(tags={"b": "2"})
    assert pushed()[0]["tags"] == {"a": "1", "b": "2"}
    with pytest.raises(ValueError):
        counter.set_default_tags({"c": "3"})
    with pytest.raises(TypeError):
        counter.set_default_tags({"a": 1})
    assert counter.info == {"name": "c", "description": "", "tag_keys": ("a", "b"), "default_tags": {"a": "1"}}


def test_bad_arguments():
    for value in (0, -1):
        with pytest.raises(ValueError):
            Counter("c").inc(value)
    for call in (lambda: Counter("c").inc("1"), lambda: Gauge("g").set("x"), lambda: Counter("c", tag_keys="a")):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        Counter(5)
    with pytest.raises(ValueError):
        Counter("")
    for boundaries in (None, [], [0.0, 1.0], [-1.0]):
        with pytest.raises(ValueError):
            Histogram("h", boundaries=boundaries)


def test_invalid_names_are_thrown_away(pushed):
    with pytest.warns(UserWarning, match="Invalid metric name"):
        Counter("a b").inc()
    assert pushed() == []


def test_pickling():
    counter = Counter("c", "d", ("k",)).set_default_tags({"k": "v"})
    assert pickle.loads(pickle.dumps(counter)).info == counter.info
    histogram = Histogram("h", boundaries=[1.0])
    assert pickle.loads(pickle.dumps(histogram)).info == histogram.info


def test_kept_without_a_connection(pushed, client):
    client.dead = RuntimeError("gone")
    Counter("c").inc()
    assert pushed() == []
    client.dead = None
    assert pushed()[0]["value"] == 1.0
