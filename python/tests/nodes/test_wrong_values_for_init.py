"""ray.init() with values of a wrong kind: nothing is started, and the error names the argument."""

import os
import shutil

import pytest
import ray


@pytest.fixture
def alone(monkeypatch):
    """No driver, and no cluster that an address could come from."""
    if not (os.environ.get("RAY_BINARY") or shutil.which("ray")):
        pytest.skip("needs the ray command: set RAY_BINARY")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray.is_initialized()
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    "given, error, says",
    [
        ({"resources": 3}, TypeError, "resources must be a dict, got 3"),
        ({"labels": {"zone": 3}}, TypeError, "labels must be text for text, got 'zone': 3"),
        ({"object_store_memory": "1GB"}, TypeError, "object_store_memory must be a number, got '1GB'"),
        ({"dashboard_port": "8265"}, TypeError, "dashboard_port must be a whole number, got '8265'"),
        ({"_system_config": "x"}, TypeError, "_system_config must be a dict, got 'x'"),
        ({"object_store_memory": 10}, ValueError, "did not start: The object store must have at least 78643200 bytes"),
        ({"resources": {"a": -1}}, ValueError, "did not start: The resource a is negative"),
    ],
)
def test_wrong_value(alone, given, error, says):
    with pytest.raises(error, match=says):
        ray.init("local", **given)
    assert not ray.is_initialized()
