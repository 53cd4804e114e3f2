"""Which cluster ``ray.init`` means if it is told none."""

import subprocess
import sys

import pytest
import ray
from ray.cluster_utils import Cluster


def test_a_cluster_for_tests_wants_to_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    try:
        ray.init(num_cpus=2, include_dashboard=False)  # one of its own: no `ray start` has begun one here
        assert ray.cluster_resources()["CPU"] == 2
        ray.shutdown()
        ray.init("auto")
        assert ray.cluster_resources()["CPU"] == 3
        ray.shutdown()
        with pytest.raises(ValueError, match="num_cpus"):
            ray.init("auto", num_cpus=2)
        ray.init()  # that asks for nothing: the one that this process has made will do
        assert ray.cluster_resources()["CPU"] == 3
        ray.shutdown()
    finally:
        ray.shutdown()
        made.shutdown()


def test_a_drivers_own_cluster_wants_to_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    def other(*address):
        """How many CPUs another driver finds."""
        source = f"import ray; ray.init(*{address!r}); print(int(ray.cluster_resources()['CPU']))"
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
        return int(done.stdout) if done.returncode == 0 else done.stderr

    assert "Could not find any running Ray instance" in other("auto")
    ray.init(num_cpus=17, include_dashboard=False)
    made = None
    try:
        assert other("auto") == 17
        assert other() != 17
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
        assert other("auto") == 3, "one that does not end with a driver goes first"
    finally:
        ray.shutdown()
        if made is not None:
            made.shutdown()
