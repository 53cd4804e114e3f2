"""SIGKILL in the middle of puts, gets, pulls, spills and restores: what is left ends, and takes no room."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import ray
from ray.exceptions import ActorDiedError, ObjectLostError

MIB = 1 << 20
STORE = 100 * MIB
NODE = dict(num_cpus=2, resources={"w": 10}, object_store_memory=STORE)

LOOPS = """
import os
import numpy as np
import ray

def blob(n):
    return np.full(8 << 20, n % 251, dtype=np.uint8)

def put(hit, refs):
    while True:
        ray.put(blob(1))
        hit()

def get(hit, refs):
    mine = ray.put(blob(2))
    while True:
        assert ray.get(mine).copy()[-1] == 2
        hit()

def pull(hit, refs):  # more than the store holds: each comes again and again
    while True:
        for n, ref in enumerate(refs):
            assert ray.get(ref)[-1] == n
            hit()

def spill(hit, refs):
    held = []
    while True:
        held.append(ray.put(blob(3)))
        del held[:-10]
        hit()

def restore(hit, refs):
    mine = [ray.put(blob(n)) for n in range(10)]
    while True:
        for n, ref in enumerate(mine):
            assert ray.get(ref)[-1] == n
            hit()

def loop(kind, directory, refs):
    out = open(os.path.join(directory, kind), "ab", buffering=0)
    globals()[kind](lambda: out.write(b"x"), refs)
"""
KINDS = ["put", "get", "pull", "spill", "restore"]


@pytest.fixture
def busy(tmp_path, until):
    """``busy()`` waits until every kind of loop is in the middle of its work."""
    (tmp_path / "hits").mkdir()

    def wait():
        counts = {}

        def moving():
            for kind in KINDS:
                path = tmp_path / "hits" / kind
                counts.setdefault(kind, []).append(path.stat().st_size if path.exists() else 0)
            return all(seen[-1] >= 12 and seen[-1] > seen[0] for seen in counts.values())

        until(moving, seconds=60)

    wait.directory = str(tmp_path / "hits")
    return wait


@pytest.fixture
def spilling(tmp_path):
    """Settings with which all nodes of a cluster spill below tmp_path/spill."""
    folder = {"type": "filesystem", "params": {"directory_path": str(tmp_path / "spill")}}
    return {"object_spilling_config": json.dumps(folder), "min_spilling_size": 16 * MIB}


@ray.remote(num_cpus=0, resources={"w": 0.1}, max_restarts=0)
class Busy:
    def pid(self):
        return os.getpid()

    def loop(self, kind, directory, refs):
        space = {}
        exec(LOOPS, space)
        space["loop"](kind, directory, refs)


@ray.remote(num_cpus=0, resources={"w": 0.1})
def make(n):
    return np.full(8 * MIB, n, dtype=np.uint8)


@ray.remote(num_cpus=0)
def fits():
    """Whether nearly the whole store can be had in memory."""
    return int(ray.get(ray.put(np.ones(STORE - 10 * MIB, dtype=np.uint8)))[-1])


def work(busy):
    """The loops, each in an actor on the node w, in the middle of their work; with their calls."""
    refs = [ray.put(np.full(8 * MIB, n, dtype=np.uint8)) for n in range(15)]
    actors = [Busy.remote() for _ in KINDS]
    pids = ray.get([actor.pid.remote() for actor in actors], timeout=60)
    calls = [actor.loop.remote(kind, busy.directory, refs) for actor, kind in zip(actors, KINDS)]
    busy()
    return refs, actors, pids, calls


def test_killed_workers(cluster, busy, spilling, spilled, until, tmp_path):
    cluster({"_system_config": spilling, "object_store_memory": 300 * MIB}, NODE)
    refs, actors, pids, calls = work(busy)
    assert spilled(tmp_path)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for call in calls:
        with pytest.raises(ActorDiedError):
            ray.get(call, timeout=60)
    until(lambda: not spilled(tmp_path))
    assert ray.get(fits.options(resources={"w": 0.1}).remote(), timeout=60) == 1
    assert [int(array[-1]) for array in ray.get(refs, timeout=60)] == list(range(15))


def test_killed_node(cluster, busy, spilling, spilled, until, tmp_path):
    built = cluster({"_system_config": spilling, "object_store_memory": 300 * MIB}, NODE)

    @ray.remote(num_cpus=0, resources={"w": 0.1})
    def put():
        return [ray.put(np.ones(MIB, dtype=np.uint8))]

    made = [make.remote(n) for n in range(4)]
    stored = ray.get(put.remote(), timeout=60)[0]
    refs, actors, pids, calls = work(busy)
    assert spilled(tmp_path)
    ends = [make.remote(n) for n in range(4, 8)]
    built.remove_node(built.workers[0], allow_graceful=False)
    for call in calls:
        with pytest.raises(ActorDiedError):
            ray.get(call, timeout=60)
    built.add_node(**NODE)
    assert [int(array[-1]) for array in ray.get(made + ends, timeout=60)] == list(range(8))
    with pytest.raises(ObjectLostError):
        ray.get(stored, timeout=60)
    del made, ends
    until(lambda: not spilled(tmp_path))  # the new node removes what the killed one left
    assert ray.get(fits.options(resources={"w": 0.1}).remote(), timeout=60) == 1
    assert [int(array[-1]) for array in ray.get(refs, timeout=60)] == list(range(15))


DRIVER = """
import sys, threading
ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote(num_cpus=0, resources={"w": 0.1})
def make(n):
    return blob(n)

refs = [make.remote(n) for n in range(10)]
loops = [threading.Thread(target=loop, args=(kind, sys.argv[2], refs)) for kind in sys.argv[3:]]
[thread.start() for thread in loops]
"""


def test_killed_driver(cluster, busy, spilling, spilled, until, tmp_path):
    built = cluster({"_system_config": spilling, "object_store_memory": STORE}, NODE)
    kept = ray.put(np.full(8 * MIB, 7, dtype=np.uint8))
    code = LOOPS + textwrap.dedent(DRIVER)
    driver = subprocess.Popen([sys.executable, "-c", code, built.address, busy.directory, *KINDS])
    try:
        busy()
        assert spilled(tmp_path)
    finally:
        driver.kill()
        driver.wait()
    assert ray.get(kept, timeout=60)[-1] == 7
    del kept
    until(lambda: not spilled(tmp_path))
    head = ray.get_runtime_context().get_node_id()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(head, soft=False)
    assert ray.get(fits.options(scheduling_strategy=here).remote(), timeout=60) == 1
