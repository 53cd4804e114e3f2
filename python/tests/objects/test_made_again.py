"""What is lost with a node and made again: by an actor, from what was put, and what a new life of an actor needs."""

import numpy as np
import pytest
import ray
from ray.exceptions import ActorDiedError

NODE = dict(num_cpus=2, resources={"spot": 1})


def replace(built):
    """Kills the only worker node; another one takes its place."""
    node = built.workers.pop()
    built.workers.append(built.add_node(**NODE))
    built.remove_node(node, allow_graceful=False)


def test_an_actor_makes_what_its_method_returned_again(cluster):
    built = cluster({"num_cpus": 0}, NODE)

    @ray.remote(max_restarts=-1, max_task_retries=-1, resources={"spot": 0.1})
    class Maker:
        def __init__(self):
            self.calls = 0

        def make(self):
            self.calls += 1
            return np.full(300_000, self.calls)

    maker = Maker.remote()
    first, second = maker.make.remote(), maker.make.remote()
    ray.wait([first, second], num_returns=2, fetch_local=False)
    for ref in (second, first):
        replace(built)
        assert int(ray.get(ref, timeout=60)[0]) == 1  # each life counts anew, and makes what is asked for
        assert int(ray.get(maker.make.remote(), timeout=60)[0]) == 2


def test_what_was_put_stays_for_tasks_that_may_run_again(cluster):
    built = cluster({"num_cpus": 0}, NODE)

    @ray.remote(resources={"spot": 0.1})
    def twice(array):
        return array * 2

    source = ray.put(np.arange(300_000))
    doubled = [twice.remote(source) for _ in range(5)]
    ray.wait(doubled, num_returns=5, fetch_local=False)
    del source
    for _ in range(2):
        replace(built)
        assert [int(array[-1]) for array in ray.get(doubled, timeout=60)] == [599_998] * 5


def test_a_freed_argument_is_made_again_for_a_task_that_runs_again(cluster):
    built = cluster({"num_cpus": 0}, NODE)

    @ray.remote(resources={"spot": 0.1})
    def make():
        return np.arange(300_000)

    @ray.remote(resources={"spot": 0.1})
    def twice(array):
        return array * 2

    source = make.remote()
    doubled = twice.remote(source)
    ray.wait([doubled], fetch_local=False)
    ray._private.internal_api.free(source)
    with pytest.raises(ray.exceptions.ObjectFreedError):
        ray.get(source, timeout=30)
    replace(built)
    assert int(ray.get(doubled, timeout=60)[-1]) == 599_998


def test_a_restart_that_lacks_an_argument_says_which(cluster):
    built = cluster({"num_cpus": 0, "enable_object_reconstruction": False}, NODE)

    @ray.remote(resources={"spot": 0.1})
    def make():
        return np.arange(300_000)

    @ray.remote(max_restarts=1, resources={"spot": 0.1})
    class Reader:
        def __init__(self, array):
            self.last = int(array[-1])

        def read(self):
            return self.last

    reader = Reader.remote(make.remote())
    assert ray.get(reader.read.remote(), timeout=60) == 299_999
    replace(built)
    with pytest.raises(ActorDiedError) as caught:
        for _ in range(600):
            try:
                ray.get(reader.read.remote(), timeout=60)
            except ray.exceptions.ActorUnavailableError:
                ray.wait([make.options(resources={"spot": 0.01}).remote()], timeout=1)
    assert "arguments" in str(caught.value) and "ObjectLostError" in str(caught.value)
