"""What the tests of several directories share."""

import gc
import time

import pytest


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
        built.shutdown()


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
            time.sleep(0.02)

    return wait
