"""Tasks whose arguments together exceed the store wait for their turn, without holding anything."""

import os
import threading
import time

import numpy as np
import pytest
import ray
from ray._private.internal_api import memory_summary
from ray.util.state import list_tasks

MIB = 1 << 20


@ray.remote
class Gate:
    def __init__(self):
        self.is_open = False

    def open(self):
        self.is_open = True

    async def passed(self):
        import asyncio

        while not self.is_open:
            await asyncio.sleep(0.01)


@ray.remote
def first_of(array, gate):
    ray.get(gate.passed.remote())
    return int(array[0])


def test_those_that_wait_are_seen_and_can_be_cancelled(start, until):
    start(num_cpus=2, object_store_memory=80 * MIB)
    gate = Gate.options(num_cpus=0).remote()
    refs = [ray.put(np.full(15 * MIB, n, dtype=np.uint8)) for n in range(10)]
    tasks = [first_of.remote(ref, gate) for ref in refs]

    def states():
        rows = list_tasks(filters=[("name", "=", "first_of")], detail=True)
        return [row.state for row in rows]

    until(lambda: len(states()) == 10 and "RUNNING" in states() and states().count("PENDING_ARGS_FETCH") >= 4)
    assert "fetches queued, waiting for available memory" in memory_summary(stats_only=True)
    # Room for a further object is there, and in one piece, whatever waits.
    assert int(ray.get(ray.put(np.ones(15 * MIB, dtype=np.uint8)))[-1]) == 1
    ray.cancel(tasks[-1])
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(tasks[-1], timeout=60)
    ray.get(gate.open.remote())
    assert ray.get(tasks[:-1], timeout=120) == list(range(9))
    until(lambda: "fetches queued" not in memory_summary(stats_only=True))


def test_a_shared_argument_counts_once(start):
    start(num_cpus=2, object_store_memory=80 * MIB)
    shared = ray.put(np.full(35 * MIB, 7, dtype=np.uint8))

    @ray.remote
    def at(array, n):
        return int(array[n]) + n

    assert ray.get([at.remote(shared, n) for n in range(200)], timeout=120) == [7 + n for n in range(200)]


def test_tasks_that_wait_for_tasks_that_wait(start):
    """A task that has room for its argument waits for others that want room."""
    start(num_cpus=2, object_store_memory=80 * MIB)

    @ray.remote
    def size(array):
        return array.nbytes

    @ray.remote
    def outer(array, refs):
        return array.nbytes + sum(ray.get([size.remote(ref) for ref in refs]))

    refs = [ray.put(np.zeros(15 * MIB, dtype=np.uint8)) for _ in range(8)]
    found = ray.get([outer.remote(ref, refs) for ref in refs], timeout=120)
    assert found == [9 * 15 * MIB] * 8


@ray.remote
class Waits:
    """Owns tasks on its node: each holds 15 MiB, and waits on that node until there is a file."""

    def submit(self, count, gate):
        here = ray.get_runtime_context().get_node_id()

        @ray.remote
        def where(array):
            node = ray.get_runtime_context().get_node_id()
            while node == here and not os.path.exists(gate):
                time.sleep(0.05)
            return node, int(array[0])

        self.refs = [where.remote(ray.put(np.full(15 * MIB, n, dtype=np.uint8))) for n in range(count)]
        return here, self.refs


@pytest.mark.parametrize("drains", [False, True])
def test_those_that_wait_leave(cluster, cli, until, tmp_path, drains):
    """For a node that has room, and from a node that drains, also while nothing here gets on."""

    def late():
        rows = list_tasks(filters=[("name", "=", "where")], detail=True)
        return [row.state for row in rows].count("PENDING_ARGS_FETCH")

    made = cluster(dict(num_cpus=0), dict(num_cpus=1, object_store_memory=80 * MIB, resources={"first": 1}))
    owner = Waits.options(num_cpus=0, resources={"first": 0.1}).remote()
    gate = tmp_path / "gate"
    here, refs = ray.get(owner.submit.remote(8, str(gate)))
    until(lambda: late() >= 4)
    if drains:
        reason = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "test")
        drained = cli(made, "drain-node", "--node-id", here, *reason)
        assert drained.returncode == 0, drained.stderr
    made.add_node(num_cpus=1, object_store_memory=200 * MIB)
    ended, _ = ray.wait(refs, num_returns=7, timeout=90)  # all but the one that runs
    assert len(ended) == 7
    assert here not in [node for node, _ in ray.get(ended)]
    gate.touch()
    assert sorted(n for _, n in ray.get(refs, timeout=60)) == list(range(8))


def test_calls_wait_too(start, until, tmp_path):
    """What many calls of one actor are given does not fill the store, and each gets it in its turn."""
    address = start(num_cpus=2, object_store_memory=80 * MIB)
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0)
    class Adder:
        def __init__(self):
            self.seen = []

        def add(self, array, n):
            while not os.path.exists(gate):
                time.sleep(0.02)
            self.seen.append(n)
            return int(array[0])

        def all(self, array):
            return self.seen

    adders = [Adder.remote() for _ in range(2)]
    refs = [ray.put(np.full(15 * MIB, n, dtype=np.uint8)) for n in range(12)]
    calls = [adder.add.remote(ref, n) for n, ref in enumerate(refs) for adder in adders]

    def late():
        rows = list_tasks(filters=[("name", "=", "Adder.add")], detail=True)
        return ["room for its arguments" in (row.reason or "") for row in rows]

    until(lambda: len(late()) == 24 and sum(late()) >= 16)
    assert int(ray.get(ray.put(np.ones(15 * MIB, dtype=np.uint8)))[-1]) == 1
    assert "mmap" not in memory_summary(address["address"], stats_only=True)
    gate.touch()
    assert ray.get(calls, timeout=120) == [n for n in range(12) for _ in adders]
    assert ray.get([adder.all.remote(None) for adder in adders]) == [list(range(12))] * 2


def test_concurrent_calls_do_not_wait_for_each_other(start):
    """An earlier call may wait for a later one that runs beside it."""
    start(num_cpus=1, object_store_memory=80 * MIB)

    @ray.remote(num_cpus=0, max_concurrency=6)
    class Meets:
        def __init__(self):
            self.barrier = threading.Barrier(6)

        def meet(self, array):
            self.barrier.wait(60)
            return int(array[0])

    @ray.remote(num_cpus=0, concurrency_groups={"one": 1, "two": 1})
    class Groups:
        def __init__(self):
            self.event = threading.Event()

        @ray.method(concurrency_group="one")
        def waits(self, array):
            return self.event.wait(60)

        @ray.method(concurrency_group="two")
        def sets(self, array):
            self.event.set()

    refs = [ray.put(np.full(15 * MIB, n, dtype=np.uint8)) for n in range(6)]
    meets, groups = Meets.remote(), Groups.remote()
    assert ray.get([meets.meet.remote(ref) for ref in refs], timeout=90) == list(range(6))
    waits = [groups.waits.remote(ref) for ref in refs]
    ray.get(groups.sets.remote(refs[0]), timeout=90)
    assert ray.get(waits, timeout=90) == [True] * 6
