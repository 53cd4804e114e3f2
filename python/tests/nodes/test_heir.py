"""A node that drains loses nothing: its copies and what it owns go to nodes that stay."""

import numpy as np
import pytest
import ray

PREEMPTION = "DRAIN_NODE_REASON_PREEMPTION"
WORKER = {"num_cpus": 1, "resources": {"w": 1}}


@ray.remote(num_cpus=0)
def where():
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=0)
def put():
    """Objects that the node of this task owns: large, small, and some inside another."""
    large, small = ray.put(np.arange(300_000)), ray.put("small")
    return [large, small, ray.put([ray.put(np.full(200_000, 7)), small])]


@ray.remote(num_cpus=0)
def total(array):
    return int(array.sum())


def alive(node):
    return next(n for n in ray.nodes() if n["NodeID"] == node)["Alive"]


@pytest.fixture
def drained(cli, until):
    """``drained(cluster, node, *options)`` drains a node and waits until it is gone."""

    def run(built, node, *more):
        done = cli(built, "drain-node", "--node-id", node, "--reason", PREEMPTION, "--reason-message", "spot", *more)
        assert done.returncode == 0, done.stderr
        until(lambda: not alive(node), 60)

    return run


def check(large, small, both):
    assert int(ray.get(large, timeout=60)[-1]) == 299_999
    assert ray.get(small, timeout=60) == "small"
    inner, again = ray.get(both, timeout=60)
    assert int(ray.get(inner, timeout=60).sum()) == 1_400_000
    assert ray.get(again, timeout=60) == "small"


def test_what_a_drained_node_owned_lives_on(cluster, drained):
    built = cluster({}, WORKER)
    node = ray.get(where.options(resources={"w": 0.1}).remote(), timeout=60)
    refs = ray.get(put.options(resources={"w": 0.1}).remote(), timeout=60)
    drained(built, node)
    check(*refs)
    # references that name the old owner still lead to the heir
    assert ray.get(total.remote(refs[0]), timeout=60) == sum(range(300_000))


def test_copies_for_other_owners_are_kept(cluster, drained, tmp_path):
    built = cluster({}, WORKER)
    runs = tmp_path / "runs"

    @ray.remote(num_cpus=0, resources={"w": 0.1})
    def make(i):
        with open(runs, "a") as file:
            file.write("x")
        return np.full(50_000, i)

    node = ray.get(where.options(resources={"w": 0.1}).remote(), timeout=60)
    refs = [make.remote(i) for i in range(20)]
    ray.wait(refs, num_returns=20, fetch_local=False, timeout=60)
    drained(built, node)
    assert [int(a[0]) for a in ray.get(refs, timeout=60)] == list(range(20))
    assert runs.read_text() == "x" * 20  # none was made again


def test_an_heir_that_drains_too(cluster, drained):
    larger = {"num_cpus": 1, "resources": {"v": 1}, "object_store_memory": 400 << 20}
    built = cluster({"object_store_memory": 100 << 20}, WORKER, larger)
    first = ray.get(where.options(resources={"w": 0.1}).remote(), timeout=60)
    second = ray.get(where.options(resources={"v": 0.1}).remote(), timeout=60)
    refs = ray.get(put.options(resources={"w": 0.1}).remote(), timeout=60)
    drained(built, first)
    assert alive(second)
    drained(built, second)
    check(*refs)


def test_a_busy_node_hands_over_before_its_deadline(cluster, drained):
    built = cluster({}, WORKER)

    @ray.remote(num_cpus=0, resources={"w": 0.1})
    class Holder:
        def put(self):
            return ray.get(put.options(resources={"w": 0.1}).remote())

        def node(self):
            return ray.get_runtime_context().get_node_id()

    holder = Holder.remote()
    refs = ray.get(holder.put.remote(), timeout=60)
    drained(built, ray.get(holder.node.remote(), timeout=60), "--deadline-remaining-seconds", "9")
    check(*refs)


def test_last_copy_is_pulled_by_two_nodes_while_its_node_drains(cluster, drained):
    built = cluster({}, WORKER, {"num_cpus": 1, "resources": {"a": 1}}, {"num_cpus": 1, "resources": {"b": 1}})

    @ray.remote(num_cpus=0, resources={"w": 0.1})
    def many():
        return [ray.put(np.full(2_000_000, i)) for i in range(6)]

    node = ray.get(where.options(resources={"w": 0.1}).remote(), timeout=60)
    refs = ray.get(many.remote(), timeout=60)
    sums = [total.options(resources={name: 0.01}).remote(r) for r in refs for name in ("a", "b")]
    drained(built, node)
    assert ray.get(sums, timeout=60) == [2_000_000 * i for i in range(6) for _ in "ab"]
