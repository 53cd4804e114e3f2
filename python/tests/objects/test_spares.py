"""Room that a node lends to its clients ahead of need: it saves a question a put, and is never in anybody's way."""

import json
import os
import threading

import numpy as np
import pytest
import ray
from ray._core import putting, state

MIB = 1 << 20


@pytest.fixture
def tight(start, tmp_path):
    """A node with a store of 80 MiB that spills to tmp_path, and only what does not fit."""
    spilling = {"type": "filesystem", "params": {"directory_path": str(tmp_path)}}
    config = {"object_spilling_config": json.dumps(spilling), "object_spilling_threshold": 1.0}
    start(num_cpus=4, object_store_memory=80 * MIB, _system_config=config)


@ray.remote(num_cpus=1)
class Putter:
    """A client that has stored several objects of one size, so that room is lent to it."""

    def fill(self, size=MIB):
        for _ in range(4):
            ray.put(np.zeros(size, dtype=np.uint8))
        client = state.client()
        client.flush()
        client.call("objects.locations", {"ids": []})  # a round trip: what was lent is here now
        return len(client._spares)

    def die(self):
        os.kill(os.getpid(), 9)

    def values(self, count, size):
        refs = [ray.put(np.full(size, n % 251, dtype=np.uint8)) for n in range(count)]
        return [int(value.min()) * 1000 + int(value.max()) for value in ray.get(refs)]


def test_puts_of_one_size_ask_once_in_a_while(start, monkeypatch):
    start(object_store_memory=100 * MIB)
    asked = []
    allocate = putting.Puts._allocate
    monkeypatch.setattr(putting.Puts, "_allocate", lambda self, *args: asked.append(1) or allocate(self, *args))
    client = state.client()
    for n in range(60):
        value = np.full(MIB, n, dtype=np.uint8)
        assert np.array_equal(ray.get(ray.put(value)), value)
        if n % 3 == 0:
            client.call("objects.locations", {"ids": []})  # the node has had the time to lend
    assert 2 <= len(asked) <= 20, "most puts find room at hand"


def test_a_full_store_takes_lent_room_back(tight, tmp_path, spilled):
    putters = [Putter.remote() for _ in range(3)]
    assert sum(ray.get([putter.fill.remote() for putter in putters])) > 0
    ref = ray.put(np.ones(79 * MIB, dtype=np.uint8))
    assert not spilled(tmp_path)
    assert ray.get([putter.fill.remote(200_000) for putter in putters]) is not None
    assert int(ray.get(ref).sum()) == 79 * MIB


def test_a_client_that_dies_gives_its_room_back(tight, tmp_path, spilled):
    putter = Putter.remote()
    assert ray.get(putter.fill.remote()) > 0
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(putter.die.remote())
    ray.put(np.ones(79 * MIB, dtype=np.uint8))
    assert not spilled(tmp_path)


def test_many_clients_and_threads_in_a_small_store(tight):
    """What is read is what was put, while room is lent and taken back all the time."""
    putters = [Putter.remote() for _ in range(3)]
    sizes = [300_000, MIB, 3 * MIB]
    asked = [putter.values.remote(24, size) for putter, size in zip(putters, sizes)]
    problems = []

    def put(mark):
        for n in range(40):
            value = np.full((MIB, 500_000)[n % 5 == 0], mark + n, dtype=np.uint8)
            if not np.array_equal(ray.get(ray.put(value)), value):
                problems.append((mark, n))

    threads = [threading.Thread(target=put, args=(mark,)) for mark in (10, 60, 110)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    for found in ray.get(asked):
        assert found == [n * 1001 for n in range(24)]


def test_a_value_that_cannot_be_written_gives_its_room_back(tight, monkeypatch, tmp_path, spilled):
    for _ in range(4):
        ray.put(np.zeros(MIB, dtype=np.uint8))
    client = state.client()
    client.call("objects.locations", {"ids": []})
    assert client._spares

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client.arena, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            ray.put(np.zeros(MIB, dtype=np.uint8))
    ray.put(np.ones(79 * MIB, dtype=np.uint8))
    assert not spilled(tmp_path)
