"""Calls whose arguments and options come as data, and the places where old programs look for helpers."""

import ray


def test_remote_with_options_in_one_call(cluster):
    @ray.remote
    def pair(first, second=0):
        return first, second

    @ray.remote
    class Shelf:
        def __init__(self, first, second=0):
            self.held = first, second

        def look(self, suffix=""):
            return self.held, suffix

    assert ray.get(pair._remote([1], {"second": 2}, num_cpus=0.5)) == (1, 2)
    assert ray.get(pair._remote(args=[1], num_returns=2, resources={"spice": 1})) == [1, 0]
    assert pair._remote([1], num_returns=0) is None
    shelf = Shelf._remote(["jam"], {"second": 3}, num_cpus=0, name="pantry")
    assert ray.get(shelf.look._remote(kwargs={"suffix": "!"})) == (("jam", 3), "!")
    assert ray.get_actor("pantry") == shelf


def test_private_modules_are_found_by_attribute(cluster):
    assert ray._private.worker.global_worker.connected
    assert not hasattr(ray._private, "no_such_module")
