"""ray drain-node: who may refuse, what a draining node still does, and what becomes of its work."""

import glob
import os
import signal
import time

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

IDLE = "DRAIN_NODE_REASON_IDLE_TERMINATION"
PREEMPTION = "DRAIN_NODE_REASON_PREEMPTION"
MIB = 1 << 20


@ray.remote
def where():
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=0)
class Counter:
    def __init__(self):
        self.n = 0

    def add(self):
        self.n += 1
        return self.n

    def where(self):
        return ray.get_runtime_context().get_node_id()


def on(name):
    return ray.get(where.options(num_cpus=0, resources={name: 0.001}).remote(), timeout=30)


def drain(cli, cluster, node, reason, message="test", *more):
    return cli(cluster, "drain-node", "--node-id", node, "--reason", reason, "--reason-message", message, *more)


def stopped(path):
    with open(path) as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def row(node):
    return next(n for n in ray.nodes() if n["NodeID"] == node)


def test_an_idle_drain_is_refused_by_a_busy_node(cluster, cli, until):
    built = cluster({}, {"resources": {"w": 1}})
    node = on("w")
    actor = Counter.options(resources={"w": 0.1}).remote()
    assert ray.get(actor.add.remote(), timeout=30) == 1
    done = drain(cli, built, node, IDLE)
    assert done.returncode == 1
    assert "The drain request is not accepted: The node to be idle terminated is no longer idle." in done.stderr
    assert "1 actor lives here" in done.stderr
    assert row(node)["Alive"] and ray.get(actor.add.remote(), timeout=30) == 2
    ray.kill(actor)
    until(lambda: drain(cli, built, node, IDLE, "idle for long enough").returncode == 0)
    until(lambda: not row(node)["Alive"])
    assert (row(node)["DeathReason"], row(node)["DeathReasonMessage"]) == (4, "idle for long enough")
    assert drain(cli, built, node, IDLE).returncode == 0  # it is gone, which is what was wanted


def test_a_draining_node_takes_no_new_work(cluster, cli, until):
    built = cluster({"resources": {"h": 1}}, {"num_cpus": 2, "resources": {"w": 1}})
    head, node = on("h"), on("w")
    keeper = Counter.options(resources={"w": 0.1}).remote()
    ray.get(keeper.add.remote(), timeout=30)
    assert drain(cli, built, node, PREEMPTION).returncode == 0
    assert ray.get(where.options(scheduling_strategy="SPREAD").remote(), timeout=30) == head
    soft = NodeAffinitySchedulingStrategy(node, soft=True)
    assert ray.get(where.options(scheduling_strategy=soft).remote(), timeout=30) == head
    hard = NodeAffinitySchedulingStrategy(node, soft=False)
    with pytest.raises(ray.exceptions.TaskUnschedulableError):
        ray.get(where.options(scheduling_strategy=hard).remote(), timeout=30)
    blocker = Counter.options(num_cpus=1, resources={"h": 0.1}).remote()
    ray.get(blocker.add.remote(), timeout=30)
    waits = where.remote()  # only the draining node has room
    assert not ray.wait([waits], timeout=1)[0]
    group = placement_group([{"CPU": 1}])
    assert not group.wait(1)
    assert ray.get(keeper.add.remote(), timeout=30) == 2  # what is there goes on
    ray.kill(blocker)
    assert group.wait(30) and placement_group_table(group)["bundles_to_node_id"] == {0: head}
    remove_placement_group(group)  # in case it was before the task
    assert ray.get(waits, timeout=30) == head
    ray.kill(keeper)
    until(lambda: not row(node)["Alive"])
    assert (row(node)["DeathReason"], row(node)["DeathReasonMessage"]) == (3, "test")


def test_what_is_queued_goes_elsewhere(cluster, cli, until):
    built = cluster({"num_cpus": 0}, {"num_cpus": 1, "resources": {"w": 1}})
    node = on("w")

    @ray.remote(max_retries=0)
    def nap():
        time.sleep(1)
        return ray.get_runtime_context().get_node_id()

    refs = [nap.remote() for _ in range(4)]
    until(lambda: ray.available_resources().get("CPU", 0) == 0)
    assert drain(cli, built, node, PREEMPTION).returncode == 0
    built.add_node(num_cpus=4)
    places = ray.get(refs, timeout=60)  # the one that had begun ends there, the others are not begun there any more
    assert places.count(node) == 1, places
    until(lambda: not row(node)["Alive"])


