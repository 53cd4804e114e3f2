"""What a process may ask about itself, its devices and its objects under older names."""

import warnings

import numpy as np
import pytest
import ray
from ray.util.annotations import RayDeprecationWarning


def test_older_names_of_ids_say_what_to_use(cluster):
    context = ray.get_runtime_context()
    for name in ("job_id", "node_id"):
        with pytest.warns(RayDeprecationWarning, match=f"Use get_{name}"):
            old = getattr(context, name)
        assert old.hex() == getattr(context, f"get_{name}")()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert context.get()["job_id"].hex() == context.get_job_id()


def test_an_id_has_its_length():
    assert ray.ObjectRef(b"0011223344556677889900001111").binary() == b"0011223344556677889900001111"
    with pytest.raises(ValueError, match="needs to have length 28"):
        ray.ObjectRef(b"0123456789")
    with pytest.raises(TypeError, match="Unsupported type"):
        ray.ObjectRef("x" * 28)


def test_a_worker_knows_which_objects_are_here(cluster):
    core = ray._private.worker.global_worker.core_worker
    small, large = ray.put(1), ray.put(np.zeros(1 << 20, np.uint8))
    assert core.object_exists(large) and not core.object_exists(large, memory_store_only=True)
    counts = core.get_all_reference_counts()
    assert counts[small.hex().encode()]["local"] == counts[large.hex().encode()]["local"] == 1
    assert core.get_current_job_id().hex() == ray.get_runtime_context().get_job_id()
    pending = ray.remote(num_cpus=1000)(lambda: 1).remote()
    assert not core.object_exists(pending)
    key = small.hex().encode()
    del small
    assert key not in core.get_all_reference_counts()


def test_what_is_freed_is_not_read_from_this_process(cluster):
    @ray.remote(num_cpus=0)
    def small():
        return [1, 2, 3]

    ref = small.remote()
    assert ray.get(ref) == [1, 2, 3]
    ray._private.internal_api.free(ref)
    with pytest.raises(ray.exceptions.ObjectFreedError):
        ray.get(ref, timeout=30)
