"""The public modules against a real cluster on this machine."""

import os
import time

import pytest
import ray
from ray._common.test_utils import SignalActor, wait_for_condition
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)
from ray.util import ActorPool, as_completed, list_named_actors, map_unordered
from ray.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.queue import Empty, Full, Queue
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def cluster(connect):
    """One node with 4 CPUs, this process connected."""
    return connect(num_cpus=4, object_store_memory=128 * MIB, namespace="public", log_to_driver=False)


def test_context(cluster):
    @ray.remote(num_cpus=2, runtime_env={"env_vars": {"P_A": "1"}})
    def look():
        context = ray.get_runtime_context()
        return {
            "task": context.get_task_id(),
            "name": context.get_task_name(),
            "function": context.get_task_function_name(),
            "actor": context.get_actor_id(),
            "job": context.get_job_id(),
            "node": context.get_node_id(),
            "worker": context.get_worker_id(),
            "resources": context.get_assigned_resources(),
            "env": dict(context.runtime_env),
            "gpus": context.get_accelerator_ids()["GPU"],
            "group": context.get_placement_group_id(),
            "session": context.get_session_name(),
        }

    driver = ray.get_runtime_context()
    assert driver.get_task_id() is None and driver.get_actor_id() is None and driver.get_task_name() is None
    assert driver.namespace == "public" and driver.gcs_address == cluster.address_info["gcs_address"]
    with pytest.raises(AssertionError):
        driver.get_assigned_resources()
    with pytest.raises(RuntimeError):
        _ = driver.current_actor
    seen = ray.get(look.remote())
    assert seen["job"] == driver.get_job_id() and seen["node"] == driver.get_node_id()
    assert seen["worker"] != driver.get_worker_id() and seen["actor"] is None and seen["group"] is None
    assert seen["name"] == "look" and seen["function"].endswith("look")
    assert seen["resources"] == {"CPU": 2.0} and seen["gpus"] == []
    assert seen["env"]["env_vars"] == {"P_A": "1"}
    assert seen["session"] == driver.get_session_name()


def test_context_of_an_actor(cluster):
    @ray.remote
    class Looker:
        def look(self):
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name(), context.was_current_actor_reconstructed

        def myself(self):
            return ray.get_runtime_context().current_actor

    looker = Looker.options(name="looker").remote()
    actor_id, name, again = ray.get(looker.look.remote())
    assert (actor_id, name, again) == (looker._actor_id.hex(), "looker", False)
    assert ray.get(looker.myself.remote()) == looker
    assert "looker" in list_named_actors()
    assert {"name": "looker", "namespace": "public"} in list_named_actors(all_namespaces=True)


def test_pool_of_actors(cluster):
    @ray.remote
    class Doubler:
        def double(self, x):
            return 2 * x

    pool = ActorPool([Doubler.options(num_cpus=0).remote() for _ in range(2)])
    assert list(pool.map(lambda a, v: a.double.remote(v), range(6))) == [0, 2, 4, 6, 8, 10]
    assert sorted(pool.map_unordered(lambda a, v: a.double.remote(v), range(6))) == [0, 2, 4, 6, 8, 10]


def test_queue(cluster):
    queue = Queue(maxsize=2, actor_options={"num_cpus": 0})
    queue.put(1)
    queue.put_nowait_batch([2])
    assert queue.full() and queue.size() == len(queue) == queue.qsize() == 2
    with pytest.raises(Full):
        queue.put(3, timeout=0.05)
    with pytest.raises(Full):
        queue.put_nowait_batch([3])
    assert [queue.get(), queue.get_nowait_batch(1)] == [1, [2]]
    for call in (lambda: queue.get(timeout=0.05), queue.get_nowait, lambda: queue.get_nowait_batch(1)):
        with pytest.raises(Empty):
            call()
    with pytest.raises(ValueError):
        queue.get(timeout=-1)
    queue.shutdown()


def test_results_as_they_come(cluster):
    @ray.remote
    def same(x):
        return x

    assert sorted(as_completed([same.remote(i) for i in range(7)], chunk_size=3)) == list(range(7))
    assert sorted(map_unordered(same, range(7), backpressure_size=2, chunk_size=1)) == list(range(7))


