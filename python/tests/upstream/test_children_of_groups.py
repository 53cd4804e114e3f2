"""Where the children of a task go that runs in a placement group."""

import os

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote(num_cpus=0)
def place():
    group = ray.util.get_current_placement_group()
    return group and group.id.hex()


@ray.remote
def parent():
    return os.getpid(), ray.get(place.remote())


def test_a_worker_that_has_submitted_the_function_before_captures_it_too(cluster):
    group = ray.util.placement_group([{"CPU": 1}])
    inside = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    before = set()
    try:
        for _ in range(20):
            pid, found = ray.get(parent.remote(), timeout=60)
            assert found is None
            before.add(pid)
            pid, found = ray.get(parent.options(scheduling_strategy=inside).remote(), timeout=60)
            assert found == group.id.hex()
            if pid in before:
                break
        else:
            raise AssertionError(f"no worker of {before} served the group")
        assert ray.get(parent.remote(), timeout=60)[1] is None
    finally:
        ray.util.remove_placement_group(group)
