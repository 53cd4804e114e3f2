"""Placement groups over several nodes: what cannot be made, and what a dead node takes with it."""

import os

import pytest
import ray
from ray.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote(num_cpus=0)
class Pid:
    def pid(self):
        return os.getpid()

    def node(self):
        return ray.get_runtime_context().get_node_id()


def inside(group, index=-1, **more):
    return PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=index, **more)


def _gone(actor):
    try:
        ray.get(actor.pid.remote(), timeout=60)
    except ray.exceptions.RayActorError:
        return True
    return False


def test_what_can_never_be_made_fails(monkeypatch, cluster, until):
    monkeypatch.setenv("RAY_infeasible_group_timeout_s", "1")
    built = cluster({"num_cpus": 1})
    group = placement_group([{"CPU": 4}])
    assert not group.wait(0.1)
    assert placement_group_table(group)["state"] == "PENDING"
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="no node has CPU: 4.*no autoscaler"):
        ray.get(group.ready(), timeout=60)
    actor = Pid.options(scheduling_strategy=inside(group)).remote()
    with pytest.raises(ray.exceptions.ActorUnschedulableError, match="cannot be created"):
        ray.get(actor.pid.remote(), timeout=60)
    built.add_node(num_cpus=4)  # it was not removed
    assert group.wait(60)
    ray.get(group.ready(), timeout=60)


def test_bundles_of_a_dead_node_are_made_again(cluster, until):
    built = cluster({"num_cpus": 0}, {"num_cpus": 2}, {"num_cpus": 2})
    group = placement_group([{"CPU": 2}, {"CPU": 2}], strategy="STRICT_SPREAD", name="g", lifetime="detached")
    assert group.wait(30)
    keeps = Pid.options(scheduling_strategy=inside(group, 0), max_restarts=-1).remote()
    moves = Pid.options(scheduling_strategy=inside(group, 1), max_restarts=-1, max_task_retries=-1).remote()
    stays, goes = ray.get([keeps.node.remote(), moves.node.remote()], timeout=30)
    pid = ray.get(keeps.pid.remote(), timeout=30)
    built.remove_node(next(n for n in built.workers if n.node_id == goes), allow_graceful=False)
    until(lambda: placement_group_table(group)["state"] == "RESCHEDULING")
    third = built.add_node(num_cpus=2)
    assert ray.get(moves.node.remote(), timeout=60) == third.node_id
    assert ray.get(keeps.pid.remote(), timeout=30) == pid, "a bundle that was not lost was disturbed"
    assert placement_group_table(group)["bundles_to_node_id"] == {0: stays, 1: third.node_id}
    remove_placement_group(get_placement_group("g"))
    until(lambda: _gone(keeps))
    until(lambda: ray.available_resources().get("CPU", 0) == 4)
    assert not any("_group_" in name for name in ray.available_resources())


def test_children_are_captured(cluster):
    cluster({"num_cpus": 0}, {"num_cpus": 1}, {"num_cpus": 1, "resources": {"other": 1}})
    group = placement_group([{"CPU": 1}])
    assert group.wait(30)

    @ray.remote(num_cpus=0)
    def child():
        current = get_current_placement_group()
        return current and current.id

    @ray.remote(num_cpus=0)
    def parent():
        return ray.get([child.remote(), child.options(scheduling_strategy="DEFAULT").remote()])

    captured = inside(group, placement_group_capture_child_tasks=True)
    assert ray.get(parent.options(scheduling_strategy=captured).remote(), timeout=30) == [group.id, None]
    assert ray.get(parent.options(scheduling_strategy=inside(group)).remote(), timeout=30) == [None, None]


def test_labels_of_bundles(cluster):
    built = cluster({"num_cpus": 2}, {"num_cpus": 2, "labels": {"zone": "a"}}, {"num_cpus": 2, "labels": {"zone": "b"}})
    group = placement_group(
        [{"CPU": 1}, {"CPU": 1}], strategy="PACK", bundle_label_selector=[{"zone": "b"}, {"zone": "in(a,c)"}]
    )
    assert group.wait(30)
    a, b = (n.node_id for n in built.workers)
    assert placement_group_table(group)["bundles_to_node_id"] == {0: b, 1: a}