def test_at_the_deadline_work_begins_again_elsewhere(cluster, cli, until, tmp_path):
    built = cluster({"num_cpus": 0, "resources": {"h": 1}}, {"num_cpus": 2, "resources": {"w": 1, "spot": 1}})
    first = on("w")
    actor = Counter.options(max_restarts=1, max_task_retries=-1, resources={"spot": 0.1}).remote()
    group = placement_group([{"CPU": 1}], lifetime="detached", name="stays")
    assert ray.get(actor.where.remote(), timeout=30) == first and group.wait(30)
    log = tmp_path / "log"

    @ray.remote(max_retries=1)
    def slow(path):
        with open(path, "a") as file:
            file.write(ray.get_runtime_context().get_node_id() + "\n")
        time.sleep(3 if os.path.getsize(path) < 100 else 0)  # the first time only
        return ray.get_runtime_context().get_node_id()

    result = slow.remote(str(log))
    until(log.exists)
    began = time.monotonic()
    assert drain(cli, built, first, PREEMPTION, "spot", "--deadline-remaining-seconds", "1").returncode == 0
    until(lambda: not row(first)["Alive"])
    assert 0.5 < time.monotonic() - began < 20
    assert (row(first)["DeathReason"], row(first)["DeathReasonMessage"]) == (3, "spot")
    second = built.add_node(num_cpus=2, resources={"spot": 1})
    assert ray.get(result, timeout=60) == second.node_id
    assert ray.get(actor.where.remote(), timeout=60) == second.node_id
    assert group.wait(30) and placement_group_table(group)["bundles_to_node_id"] == {0: second.node_id}
    # It is the machine's fault: max_restarts=1 is still whole.
    assert drain(cli, built, second.node_id, PREEMPTION, "spot", "--deadline-remaining-seconds", "0").returncode == 0
    until(lambda: not row(second.node_id)["Alive"])
    third = built.add_node(num_cpus=2, resources={"spot": 1})
    assert ray.get(actor.where.remote(), timeout=60) == third.node_id


def test_the_error_says_preempted(cluster, cli, until):
    built = cluster({}, {"resources": {"w": 1}})
    node = on("w")
    actor = Counter.options(resources={"w": 0.1}).remote()
    ray.get(actor.add.remote(), timeout=30)
    assert drain(cli, built, node, PREEMPTION).returncode == 0
    built.remove_node(built.workers[0], allow_graceful=False)
    with pytest.raises(ray.exceptions.RayActorError) as caught:
        ray.get(actor.add.remote(), timeout=60)
    assert caught.value.preempted
    assert row(node)["DeathReason"] == 2  # before its deadline


@pytest.mark.parametrize(
    "words, says",
    [
        (["--reason", "BORED", "--reason-message", "x"], "'BORED' is not one of"),
        (["--reason", IDLE], "Missing option '--reason-message'"),
        (
            ["--reason", IDLE, "--reason-message", "x", "--deadline-remaining-seconds", "-1"],
            "cannot be negative, got -1",
        ),
        (["--reason", IDLE, "--reason-message", "x", "--node-id", "zz"], "--node-id"),
    ],
)
def test_bad_options(cluster, cli, words, says):
    built = cluster({})
    done = cli(built, "drain-node", *words)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_what_waits_for_its_arguments_goes_elsewhere(cluster, cli, until):
    """Also while these cannot come: the node that has them does not answer."""
    cpus = {"source": 0, "w": 1, "last": 1}
    built = cluster({}, *({"num_cpus": n, "resources": {name: 1}} for name, n in cpus.items()))
    source, node = built.workers[0], on("w")

    @ray.remote(num_cpus=0, resources={"source": 0.1})
    def make():
        return bytes(MIB)

    @ray.remote(max_retries=0)
    def size(data):
        return len(data), ray.get_runtime_context().get_node_id()

    made = make.remote()
    ray.wait([made], fetch_local=False, timeout=30)
    soft = NodeAffinitySchedulingStrategy(node, soft=True)
    until(lambda: "run or wait" not in cli(built, "status", "-v").stdout)
    os.kill(source.daemon_pid, signal.SIGSTOP)
    try:
        until(lambda: all(stopped(path) for path in glob.glob(f"/proc/{source.daemon_pid}/task/*/stat")))
        task = size.options(scheduling_strategy=soft).remote(made)
        ray.wait([task], timeout=1)  # the next question takes 5 s, since one node does not answer
        until(lambda: "1 tasks run or wait" in cli(built, "status", "-v").stdout)
        refused = drain(cli, built, node, IDLE)
        assert refused.returncode == 1 and "1 tasks run or wait" in refused.stderr
        assert drain(cli, built, node, PREEMPTION).returncode == 0
        until(lambda: not row(node)["Alive"])
    finally:
        os.kill(source.daemon_pid, signal.SIGCONT)
    length, ran_on = ray.get(task, timeout=60)
    assert length == MIB and ran_on != node
