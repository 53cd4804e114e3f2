"""A node with GPUs keeps them for what needs some."""

import ray


@ray.remote(num_cpus=1)
def node():
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=1)
class Holder:
    def node(self):
        return ray.get_runtime_context().get_node_id()


def test_tasks_without_gpus_leave_a_gpu_node_until_the_others_are_full(cluster, until):
    built = cluster({"num_cpus": 2, "num_gpus": 1})
    here = ray.get_runtime_context().get_node_id()
    assert ray.get(node.remote(), timeout=60) == here  # there is no other
    other = built.add_node(num_cpus=1).node_id
    # This node hears of the other one a moment after the head.
    until(lambda: ray.get(node.remote(), timeout=60) == other)
    assert ray.get(node.options(num_gpus=1).remote(), timeout=60) == here
    until(lambda: ray.available_resources().get("CPU") == 3)
    holder = Holder.remote()
    assert ray.get(holder.node.remote(), timeout=60) == other
    # The other node is full now: nothing waits for it.
    assert ray.get([node.remote() for _ in range(3)], timeout=60) == [here] * 3


def test_they_stay_if_that_is_turned_off(monkeypatch, cluster, until):
    monkeypatch.setenv("RAY_scheduler_avoid_gpu_nodes", "0")
    built = cluster({"num_cpus": 1, "num_gpus": 1})
    here = ray.get_runtime_context().get_node_id()
    assert ray.get(node.remote(), timeout=60) == here
    built.add_node(num_cpus=1)
    until(lambda: len(ray.nodes()) == 2)
    assert {ray.get(node.remote(), timeout=60) for _ in range(10)} == {here}
