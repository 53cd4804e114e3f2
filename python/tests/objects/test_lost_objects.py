"""A node dies with objects: which are made again, which are errors, and what those say."""

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError, ObjectReconstructionFailedError, OwnerDiedError

NODE = dict(num_cpus=1, resources={"spot": 1})


def kill(cluster, node):
    """Kills a node; it counts as dead soon."""
    cluster.remove_node(node, allow_graceful=False)


def test_chain_is_made_again_once(cluster, tally):
    built = cluster({}, NODE)
    first, second = tally(), tally()

    @ray.remote(resources={"spot": 0.1})
    def make():
        first.hit()
        return np.arange(300_000)

    @ray.remote(resources={"spot": 0.1})
    def twice(array):
        second.hit()
        return array * 2

    source = make.remote()
    doubled = twice.remote(source)
    ray.wait([doubled], fetch_local=False)
    built.add_node(**NODE)
    kill(built, built.workers[0])
    assert (first.count(), second.count()) == (1, 1)  # nobody has asked yet
    assert int(ray.get(doubled, timeout=60)[-1]) == 599_998
    assert int(ray.get(source, timeout=60)[-1]) == 299_999
    assert (first.count(), second.count()) == (2, 2)


def test_dropped_argument_is_made_again_too(cluster, tally):
    built = cluster({}, NODE)
    runs = tally()

    @ray.remote(resources={"spot": 0.1})
    def make():
        runs.hit()
        return np.arange(300_000)

    @ray.remote(resources={"spot": 0.1})
    def twice(array):
        return array * 2

    doubled = twice.remote(make.remote())
    ray.wait([doubled], fetch_local=False)
    built.add_node(**NODE)
    kill(built, built.workers[0])
    assert int(ray.get(doubled, timeout=60)[-1]) == 599_998
    assert runs.count() == 2


def test_task_without_retries_is_not_repeated(cluster):
    built = cluster({}, NODE)

    @ray.remote(resources={"spot": 0.1}, max_retries=0)
    def make():
        return np.arange(300_000)

    ref = make.remote()
    ray.wait([ref], fetch_local=False)
    node = next(row["NodeID"] for row in ray.nodes() if row["Resources"].get("spot"))
    kill(built, built.workers[0])
    with pytest.raises(ObjectReconstructionFailedError, match="max_retries=0") as caught:
        ray.get(ref, timeout=60)
    text = str(caught.value)
    assert ref.hex() in text and node in text and "died at" in text


def test_actor_results_are_not_repeated(cluster):
    built = cluster({}, NODE)

    @ray.remote(resources={"spot": 0.1})
    class Maker:
        def make(self):
            return np.arange(300_000)

    maker = Maker.remote()
    ref = maker.make.remote()
    ray.wait([ref], fetch_local=False)
    kill(built, built.workers[0])
    with pytest.raises(ObjectLostError, match="actor"):
        ray.get(ref, timeout=60)


def test_switched_off(cluster, tally):
    built = cluster(dict(enable_object_reconstruction=False), NODE)
    runs = tally()

    @ray.remote(resources={"spot": 0.1})
    def make():
        runs.hit()
        return np.arange(300_000)

    ref = make.remote()
    ray.wait([ref], fetch_local=False)
    built.add_node(**NODE)
    kill(built, built.workers[0])
    with pytest.raises(ObjectLostError, match="switched off") as caught:
        ray.get(ref, timeout=60)
    assert type(caught.value) is ObjectLostError
    assert runs.count() == 1


def test_put_dies_with_its_owner(cluster):
    built = cluster({}, NODE)

    @ray.remote(resources={"spot": 0.1})
    def put():
        return [ray.put(np.arange(300_000)), ray.put("small")]

    large, small = ray.get(put.remote())
    node = next(row["NodeID"] for row in ray.nodes() if row["Resources"].get("spot"))
    kill(built, built.workers[0])
    for ref in (large, small):
        with pytest.raises(OwnerDiedError, match="died at") as caught:
            ray.get(ref, timeout=60)
        assert node in str(caught.value) and ref.hex() in str(caught.value)


def test_object_outlives_the_worker_that_made_it(start):
    start()

    @ray.remote
    class Maker:
        def put(self):
            return [ray.put(np.arange(300_000)), ray.put("small")]

    maker = Maker.remote()
    large, small = ray.get(maker.put.remote())
    ray.kill(maker)
    assert int(ray.get(large, timeout=30)[-1]) == 299_999
    assert ray.get(small, timeout=30) == "small"


def test_ten_thousand_objects_lost_at_once(cluster, tally):
    node = dict(num_cpus=1, resources={"spot": 1}, object_store_memory=300 << 20)
    built = cluster({"object_store_memory": 300 << 20}, node)
    runs = tally()

    @ray.remote(resources={"spot": 1}, num_returns=1000)
    def make(first):
        runs.hit()
        return [np.full(13_000, first + i) for i in range(1000)]

    refs = sum((make.remote(1000 * i) for i in range(10)), [])
    ray.wait(refs, num_returns=len(refs), fetch_local=False)
    built.add_node(**node)
    kill(built, built.workers[0])
    some = list(range(0, 10_000, 1000)) + [9_999]
    assert [int(array[0]) for array in ray.get([refs[i] for i in some], timeout=100)] == some
    assert runs.count() == 20
    assert len(ray.wait(refs, num_returns=len(refs), fetch_local=False, timeout=100)[0]) == len(refs)


