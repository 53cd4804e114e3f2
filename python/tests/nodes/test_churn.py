"""Nodes come and go while tasks, actors and placement groups are at work."""

import fcntl
import os
import time

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote(max_retries=-1)
def square(n):
    time.sleep(0.02)
    return n * n


@ray.remote(max_retries=-1)
def total(*parts):
    return sum(parts)


@ray.remote(num_cpus=0.1, resources={"w": 0.01}, max_restarts=-1, max_task_retries=-1)
class Alone:
    """Tells if another incarnation lives."""

    def __init__(self, path):
        self.file = open(path, "a")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process is gone
        except OSError:
            with open(path + ".twice", "a") as file:
                file.write(f"{os.getpid()}\n")

    def pid(self):
        return os.getpid()


def inside(group):
    return PlacementGroupSchedulingStrategy(placement_group=group)


def test_nodes_come_and_go(cluster, until, tmp_path):
    options = {"num_cpus": 2, "resources": {"w": 1}}
    built = cluster({"num_cpus": 1}, options, options)
    nodes = list(built.workers)
    actors = [Alone.remote(str(tmp_path / f"lock{i}")) for i in range(4)]
    groups = [placement_group([{"CPU": 0.1}, {"CPU": 0.1}], strategy="SPREAD") for _ in range(3)]
    parts = [square.remote(n) for n in range(600)]
    sums = [total.remote(*parts[n : n + 20]) for n in range(0, 600, 20)]
    in_groups = [
        square.options(num_cpus=0.05, scheduling_strategy=inside(group)).remote(n)
        for n in range(30)
        for group in groups
    ]
    calls = []
    for turn in range(4):
        nodes.append(built.add_node(**options))
        calls += [actor.pid.remote() for actor in actors]
        built.remove_node(nodes.pop(0), allow_graceful=bool(turn % 2))
    assert ray.get(sums, timeout=120) == [sum(k * k for k in range(n, n + 20)) for n in range(0, 600, 20)]
    assert sorted(ray.get(in_groups, timeout=120)) == sorted(n * n for n in range(30) for _ in groups)
    ray.get(calls, timeout=120)
    assert not list(tmp_path.glob("*.twice")), "two incarnations of an actor lived at once"
    for group in groups:
        remove_placement_group(group)
    for actor in actors:
        ray.kill(actor)
    until(lambda: ray.available_resources().get("CPU", 0) == ray.cluster_resources()["CPU"] == 5)
