"""Which cluster ``ray.init`` means if it is told none."""

import pytest
import ray
from ray.cluster_utils import Cluster


def test_a_cluster_for_tests_wants_to_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    try:
        ray.init(num_cpus=2, include_dashboard=False)  # one of its own: no `ray start` has begun one here
        assert ray.cluster_resources()["CPU"] == 2
        ray.shutdown()
        ray.init("auto")
        assert ray.cluster_resources()["CPU"] == 3
        ray.shutdown()
        with pytest.raises(ValueError, match="num_cpus"):
            ray.init("auto", num_cpus=2)
    finally:
        ray.shutdown()
        made.shutdown()
