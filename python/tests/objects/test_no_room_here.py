"""Values that are made elsewhere, and a node that has little or no room for them."""

import numpy as np
import pytest
import ray
from ray._private.test_utils import check_spilled_mb
from ray.exceptions import OutOfDiskError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MIB = 1 << 20


@ray.remote
def ones(mib):
    return np.ones(mib * MIB, dtype=np.uint8)


@ray.remote
def total(array):
    return int(array.sum())


def test_what_one_node_cannot_take_is_not_lost_for_others(cluster):
    cluster(
        dict(object_store_memory=80 * MIB, _system_config={"local_fs_capacity_threshold": 0}),
        dict(num_cpus=1, object_store_memory=250 * MIB, resources={"large": 1}),
    )
    ref = ones.options(resources={"large": 0.5}).remote(100)
    with pytest.raises(OutOfDiskError):
        ray.get(ref)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    with pytest.raises(RayTaskError, match="could not be computed") as caught:
        ray.get(total.options(scheduling_strategy=here).remote(ref))
    assert isinstance(caught.value.cause, OutOfDiskError)
    assert ray.get(total.options(resources={"large": 0.5}).remote(ref), timeout=60) == 100 * MIB


def test_copies_go_before_anything_is_spilled(cluster):
    made = cluster(
        dict(object_store_memory=100 * MIB),
        dict(num_cpus=1, object_store_memory=250 * MIB, resources={"large": 1}),
    )
    own = [ray.put(np.zeros(10 * MIB, dtype=np.uint8)) for _ in range(3)]
    refs = [ones.options(resources={"large": 0.5}).remote(10) for _ in range(12)]
    for _ in range(4):
        for ref in refs:
            assert ray.get(ref)[-1] == 1
    check_spilled_mb({"address": made.address})
    del own
