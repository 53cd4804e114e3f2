"""What programs rely on in tasks and actors that call each other."""

import asyncio
import time

import pytest
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@pytest.fixture
def one_cpu():
    ray.shutdown()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_many_parents_need_few_workers(one_cpu):
    """Children run before further parents begin, so that only a few workers wait."""

    @ray.remote
    def leaf():
        return 1

    @ray.remote
    def middle():
        return ray.get(leaf.remote())

    @ray.remote
    def top():
        return ray.get(middle.remote())

    assert sum(ray.get([top.remote() for _ in range(300)], timeout=60)) == 300
    assert len(ray.util.state.list_workers(filters=[("is_alive", "=", True)])) < 40


def test_a_waiting_task_lends_the_cpu_of_its_bundle(one_cpu):
    @ray.remote(num_cpus=1)
    def child():
        return 3

    @ray.remote(num_cpus=1)
    def parent():
        return ray.get(child.remote())

    group = ray.util.placement_group([{"CPU": 1}])
    for bundle in (-1, 0):
        strategy = PlacementGroupSchedulingStrategy(group, bundle, placement_group_capture_child_tasks=True)
        assert ray.get(parent.options(scheduling_strategy=strategy).remote(), timeout=30) == 3


def test_killing_an_actor_that_has_not_begun_uses_up_a_restart(one_cpu):
    @ray.remote(num_cpus=1)
    class Actor:
        def answer(self):
            return 42

    first = Actor.options(max_restarts=1, max_task_retries=-1).remote()
    ray.kill(first, no_restart=False)
    assert ray.get(first.answer.remote(), timeout=30) == 42
    ray.kill(first, no_restart=False)
    assert ray.get(Actor.remote().answer.remote(), timeout=30) == 42  # the CPU is free again


def test_a_method_is_found_behind_an_attribute_of_its_name(one_cpu):
    @ray.remote
    class Counter:
        def __init__(self):
            self.value = 7

        def value(self):
            return self.value

    assert ray.get(Counter.remote().value.remote(), timeout=30) == 7


def test_a_plain_method_of_an_async_actor_may_return_a_reference(one_cpu):
    @ray.remote
    class Holder:
        def __init__(self):
            self.kept = ray.put("kept")

        def reference(self):
            return self.kept

        async def other(self):
            await asyncio.sleep(0)

    ref = ray.get(Holder.remote().reference.remote(), timeout=30)
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == "kept"


def test_a_group_that_blocks_its_loop_blocks_no_other(one_cpu):
    @ray.remote(concurrency_groups={"slow": 1, "quick": 1})
    class Actor:
        @ray.method(concurrency_group="slow")
        async def sleep(self):
            time.sleep(1000)

        @ray.method(concurrency_group="quick")
        def answer(self):
            return "ok"

        async def default(self):
            return "default"

    actor = Actor.remote()
    actor.sleep.remote()
    actor.sleep.remote()
    assert ray.get([actor.answer.remote(), actor.default.remote()], timeout=30) == ["ok", "default"]
    with pytest.raises(ray.exceptions.RayTaskError, match="no concurrency group 'none'"):
        ray.get(actor.answer.options(concurrency_group="none").remote(), timeout=30)


def test_a_generator_that_is_retried_gives_no_item_twice(one_cpu):
    @ray.remote
    class Count:
        def __init__(self):
            self.calls = 0

        def next(self):
            self.calls += 1
            return self.calls

    @ray.remote(max_retries=2, retry_exceptions=[ValueError], num_cpus=0)
    def items(count, go):
        yield "first"
        if ray.get(count.next.remote()) < 3:
            ray.get(go.wait.remote())
            raise ValueError("again")
        yield "second"

    from ray._common.test_utils import SignalActor

    go = SignalActor.remote()
    stream = items.remote(Count.remote(), go)
    assert ray.get(next(stream)) == "first"  # taken and let go before the first attempt fails
    ray.get(go.send.remote())
    assert [ray.get(item) for item in stream] == ["second"]


def test_groups_of_objects_in_one_yield(one_cpu):
    @ray.remote(_num_objects_per_yield=2)
    def pairs():
        yield 1, 2
        yield [3, 4]

    assert [ray.get(ref) for ref in pairs.remote()] == [1, 2, 3, 4]

    @ray.remote(_num_objects_per_yield=2)
    def uneven():
        yield 1, 2
        yield 3, 4, 5

    got = [ref for ref in uneven.remote()]
    assert [ray.get(ref) for ref in got[:2]] == [1, 2]
    with pytest.raises(ValueError, match="groups of 2 objects, and yielded one of 3"):
        ray.get(got[2])

    @ray.remote
    class Actor:
        @ray.method(_num_objects_per_yield=3)
        async def triples(self):
            yield 1, 2, 3

    assert [ray.get(ref) for ref in Actor.remote().triples.remote()] == [1, 2, 3]
    with pytest.raises(ValueError, match="cannot be overridden per task call"):
        pairs.options(_num_objects_per_yield=3)


def test_streams_are_for_generators_only():
    for wanted in ("streaming", "dynamic"):
        with pytest.raises(ValueError, match="can only be used with generator functions"):
            ray.remote(num_returns=wanted)(lambda: 1)
        with pytest.raises(ValueError, match="can only be used with generator functions"):
            ray.remote(lambda: 1).options(num_returns=wanted)


