"""Pools, key-value calls, settings, graphs, helpers: with a fake of what they call."""

import importlib
import io
import subprocess
import sys
import threading

import pytest
import ray
from ray._core.refs import ObjectRef
from ray._private.ray_logging.logging_config import LoggingConfig
from ray.dag import ClassMethodNode, ClassNode, FunctionNode, InputNode
from ray.exceptions import RaySystemError
from ray.experimental import internal_kv
from ray.experimental.locations import get_object_locations
from ray.job_config import JobConfig
from ray.util.actor_pool import ActorPool
from ray.util.check_serialize import inspect_serializability
from ray.util.debug import log_once, reset_log_once


class FakeRay:
    """ray.get and ray.wait over values that are there already; refs are [value] in a box."""

    class Ref:
        def __init__(self, value, ready=True):
            self.value, self.ready = value, ready

    def get(self, ref):
        return ref.value

    def wait(self, refs, num_returns=1, timeout=None):
        ready = [ref for ref in refs if ref.ready][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]


@pytest.fixture
def fake_ray(monkeypatch):
    import ray

    fake = FakeRay()
    monkeypatch.setattr(ray, "get", fake.get, raising=False)
    monkeypatch.setattr(ray, "wait", fake.wait, raising=False)
    return fake


def double(actor, value):
    return FakeRay.Ref((actor, 2 * value))


def test_pool_keeps_the_order(fake_ray):
    pool = ActorPool(["a", "b"])
    assert [value for _, value in pool.map(double, range(5))] == [0, 2, 4, 6, 8]
    assert sorted(value for _, value in pool.map_unordered(double, range(5))) == [0, 2, 4, 6, 8]
    assert not pool.has_next() and pool.has_free()


def test_pool_takes_results_one_by_one(fake_ray):
    pool = ActorPool(["a"])
    for value in range(3):
        pool.submit(double, value)
    assert pool.has_next() and not pool.has_free() and pool.pop_idle() is None
    assert [pool.get_next()[1] for _ in range(3)] == [0, 2, 4]
    with pytest.raises(StopIteration):
        pool.get_next()
    pool.submit(double, 1)
    pool.submit(double, 2)
    pool.get_next_unordered()
    assert pool.get_next()[1] == 4


def test_pool_times_out(fake_ray):
    pool = ActorPool(["a"])
    pool.submit(lambda actor, value: FakeRay.Ref(value, ready=False), 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0)
    with pytest.raises(TimeoutError, match="thrown away"):
        pool.get_next(timeout=0, ignore_if_timedout=True)
    assert not pool.has_next() and pool.has_free()


def test_pool_refuses_an_actor_twice(fake_ray):
    pool = ActorPool(["a"])
    with pytest.raises(ValueError):
        pool.push("a")
    pool.push("b")
    assert pool.pop_idle() == "b"


def test_key_value_store(client):
    client.answers.update(
        {
            "kv.put": {"added": True},
            "kv.get": ({"found": True}, b"v"),
            "kv.exists": {"exists": True},
            "kv.del": {"count": 2},
            "kv.list": {"keys": ["a\xff"]},
        }
    )
    assert internal_kv._internal_kv_put("k", "v", namespace="n") is False
    assert client.calls[-1] == ("kv.put", {"ns": "n", "key": "k", "overwrite": True}, b"v")
    assert internal_kv._internal_kv_get(b"k") == b"v"
    assert internal_kv._internal_kv_exists("k") is True
    assert internal_kv._internal_kv_del("k", del_by_prefix=True) == 2
    assert internal_kv._internal_kv_list("") == [b"a\xff"]
    client.answers["kv.get"] = {"found": False}
    assert internal_kv._internal_kv_get("k") is None
    with pytest.raises(RaySystemError, match="@namespace_"):
        internal_kv._internal_kv_get("@namespace_x:k")
    with pytest.raises(TypeError):
        internal_kv._internal_kv_put("k", 5)


