"""Whatever waits says why: in the task table, in `ray why`, and at the driver after a while."""

import json
import os
import subprocess
import sys
import textwrap
import time

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from ray.util.state import list_tasks


@ray.remote
def hold(path):
    while not os.path.exists(path):  # a task that waits in ray.get would lend its CPU
        time.sleep(0.05)
    return 1


@ray.remote
def take(value):
    return value


def why(cli, cluster, what):
    done = cli(cluster, "why", what)
    return done.stdout if done.returncode == 0 else ""


def reasons(cli, cluster):
    """name → reason of the pending tasks, as `ray list tasks --detail` shows them."""
    done = cli(cluster, "list", "tasks", "--detail", "--format=json", "--limit=1000")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row.get("reason") or "" for row in json.loads(done.stdout)}


def test_tasks_say_why_they_wait(cluster, cli, until, tmp_path):
    built = cluster({"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})
    gate = tmp_path / "gate"
    running = hold.options(name="runs").remote(str(gate))
    until(lambda: ray.available_resources().get("CPU", 0) == 0)
    queued = take.options(name="queued").remote(1)
    behind = take.options(name="behind").remote(queued)
    never = take.options(name="never", num_cpus=0, num_gpus=1).remote(1)
    group = placement_group([{"CPU": 1}])
    inside = take.options(
        name="inside", scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=group)
    ).remote(1)
    until(lambda: "no node has GPU: 1" in reasons(cli, built)["never"])
    seen = reasons(cli, built)
    assert "0 of 1 CPU free for" in seen["queued"], seen
    assert "1 of its 1 arguments is not made yet" in seen["behind"] and "which task queued" in seen["behind"], seen
    assert "waits for placement group" in seen["inside"], seen
    until(lambda: not reasons(cli, built).get("runs"))  # its worker may have to be started yet
    for name, says in (
        ("queued", "0 of 1 CPU free"),
        ("behind", "which task queued"),
        ("never", "no node has GPU: 1"),
        ("inside", "waits for placement group"),
        (group.id.hex(), "busy"),
    ):
        assert says in why(cli, built, name), (name, why(cli, built, name))
    status = cli(built, "status").stdout
    assert "infeasible: no node has GPU: 1" in status, status
    ray.cancel(never)
    gate.touch()
    assert ray.get([running, behind, inside], timeout=60) == [1, 1, 1]


def test_actors_and_their_calls_say_why(cluster, cli, until):
    built = cluster({"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})

    @ray.remote(num_cpus=0, num_gpus=1)
    class Learner:
        def ping(self):
            return 1

    @ray.remote(num_cpus=0)
    class Slow:
        def __init__(self):
            time.sleep(600)

    lost, slow = Learner.options(name="lost").remote(), Slow.options(name="slow").remote()
    call = lost.ping.remote()
    until(lambda: "no node has GPU: 1" in why(cli, built, "lost"))
    until(lambda: any("ping" in k and "its actor is not there yet" in v for k, v in reasons(cli, built).items()))
    until(lambda: "its constructor runs on node" in why(cli, built, "slow"))
    assert not ray.wait([call], timeout=0)[0]
    ray.kill(slow)


DRIVER = """
import sys, time, ray
from ray.util.placement_group import placement_group
ray.init(address=sys.argv[1])

@ray.remote(num_cpus=1)
class Keeper:
    def ping(self):
        return 1

@ray.remote(num_cpus=0, num_gpus=1)
class NeedsGpu:
    pass

@ray.remote
def behind():
    pass

@ray.remote(resources={"nowhere": 1})
def nowhere():
    pass

keeper = Keeper.remote()
ray.get(keeper.ping.remote())
kept = [NeedsGpu.remote(), behind.remote(), nowhere.remote(), placement_group([{"CPU": 5}], name="wide")]
sys.stdin.read()
"""


def test_the_driver_is_told(cluster, until):
    built = cluster({"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})
    driver = subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(DRIVER), built.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    missing = {
        "nowhere needs": "no node",  # never possible: told at once
        "NeedsGpu has been waiting for": "no node has GPU: 1",
        "The task behind has been waiting for": "0 of 1 CPU free",
        "The placement group wide has been waiting for": "no node has CPU: 5",
    }
    try:
        deadline = time.monotonic() + 60
        while missing and time.monotonic() < deadline:
            line = driver.stdout.readline()
            if not line:
                break
            for key in list(missing):
                if key in line and missing[key] in line:
                    del missing[key]
        assert not missing
    finally:
        driver.stdin.close()
        driver.wait(timeout=30)


def test_an_environment_in_the_making(cluster, cli, until, tmp_path):
    package = tmp_path / "slowpkg"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
    )
    (package / "b.py").write_text("import time\ndef build_wheel(*a, **k):\n    time.sleep(600)\n")
    built = cluster({"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})
    ref = take.options(name="env", runtime_env={"pip": [str(package)]}).remote(1)
    until(lambda: "its runtime environment is being built" in reasons(cli, built).get("env", ""), 60)
    assert not ray.wait([ref], timeout=0)[0]


def test_an_actor_is_not_put_behind_one_that_starts(cluster, cli, until):
    """A worker with a GPU is forked anew: until then its resources look free, but are not."""
    built = cluster({"num_cpus": 1, "num_gpus": 1, "include_dashboard": True, "dashboard_port": 0})
    half = ray.remote(num_gpus=0.5)(type("Half", (), {"ping": lambda self: 1}))
    first, second = half.remote(), half.remote()
    assert ray.get(first.ping.remote(), timeout=30) == 1
    waits = second.ping.remote()
    text = until(lambda: why(cli, built, second._actor_id.hex()))
    assert "busy" in text, text
    until(lambda: "{'CPU': 1.0, 'GPU': 0.5}: 1+ pending" in cli(built, "status").stdout)
    built.add_node(num_cpus=1, num_gpus=1)
    assert ray.get(waits, timeout=30) == 1


def test_what_has_ended_says_how(cluster, cli, until):
    built = cluster({"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0})

    @ray.remote(max_retries=0)
    def fails():
        raise ValueError("by itself")

    @ray.remote
    class Killed:
        def ready(self):
            pass

        def method(self):
            raise KeyError("x" * 5000 + " in a method")

    failed = fails.remote()
    ray.wait([failed])
    actor = Killed.remote()
    ray.get(actor.ready.remote())
    ray.wait([actor.method.remote()])
    rows = {row.name: row for row in list_tasks(address=built.address, detail=True)}
    said = rows["fails"].error_message
    assert "in fails" in said and said.endswith("ValueError: by itself\n"), said
    said = rows["Killed.method"].error_message
    assert len(said) == 2000 and said.endswith(" in a method'\n"), said
    assert rows["Killed.ready"].error_message is None
    ray.kill(actor)
    text = until(lambda: why(cli, built, failed.task_id().hex()))
    assert "(fails) is FAILED: ray::fails() (pid=" in text and text.endswith("ValueError: by itself\n"), text
    until(lambda: "was killed by `ray.kill`" in why(cli, built, actor._actor_id.hex()))
    huge = take.options(name="huge", memory=10**15).remote(1)  # more than amounts can hold
    until(lambda: "no node has CPU: 1, memory" in why(cli, built, huge.task_id().hex()))
