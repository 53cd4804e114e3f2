"""References in cycles: when Python's garbage is collected, although a process itself does nothing."""

import gc
import weakref

import numpy as np
import pytest
import ray

MIB = 1 << 20


class Knot:
    """An object in a cycle, with something large."""

    def __init__(self, mib=0):
        self.self = self
        self.large = ray.put(np.zeros(mib * MIB, dtype=np.uint8)) if mib else None


@ray.remote(num_cpus=1)
class Holder:
    def __init__(self, mib=0):
        gc.disable()
        self.knot = weakref.ref(Knot(mib))

    def holds(self):
        return self.knot() is not None


@pytest.fixture
def no_collector(monkeypatch):
    """A driver that collects nothing by itself, in a cluster of its own."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    ray.shutdown()
    gc.collect()


def test_an_object_that_does_not_fit(no_collector, until):
    ray.init("local", num_cpus=1, object_store_memory=100 * MIB, include_dashboard=False, log_to_driver=False)
    here, there = weakref.ref(Knot(20)), Holder.remote(20)
    assert ray.get(there.holds.remote()) and here() is not None
    ray.put(np.zeros(80 * MIB, dtype=np.uint8))  # let go at once: the store is not full for long
    until(lambda: here() is None and not ray.get(there.holds.remote()))


def test_now_and_then(no_collector, until):
    often = {"local_gc_interval_s": 2}
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, _system_config=often)
    here, there = weakref.ref(Knot()), Holder.remote()
    until(lambda: here() is None and not ray.get(there.holds.remote()))


def test_an_actor_that_waits(no_collector):
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    for _ in range(2):
        knot = Knot()
        knot.actor = Holder.remote()
        ray.get(knot.actor.holds.remote(), timeout=60)  # the second one: once the first is gone
        del knot