def test_object_locations(client):
    owner = b"\x0a" * 28
    copied, returned, stored = [ObjectRef(b"\1\0\0\0" + rest * 6, owner) for rest in (b"\2" * 4, b"\3" * 4, b"\0" * 4)]
    client.answers["objects.locations"] = {
        copied.hex(): {"nodes": ["n"], "size": 500_000, "did_spill": False},
        returned.hex(): {"size": 5},
        stored.hex(): {"size": 5},
    }
    found = get_object_locations([copied, returned, stored])
    assert found[copied] == {"node_ids": ["n"], "object_size": 500_000, "did_spill": False}
    assert found[returned] == {"node_ids": [], "object_size": 5, "did_spill": False}
    assert found[stored]["node_ids"] == ["0a" * 28], "what was put is at its owner's, however small"
    with pytest.raises(ray.exceptions.GetTimeoutError):
        get_object_locations([stored], 0)


def test_job_config():
    config = JobConfig(metadata={"a": "b"}, ray_namespace="n")
    config.set_metadata("c", "d")
    assert config.metadata == {"a": "b", "c": "d"} and config.ray_namespace == "n" and config.runtime_env == {}
    assert JobConfig.from_json({"runtime_env": {"env_vars": {"a": "b"}}}).runtime_env == {"env_vars": {"a": "b"}}
    with pytest.raises(ValueError, match="detached"):
        JobConfig(default_actor_lifetime="x")


def test_logging_config():
    config = LoggingConfig(encoding="JSON", additional_log_standard_attrs=["name"])
    assert LoggingConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="Invalid encoding type: x"):
        LoggingConfig(encoding="x")
    with pytest.raises(ValueError, match="attribute: x"):
        LoggingConfig(additional_log_standard_attrs=["x"])


def test_json_log_lines(client):
    import json
    import logging

    record = logging.LogRecord("lib", logging.INFO, "f.py", 3, "hello %s", ("you",), None)
    record.user = "me"
    row = json.loads(LoggingConfig(encoding="JSON", additional_log_standard_attrs=["name"])._formatter().format(record))
    assert (row["message"], row["levelname"], row["name"], row["user"]) == ("hello you", "INFO", "lib", "me")
    assert row["job_id"] == "01000000"
    line = LoggingConfig()._formatter().format(record)
    assert "hello you" in line and "user=me" in line


def test_log_once():
    assert log_once("a key") and not log_once("a key")
    reset_log_once("a key")
    assert log_once("a key")


class Holder:
    def __init__(self):
        self.lock = threading.Lock()


def test_inspect_serializability():
    out = io.StringIO()
    good, failures = inspect_serializability(Holder(), name="Holder", print_file=out)
    assert not good
    (failure,) = failures
    assert failure.name == "lock" and failure.path == ("Holder", "lock")
    assert "cannot pickle" in out.getvalue()
    lock = threading.Lock()

    def function():
        return lock

    good, failures = inspect_serializability(function, print_file=out)
    assert [failure.name for failure in failures] == ["lock"] and not good
    assert inspect_serializability([1, 2], print_file=out) == (True, set())


def test_graphs_are_built_and_not_run():
    class Body:
        def method(self):
            return 1

    node = FunctionNode(len, ("x",), {}, {})
    actor = ClassNode(Body, (node,), {})
    call = actor.method.bind(1)
    assert isinstance(call, ClassMethodNode) and call.get_method_name() == "method" and call.get_args() == (1,)
    assert actor._get_all_child_nodes() == [node]
    with pytest.raises(AttributeError, match="no method 'nothing'"):
        _ = actor.nothing
    with InputNode() as given:
        assert given[0].get_args()[1] == 0
    for thing in (node, call):
        with pytest.raises(NotImplementedError, match="not supported yet"):
            thing.execute()


@pytest.mark.parametrize(
    "module",
    ["ray.data", "ray.train", "ray.tune", "ray.serve", "ray.rllib", "ray.workflow", "ray.air", "ray.util.collective"],
)
def test_absent_parts_say_so(module):
    with pytest.raises(ImportError, match=f"not supported: {module} "):
        importlib.import_module(module)


@pytest.mark.parametrize(
    "name",
    [
        "actor.ActorHandle",
        "client_builder.ClientBuilder",
        "exceptions.RayError",
        "internal",
        "util.annotations.PublicAPI",
        "util.scheduling_strategies.NodeAffinitySchedulingStrategy",
    ],
)
def test_what_import_ray_makes_reachable(name):
    """Programs name these without importing their modules."""
    source = f"import ray; print(ray.{name})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
