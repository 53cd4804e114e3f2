"""Copies of references and handles: which of them count, and which do not."""

import copy
import pickle

import pytest
import ray
from ray.util.state import get_actor


@ray.remote(num_cpus=0)
class Keeper:
    def ping(self):
        return "here"

    def load(self, pickled):
        self.handle = pickle.loads(pickled)
        return ray.get(self.handle.ping.remote())


def _count(ref):
    counts = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
    return counts.get(ref if isinstance(ref, bytes) else ref.hex().encode(), {"local": 0})["local"]


def _dead(actor_id):
    return lambda: get_actor(actor_id).state == "DEAD"


def _alive(actor_id):
    return get_actor(actor_id).state == "ALIVE"


def test_a_copy_of_a_reference_counts_and_goes(cluster):
    ref = ray.put("value")
    key = ref.hex().encode()
    copies = [copy.copy(ref), copy.deepcopy({"inside": [ref]})]
    assert _count(key) == 3
    del ref
    assert _count(key) == 2 and ray.get(copies[0]) == "value"
    del copies
    assert _count(key) == 0


def test_a_reference_pickled_by_hand_stays(cluster):
    ref = ray.put("value")
    pickled = pickle.dumps(ref)
    assert _count(ref) == 2
    del ref
    assert ray.get(pickle.loads(pickled)) == "value"


def test_handles_are_not_among_the_counts(cluster):
    actor = Keeper.remote()
    assert ray.get(actor.ping.remote()) == "here"
    creation = b"f" * 16 + actor._actor_id.hex().encode()
    counts = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
    assert not any(key.startswith(creation) for key in counts)


def test_copies_of_a_handle_keep_the_actor(cluster, until):
    actor = Keeper.remote()
    actor_id = actor._actor_id.hex()
    ray.get(actor.ping.remote())
    for again in (copy.copy, copy.deepcopy, lambda handle: pickle.loads(pickle.dumps(handle))):
        other = again(actor)
        del actor
        assert ray.get(other.ping.remote()) == "here" and _alive(actor_id)
        actor = other
        del other
    del actor
    until(_dead(actor_id))


def test_a_handle_pickled_by_hand_does_not_keep_the_actor(cluster, until):
    actor, other = Keeper.remote(), Keeper.remote()
    actor_id = actor._actor_id.hex()
    pickled = pickle.dumps({"actor": actor})
    assert ray.get(other.load.remote(pickle.dumps(actor))) == "here"  # one that loads them may use it while it lives
    del actor
    until(_dead(actor_id))
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(pickle.loads(pickled)["actor"].ping.remote(), timeout=30)


def test_a_handle_within_a_value_keeps_the_actor(cluster, until):
    actor = Keeper.remote()
    actor_id = actor._actor_id.hex()
    value = ray.put([actor])
    ray.get(actor.ping.remote())
    del actor
    assert ray.get(ray.get(value)[0].ping.remote()) == "here" and _alive(actor_id)
    del value
    until(_dead(actor_id))
