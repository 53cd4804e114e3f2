"""Clusters of several node processes whose nodes come, drain and go."""

import contextlib
import gc
import os
import subprocess
import sys
import time

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "disabled")

BINARY = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")


@pytest.fixture
def cluster():
    """``cluster(head, *nodes)``: a cluster for one test, connected; its ``workers`` are the nodes."""
    import ray
    from ray.cluster_utils import Cluster

    made = []

    def begin(head, *nodes):
        built = Cluster(initialize_head=True, head_node_args=dict(dict(num_cpus=1, include_dashboard=False), **head))
        made.append(built)
        built.workers = [built.add_node(**node) for node in nodes]
        built.wait_for_nodes()
        ray.init(address=built.address, log_to_driver=False)
        return built

    yield begin
    gc.collect()
    ray.shutdown()
    for built in made:
        with contextlib.suppress(ProcessLookupError):
            built.shutdown()


@pytest.fixture
def cli():
    """``cli(cluster, *words)`` runs the command line against a cluster."""

    def run(cluster, *words):
        env = dict(os.environ, RAY_ADDRESS=cluster.address)
        return subprocess.run([BINARY, *words], env=env, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def until():
    """``until(condition, seconds=30)``: the first true value of condition()."""

    def wait(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    return wait