def test_items_of_a_generator_are_made_again(cluster, tally):
    built = cluster({}, NODE)
    runs = tally()

    @ray.remote(resources={"spot": 0.1})
    def blocks():
        runs.hit()
        for i in range(4):
            yield np.full(300_000, i)

    kept = list(blocks.remote())
    built.add_node(**NODE)
    kill(built, built.workers[0])
    assert [int(ray.get(ref, timeout=60)[0]) for ref in kept] == [0, 1, 2, 3]
    assert runs.count() == 2  # once for all of them


@pytest.mark.filterwarnings("ignore:num_returns=")
def test_items_that_a_value_refers_to_are_made_again(cluster, tally):
    """num_returns="dynamic": the items are the caller's, not those of the node that made them."""
    built = cluster({}, NODE)
    runs, closed = tally(), tally()

    @ray.remote(num_returns="dynamic", resources={"spot": 0.1})
    def blocks():
        runs.hit()
        yield "small"
        for i in range(closed.count() or 3):
            yield np.full(300_000, i)

    refs = list(ray.get(blocks.remote()))
    assert {ref.task_id() for ref in refs} == {refs[0].task_id()}
    second = built.add_node(**NODE)
    kill(built, built.workers[0])
    assert ray.get(refs[0], timeout=60) == "small" and runs.count() == 1
    assert [int(ray.get(ref, timeout=60)[0]) for ref in refs[1:]] == [0, 1, 2]
    assert runs.count() == 2
    more = list(ray.get(blocks.remote()))
    closed.hit()  # from now on it breaks its promise
    built.add_node(**NODE)
    kill(built, second)
    assert int(ray.get(more[1], timeout=60)[0]) == 0
    with pytest.raises(ValueError, match="yielded fewer items than before") as caught:
        ray.get(more[3], timeout=60)
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


def test_a_freed_object_is_gone_at_once(cluster):
    cluster({"num_cpus": 1})
    ref = ray.remote(lambda: np.zeros(300_000)).remote()
    assert ray.get(ref).sum() == 0
    ray._private.internal_api.free([ref])
    with pytest.raises(ray.exceptions.ObjectFreedError):
        ray.get(ref, timeout=30)


def test_a_reference_of_another_cluster_says_so(cluster):
    """A reference that a file kept over the end of its cluster: an error, and nobody waits for ever."""
    built = cluster({})
    kept = ray.cloudpickle.dumps(ray.put(np.zeros(100_000)))
    ray.shutdown()
    built.shutdown()
    cluster({})
    with pytest.raises(OwnerDiedError, match="is no node of this cluster"):
        ray.get(ray.cloudpickle.loads(kept), timeout=30)

    @ray.remote
    def use(array):
        return array

    with pytest.raises(ray.exceptions.RayTaskError, match="is no node of this cluster"):
        ray.get(use.remote(ray.cloudpickle.loads(kept)), timeout=30)
    assert ray.wait([ray.put(1)], timeout=30)[0]


def test_lineage_is_kept_within_its_bound(cluster, tally):
    """What was made first is not made again: its task was forgotten for those that came after."""
    built = cluster({"_system_config": {"max_lineage_bytes": 20_000}}, NODE)
    calls = tally()

    @ray.remote(resources={"spot": 0.01})
    def make(n):
        calls.hit()
        return np.full(200_000, n, dtype=np.uint8)

    refs = []
    for n in range(60):  # one after the other: lineage is given up in the order of the tasks' ends
        refs.append(make.remote(n))
        ray.wait(refs[-1:], fetch_local=False)
    built.add_node(**NODE)
    kill(built, built.workers[0])
    assert int(ray.get(refs[-1], timeout=60)[0]) == 59
    with pytest.raises(ObjectReconstructionFailedError, match="RAY_max_lineage_bytes=20000"):
        ray.get(refs[0], timeout=60)
    assert calls.count() == 61


def test_a_copy_that_somebody_made_is_used_before_a_task_is_run_again(cluster, tally):
    built = cluster({}, NODE, dict(num_cpus=1, resources={"other": 1}))
    runs = tally()

    @ray.remote(num_cpus=0, resources={"spot": 0.1}, max_restarts=0)
    class Maker:
        def make(self):
            return np.arange(300_000)

    @ray.remote(resources={"spot": 0.1})
    def make():
        runs.hit()
        return np.arange(400_000)

    @ray.remote(num_cpus=0, resources={"other": 0.1})
    class Reader:
        def read(self, refs):
            self.refs = refs
            return [len(value) for value in ray.get(refs)]

    maker, reader = Maker.remote(), Reader.remote()
    refs = [maker.make.remote(), make.remote()]
    assert ray.get(reader.read.remote(refs), timeout=60) == [300_000, 400_000]
    kill(built, built.workers[0])
    # There is no other node that could run make, and nothing that could run Maker.make again.
    assert [int(value[-1]) for value in ray.get(refs, timeout=60)] == [299_999, 399_999]
    assert runs.count() == 1