def test_buffers_of_small_values_are_aligned(one_cpu):
    numpy = pytest.importorskip("numpy")
    for size in range(1, 60):
        assert ray.get(ray.put(numpy.ones(size, dtype=numpy.float32))).ctypes.data % 64 == 0


def test_a_pool_within_a_task_of_a_pool(one_cpu):
    from ray.util.multiprocessing import Pool
    from ray.util.multiprocessing.pool import PoolTaskError

    def outer(n):
        with Pool(1) as pool:
            return pool.map(abs, [-n, n])

    with Pool(1) as pool:
        assert pool.map_async(outer, [1, 2]).get(timeout=60) == [[1, 1], [2, 2]]
        results = list(pool.imap(lambda n: 1 // n, [1, 0]))
    assert results[0] == 1 and isinstance(results[1], PoolTaskError)
    assert isinstance(results[1].underlying, ZeroDivisionError)


def test_what_needs_a_connection_says_so():
    ray.shutdown()
    with pytest.raises(RuntimeError, match="hasn't been initialized"):
        ray.experimental.get_object_locations([])
    assert ray._private.worker.global_worker.current_job_id.is_nil()
    with pytest.raises(ValueError, match="not a valid namespace"):
        ray.init(namespace="")


def test_this_process_sees_its_node(one_cpu):
    from ray._private.resource_spec import HEAD_NODE_RESOURCE_NAME
    from ray._raylet import NodeID, ObjectRefGenerator

    node = ray._private.worker.global_worker.node
    assert node.unique_id == ray.get_runtime_context().get_node_id()
    assert NodeID.from_hex(node.node_id) and ObjectRefGenerator is ray.ObjectRefGenerator
    assert node.get_logs_dir_path().startswith(node.get_session_dir_path())
    assert ray.cluster_resources()[HEAD_NODE_RESOURCE_NAME] == 1


def test_devices_are_left_alone_if_the_user_says_so(monkeypatch):
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    ray.shutdown()
    ray.init(num_cpus=1, num_gpus=1, include_dashboard=False)

    @ray.remote(num_gpus=1)
    def visible():
        import os

        return os.environ.get("CUDA_VISIBLE_DEVICES")

    assert ray.get(visible.remote(), timeout=30) is None
    ray.shutdown()


def test_keys_of_the_store_keep_out_of_namespaces(one_cpu):
    from ray.experimental import internal_kv

    with pytest.raises(ray.exceptions.RaySystemError, match="Key can't start with @namespace_"):
        internal_kv._internal_kv_put("@namespace_x", "y")


def test_a_generator_may_fill_a_number_of_returns(one_cpu):
    @ray.remote(num_returns=3, max_retries=0)
    def values(count, fails):
        for i in range(count):
            yield i
        if fails:
            raise KeyError("no more")

    assert ray.get(values.remote(3, False)) == [0, 1, 2]
    assert ray.get(values.remote(4, False)) == [0, 1, 2]
    first, second, third = values.remote(1, True)
    assert ray.get(first) == 0
    for ref in (second, third):
        with pytest.raises(KeyError):
            ray.get(ref)
    with pytest.raises(ValueError, match="yielded 2 objects, but num_returns=3"):
        ray.get(values.remote(2, False)[2])


def test_a_generator_waits_after_each_item(one_cpu):
    """With room for one item it is resumed when that one is taken, as a generator of Python's is by next()."""

    @ray.remote(num_cpus=0)
    class Log:
        def __init__(self):
            self.seen = []

        def add(self, n):
            self.seen.append(n)

        def read(self):
            return self.seen

    @ray.remote(_generator_backpressure_num_objects=1)
    def numbers(log):
        for i in range(3):
            ray.get(log.add.remote(i))
            yield i

    log = Log.remote()
    stream = numbers.remote(log)
    for i in range(3):
        ray.wait([stream])
        time.sleep(0.2)  # long enough for it to run on, if it did
        assert ray.get(log.read.remote()) == list(range(i + 1))
        assert ray.get(next(stream)) == i


def test_large_items_of_a_generator_that_is_retried(one_cpu):
    numpy = pytest.importorskip("numpy")

    @ray.remote(max_retries=1, retry_exceptions=True)
    def blocks(marker):
        import os

        for i in range(3):
            yield numpy.full(1 << 20, i, dtype=numpy.uint8)
        if not os.path.exists(marker):
            open(marker, "w").close()
            raise ValueError("once")

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        kept = list(blocks.remote(folder + "/marker"))
        assert [int(ray.get(ref)[7]) for ref in kept] == [0, 1, 2]


def test_get_raises_as_soon_as_one_of_many_failed(one_cpu):
    """Whether the error comes before or behind what is slow, and whether it was there before."""
    from ray._common.test_utils import SignalActor

    @ray.remote(max_concurrency=3)
    class Actor:
        def fail(self):
            raise KeyError("bad")

        def slow(self, signal):
            ray.get(signal.wait.remote())
            return "slow"

    signal, actor = SignalActor.remote(), Actor.remote()
    slow = actor.slow.remote(signal)
    for order in (lambda bad: [bad, slow], lambda bad: [slow, bad]):
        with pytest.raises(KeyError):
            ray.get(order(actor.fail.remote()), timeout=30)
        known = actor.fail.remote()
        ray.wait([known])
        with pytest.raises(KeyError):
            ray.get(order(known), timeout=30)
    ray.get(signal.send.remote())
    assert ray.get(slow) == "slow"
