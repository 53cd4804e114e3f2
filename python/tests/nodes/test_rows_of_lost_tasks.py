"""What is listed of tasks whose node died."""

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_tasks


def test_an_attempt_that_was_lost_with_its_node(monkeypatch, tmp_path, until):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        ray.init(made.address)
        node = made.add_node(num_cpus=1, resources={"here": 1})
        made.wait_for_nodes()
        first = node.node_id

        @ray.remote(num_cpus=1, max_retries=0)
        def sleeps():
            import time

            time.sleep(600)

        @ray.remote(num_cpus=0, max_retries=1, resources={"here": 0.5})
        def again():
            import time

            if ray.get_runtime_context().get_node_id() == first:
                time.sleep(600)
            return "made again"

        def states(name):
            return sorted(row.state for row in list_tasks(filters=[("name", "=", name)]))

        lost, retried = sleeps.remote(), again.remote()
        until(lambda: states("sleeps") == states("again") == ["RUNNING"])
        made.remove_node(node, allow_graceful=False)
        made.add_node(num_cpus=1, resources={"here": 1})
        try:
            ray.get(lost, timeout=60)
        except ray.exceptions.NodeDiedError as error:
            assert "Task failed due to the node dying" in str(error)
        else:
            raise AssertionError("it cannot have ended")
        assert ray.get(retried, timeout=60) == "made again"
        until(lambda: states("sleeps") == ["FAILED"] and states("again") == ["FAILED", "FINISHED"])
        for name in ("sleeps", "again"):
            row = list_tasks(filters=[("name", "=", name), ("state", "=", "FAILED")], detail=True)[0]
            assert (row.error_type, row.node_id) == ("NODE_DIED", first)
    finally:
        ray.shutdown()
        made.shutdown()
