"""Devices other than GPUs: each family is given out by number and shown in its own variable."""

import os

import pytest
import ray
from ray._core.devices import FAMILIES, show
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

SHOWN = [name for name, _ in FAMILIES.values()] + ["TPU_HOST_BOUNDS", "TPU_CHIPS_PER_HOST_BOUNDS"]


def sees():
    """What a task has of devices: its variables, and what its context says."""
    held = ray.get_runtime_context().get_accelerator_ids()
    return {name: os.environ[name] for name in SHOWN if name in os.environ}, {k: v for k, v in held.items() if v}


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        for name in [*SHOWN, *(name for _, name in FAMILIES.values()), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"]:
            patch.delenv(name, raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.shutdown()
        ray.init(
            num_cpus=4,
            num_gpus=2,
            resources={"TPU": 4, **{name: 2 for name in FAMILIES if name not in ("GPU", "TPU")}},
            include_dashboard=False,
        )
        yield ray.remote(sees)
        ray.shutdown()


def test_one_device_of_each_family(task):
    for family, (variable, _) in FAMILIES.items():
        options = {"num_gpus": 1} if family == "GPU" else {"resources": {family: 1}}
        shown, held = ray.get(task.options(**options).remote(), timeout=60)
        assert held == {family: ["0"]}
        assert shown.pop(variable) == ("npu:0" if family == "FURIOSA" else "0")
        bounds = {"TPU_HOST_BOUNDS": "1,1,1", "TPU_CHIPS_PER_HOST_BOUNDS": "1,1,1"}
        assert shown == (bounds if family == "TPU" else {})
    # Who holds none has what the node has: here, nothing.
    assert ray.get(task.remote(), timeout=60) == ({}, {})


def test_two_families_at_once_and_a_whole_host_of_chips(task):
    shown, held = ray.get(task.options(num_gpus=0.5, resources={"TPU": 4, "NPU": 0.5}).remote(), timeout=60)
    assert held == {"GPU": ["0"], "TPU": ["0", "1", "2", "3"], "NPU": ["0"]}
    assert shown == {
        "CUDA_VISIBLE_DEVICES": "0",
        "TPU_VISIBLE_CHIPS": "0,1,2,3",
        "ASCEND_RT_VISIBLE_DEVICES": "0",
    }


def test_actors_and_bundles_have_devices_of_their_own(task):
    group = placement_group([{"CPU": 1, "neuron_cores": 1}] * 2)
    ray.get(group.ready(), timeout=60)
    at = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i) for i in range(2)]

    @ray.remote(num_cpus=0, resources={"neuron_cores": 1})
    class Holder:
        def sees(self):
            return sees()

    holders = [Holder.options(scheduling_strategy=strategy).remote() for strategy in at]
    found = ray.get([holder.sees.remote() for holder in holders], timeout=60)
    assert sorted(held["neuron_cores"] for _, held in found) == [["0"], ["1"]]
    assert all(shown["NEURON_RT_VISIBLE_CORES"] == held["neuron_cores"][0] for shown, held in found)
    for holder in holders:
        ray.kill(holder)
    remove_placement_group(group)
    assert ray.get(task.options(resources={"neuron_cores": 2}).remote(), timeout=60)[1] == {"neuron_cores": ["0", "1"]}


@pytest.mark.parametrize(
    "resources, why",
    [
        ({"TPU": 3}, "The number of requested 'TPU' was set to 3"),
        ({"TPU": 0.5}, "The number of requested 'TPU' was set to 0.5"),
        ({"neuron_cores": 1.5}, "neuron_cores resource quantity must be whole numbers"),
        ({"HPU": 0.5}, "HPU resource quantity must be whole numbers"),
    ],
)
def test_amounts_that_no_device_can_give(task, resources, why):
    with pytest.raises(ValueError, match=why):
        task.options(resources=resources).remote()


def test_no_device_is_visible_if_the_user_says_so(task):
    env = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}}
    none = {name: "" for family, (name, _) in FAMILIES.items() if family != "TPU"}
    assert ray.get(task.options(runtime_env=env).remote(), timeout=60) == (none, {})
    one = task.options(runtime_env=env, num_gpus=1).remote()
    assert ray.get(one, timeout=60) == ({**none, "CUDA_VISIBLE_DEVICES": "0"}, {"GPU": ["0"]})
    env = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_NEURON_RT_VISIBLE_CORES": "1"}}
    untouched = task.options(runtime_env=env, resources={"neuron_cores": 1}).remote()
    assert ray.get(untouched, timeout=60) == ({}, {"neuron_cores": ["0"]})


def test_gpus_of_another_maker_have_their_own_variable(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, "before")  # the test's end restores what show() sets
    monkeypatch.delenv("RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES", raising=False)
    show({"GPU": ["1", "3"]}, "HIP_VISIBLE_DEVICES")
    assert (os.environ["HIP_VISIBLE_DEVICES"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("1,3", "before")
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES", "1")
    show({"GPU": ["0"]}, "HIP_VISIBLE_DEVICES")
    assert os.environ["HIP_VISIBLE_DEVICES"] == "1,3"
