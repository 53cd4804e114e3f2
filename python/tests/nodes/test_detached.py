"""A detached actor after its driver's end: it restarts, and what it made and makes lives as long as it does."""

import os
import time

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table


@ray.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)
class Service:
    def __init__(self):
        self.parts = []

    def grow(self):
        self.parts.append(Part.remote())
        return self.parts[-1]

    def group(self):
        self.made = placement_group([{"CPU": 1}])
        return self.made.wait(30) and self.made.id.hex()

    def work(self):
        return ray.get([outer.remote(i) for i in range(4)])

    def pid(self):
        return os.getpid()


@ray.remote(num_cpus=0)
class Part:
    def pid(self):
        return os.getpid()

    def helper(self):
        self.helper = Part.remote()
        return ray.get(self.helper.pid.remote())


@ray.remote
def outer(i):
    return ray.get(inner.remote(i)) + 1


@ray.remote
def inner(i):
    return i * 10


def test_what_outlives_its_job(cluster, until):
    built = cluster({"num_cpus": 1}, {"num_cpus": 1})
    service = Service.options(name="service", namespace="n", lifetime="detached").remote()
    early = ray.get(service.grow.remote(), timeout=30)
    of_driver = Part.remote()
    pids = ray.get([early.pid.remote(), of_driver.pid.remote()], timeout=30)
    ray.shutdown()

    ray.init(address=built.address, log_to_driver=False, namespace="n")
    until(lambda: not _alive(pids[1]))
    service = ray.get_actor("service")
    assert _alive(pids[0]), "an actor of a detached actor ended with the driver's job"
    late = ray.get(service.grow.remote(), timeout=30)
    more = [ray.get(late.pid.remote(), timeout=30), ray.get(late.helper.remote(), timeout=30)]
    assert ray.get(service.work.remote(), timeout=60) == [1, 11, 21, 31]
    group = ray.get(service.group.remote(), timeout=60)
    assert placement_group_table()[group]["state"] == "CREATED"

    del late  # a handle would keep it
    first = ray.get(service.pid.remote())
    os.kill(first, 9)
    assert ray.get(service.pid.remote(), timeout=30) != first
    until(lambda: not any(_alive(pid) for pid in [pids[0], *more]))
    assert placement_group_table()[group]["state"] == "CREATED"  # the actor is not dead
    assert ray.get(service.work.remote(), timeout=60) == [1, 11, 21, 31]

    last = ray.get(service.pid.remote())
    ray.kill(service)
    until(lambda: not _alive(last))
    until(lambda: placement_group_table()[group]["state"] == "REMOVED")
    until(lambda: ray.available_resources().get("CPU") == 2)


@ray.remote(num_cpus=0)
class Parent:
    def pid(self):
        return os.getpid()

    def wait_for_child(self, path):
        ray.get(hold.remote(path))


@ray.remote
def hold(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(0.05)


def test_children_of_a_call_that_its_process_did_not_end(cluster, until, tmp_path):
    cluster({"num_cpus": 0}, {"num_cpus": 1})
    parent = Parent.remote()
    pid = ray.get(parent.pid.remote(), timeout=30)
    path = tmp_path / "begun"
    call = parent.wait_for_child.remote(str(path))
    until(lambda: path.exists() and path.read_text())
    os.kill(pid, 9)
    until(lambda: ray.available_resources().get("CPU") == 1)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(call, timeout=30)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