def test_multiprocessing_pool(cluster):
    from ray.util.multiprocessing import Pool, TimeoutError

    with Pool(processes=2) as pool:
        assert pool.map(abs, range(-5, 5)) == [abs(x) for x in range(-5, 5)]
        assert list(pool.imap(lambda x: -x, range(5), chunksize=2)) == [0, -1, -2, -3, -4]
        assert pool.starmap(lambda a, b: a + b, [(1, 2), (3, 4)]) == [3, 7]
        seen = []
        later = pool.apply_async(lambda: "later", callback=seen.append)
        assert later.get(timeout=30) == "later" and later.successful()
        wait_for_condition(lambda: seen == ["later"])
        with pytest.raises(ZeroDivisionError):
            pool.apply(lambda: 1 / 0)
        with pytest.raises(TimeoutError):
            pool.apply_async(time.sleep, (60,)).get(timeout=0.05)
    with pytest.raises(ValueError, match="not running"):
        pool.map(abs, [1])


def test_joblib(cluster):
    joblib = pytest.importorskip("joblib")
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_backend("ray", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(pow)(i, 2) for i in range(10)) == [i * i for i in range(10)]


def test_placement_group(cluster):
    @ray.remote(num_cpus=1)
    def inside():
        return get_current_placement_group(), ray.get_runtime_context().get_assigned_resources()

    assert get_current_placement_group() is None
    group = placement_group([{"CPU": 1}, {"CPU": 2}], name="pg")
    assert ray.get(group.ready(), timeout=30) == group and group.wait(5)
    assert get_placement_group("pg") == group
    node = ray.get_runtime_context().get_node_id()
    assert placement_group_table(group)["bundles_to_node_id"] == {0: node, 1: node}
    found, resources = ray.get(inside.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0)).remote())
    assert found == group and resources == {"CPU": 1.0}
    remove_placement_group(group)
    wait_for_condition(lambda: placement_group_table(group)["state"] == "REMOVED")
    with pytest.raises(ValueError):
        get_placement_group("pg")


def test_key_value_store(cluster):
    assert _internal_kv_put("k", b"\x00\xff", namespace="t") is False
    assert _internal_kv_put("k", b"x", overwrite=False, namespace="t") is True
    assert _internal_kv_get("k", namespace="t") == b"\x00\xff"
    assert _internal_kv_exists("k", namespace="t") and not _internal_kv_exists("k")
    _internal_kv_put(b"k\xff", b"y", namespace="t")
    assert sorted(_internal_kv_list("k", namespace="t")) == [b"k", b"k\xff"]
    assert _internal_kv_del("k", del_by_prefix=True, namespace="t") == 2
    assert _internal_kv_get("k", namespace="t") is None


def test_signal(cluster):
    signal = SignalActor.remote()

    @ray.remote(num_cpus=0)
    def wait():
        ray.get(signal.wait.remote())
        return "on"

    waiting = wait.remote()
    wait_for_condition(lambda: ray.get(signal.cur_num_waiters.remote()) == 1)
    ray.get(signal.send.remote())
    assert ray.get(waiting, timeout=30) == "on"


def test_state_over_the_connection(cluster):
    from ray.util.state import list_actors, list_nodes, list_tasks

    class PublicListed:
        def pid(self):
            return os.getpid()

    actor = ray.remote(PublicListed).options(name="listed", num_cpus=0).remote()
    pid = ray.get(actor.pid.remote())
    (row,) = list_actors(filters=[("name", "=", "listed")])
    assert (row.pid, row.state, row["class_name"]) == (pid, "ALIVE", PublicListed.__qualname__)
    (node,) = list_nodes()
    assert node.node_id == ray.get_runtime_context().get_node_id() and node.state == "ALIVE"
    wait_for_condition(lambda: any(task.type == "ACTOR_TASK" for task in list_tasks(limit=1000)))


def test_cluster_of_processes():
    from ray.cluster_utils import Cluster

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=2, resources={"disk": 1}, labels={"zone": "north"})
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        rows = {row["NodeID"]: row for row in ray.nodes()}
        assert set(rows) == {cluster.head_node.node_id, node.node_id}
        assert rows[node.node_id]["Resources"]["disk"] == 1.0 and rows[node.node_id]["Labels"]["zone"] == "north"
        where = ray.remote(resources={"disk": 1})(lambda: ray.get_runtime_context().get_node_id())
        assert ray.get(where.remote(), timeout=30) == node.node_id
        cluster.remove_node(node, allow_graceful=False)
        wait_for_condition(lambda: not {row["NodeID"]: row for row in ray.nodes()}[node.node_id]["Alive"], timeout=30)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert not cluster.list_all_nodes()
