"""The name under which an actor's call is listed."""

import ray
from ray.util.state import list_tasks


def listed(actor):
    filters = [("actor_id", "=", actor._actor_id.hex()), ("type", "=", "ACTOR_TASK")]
    return sorted((row.name, row.func_or_class_name) for row in list_tasks(filters=filters))


def test_what_an_actor_calls_itself_stands_for_its_class(cluster, until):
    @ray.remote
    class Plain:
        def call(self):
            return 1

    @ray.remote
    class Named:
        def __repr__(self):
            return "shard-7"

        def call(self):
            return 1

    plain, named = Plain.remote(), Named.remote()
    assert ray.get([plain.call.remote(), named.call.remote(), named.call.options(name="mine").remote()], timeout=60)
    until(lambda: listed(plain) == [("Plain.call", "Plain.call")])
    until(lambda: listed(named) == [("mine", "Named.call"), ("shard-7.call", "Named.call")])
