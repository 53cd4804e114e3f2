"""Where tasks go: to their large inputs if there is room, or nowhere if they are bound to what cannot run them."""

import time

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@pytest.fixture(scope="module")
def two_nodes():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    far = cluster.add_node(num_cpus=2, resources={"far": 1})
    ray.init(address=cluster.address)
    cluster.wait_for_nodes()
    yield far.node_id
    ray.shutdown()
    cluster.shutdown()


@ray.remote(resources={"far": 0.01})
def make(size):
    return b"x" * size


@ray.remote
def where(*values):
    return ray.get_runtime_context().get_node_id(), sum(len(value) for value in values)


def made(size):
    ref = make.remote(size)
    ray.wait([ref], fetch_local=False)
    return ref


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline


def test_the_task_goes_to_its_data(two_nodes):
    here = ray.get_runtime_context().get_node_id()
    wait_until(lambda: ray.get(where.remote())[0] == here)  # a worker is there
    large = made(8 << 20)
    assert ray.get(where.remote(large)) == (two_nodes, 8 << 20)
    assert ray.get(where.remote(made(200 << 10))) == (here, 200 << 10)  # brought here as fast
    own = ray.put(b"y" * (32 << 20))
    assert ray.get(where.remote(large, own)) == (here, 40 << 20)  # more of it is here


def test_one_that_finds_no_room_comes_back(two_nodes):
    @ray.remote(num_cpus=2, resources={"far": 0.01})
    class Busy:
        def ready(self):
            pass

    here = ray.get_runtime_context().get_node_id()
    ref = made(8 << 20)
    busy = Busy.remote()
    ray.get(busy.ready.remote())
    began = time.monotonic()
    assert ray.get(where.remote(ref), timeout=60) == (here, 8 << 20)
    assert time.monotonic() - began < 50
    ray.kill(busy)


def test_bound_to_a_node_that_cannot(two_nodes):
    """It fails at once, on the driver's node as on another; a busy node only if the strategy says so."""
    here = ray.get_runtime_context().get_node_id()
    for node in (here, two_nodes):
        bound = NodeAffinitySchedulingStrategy(node, soft=False)
        with pytest.raises(ray.exceptions.TaskUnschedulableError, match="nowhere"):
            ray.get(where.options(scheduling_strategy=bound, resources={"nowhere": 1}).remote(), timeout=30)

        @ray.remote(num_cpus=2, scheduling_strategy=bound)
        class Busy:
            def ready(self):
                pass

        busy = Busy.remote()
        ray.get(busy.ready.remote())
        at_once = NodeAffinitySchedulingStrategy(node, soft=False, _fail_on_unavailable=True)
        with pytest.raises(ray.exceptions.TaskUnschedulableError, match="busy"):
            ray.get(where.options(scheduling_strategy=at_once).remote(), timeout=30)
        with pytest.raises(ray.exceptions.ActorUnschedulableError, match="busy"):
            ray.get(Busy.options(scheduling_strategy=at_once).remote().ready.remote(), timeout=30)
        waits = where.options(scheduling_strategy=bound).remote()
        ray.kill(busy)
        assert ray.get(waits, timeout=30)[0] == node


def test_many_share_the_nodes(two_nodes):
    """All of their inputs are on one node; what it cannot take at once runs here."""

    @ray.remote
    def slow(value):
        time.sleep(0.3)
        return ray.get_runtime_context().get_node_id()

    ref = made(8 << 20)
    nodes = ray.get([slow.remote(ref) for _ in range(24)], timeout=120)
    assert set(nodes) == {two_nodes, ray.get_runtime_context().get_node_id()}
