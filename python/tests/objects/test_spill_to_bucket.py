"""Spilling to a bucket, of a real server that speaks S3's protocol."""

import json
import os
import re
import signal

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError

MIB = 1 << 20


def blob(n):
    return np.full(10 * MIB, n, dtype=np.uint8)


@pytest.fixture
def bucket(s3):
    """A bucket: ``bucket()`` lists its keys, ``bucket(key)`` removes one."""
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.create_bucket(Bucket="spill")

    def look(remove=None):
        if remove is not None:
            client.delete_object(Bucket="spill", Key=remove)
        return [item["Key"] for item in client.list_objects_v2(Bucket="spill").get("Contents", [])]

    return look


def spilling_to(uri):
    return {
        "object_spilling_config": json.dumps({"type": "smart_open", "params": {"uri": uri}, "buffer_size": MIB}),
        "max_fused_object_count": 3,
    }


def test_objects_go_to_the_bucket_and_come_back(start, bucket, until):
    start(object_store_memory=80 * MIB, _system_config=spilling_to("s3://spill/some/where"))
    refs = [ray.put(blob(n)) for n in range(16)]
    assert bucket()
    assert all(re.fullmatch(r"some/where/ray_spilled_objects_\w+-\w+-multi-\d-\d+", key) for key in bucket())
    for n, ref in enumerate(refs):
        assert ray.get(ref)[-1] == n

    @ray.remote
    def last(array):
        return int(array[-1])

    assert ray.get([last.remote(ref) for ref in refs]) == list(range(16))
    del refs, ref
    until(lambda: not bucket())
    rest = [ray.put(blob(n)) for n in range(10)]
    assert bucket()
    ray.shutdown()
    assert bucket() == []
    del rest


def test_what_is_gone_from_the_bucket_is_lost(start, bucket):
    start(object_store_memory=80 * MIB, _system_config=spilling_to("s3://spill"))

    @ray.remote
    def make():
        return blob(7)

    made, put = make.remote(), ray.put(blob(8))
    ray.wait([made], fetch_local=False)
    rest = [ray.put(blob(n)) for n in range(14)]
    for key in bucket():
        bucket(remove=key)
    assert ray.get(made, timeout=60)[-1] == 7
    with pytest.raises(ObjectLostError, match="no such object"):
        ray.get(put, timeout=60)
    del rest


def test_what_a_killed_node_leaves_is_removed_by_those_that_survive(cluster, bucket, until):
    made = cluster(
        dict(object_store_memory=80 * MIB, _system_config=spilling_to("s3://spill/some/where")),
        dict(num_cpus=1, object_store_memory=80 * MIB, resources={"far": 1}),
    )

    @ray.remote(resources={"far": 1})
    class Holder:
        def fill(self):
            self.refs = [ray.put(blob(n)) for n in range(12)]

    refs = [ray.put(blob(n)) for n in range(12)]
    holder = Holder.remote()
    ray.get(holder.fill.remote())

    def of(node):
        return [key for key in bucket() if key.startswith(f"some/where/ray_spilled_objects_{node.node_id}-")]

    far = made.workers[0]
    assert of(far)
    assert of(made.head_node)
    os.kill(far.daemon_pid, signal.SIGKILL)
    until(lambda: not of(far), seconds=60)
    for n, ref in enumerate(refs):
        assert ray.get(ref)[-1] == n


def test_a_killed_cluster_is_tidied_up_by_the_next_one_on_its_machine(bucket, until, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))

    def ids():
        return {re.search(r"objects_(\w+)-", key).group(1) for key in bucket()}

    def fill():
        options = dict(object_store_memory=80 * MIB, _system_config=spilling_to("s3://spill/x"))
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, **options)
        return [ray.put(blob(n)) for n in range(12)]

    @ray.remote
    def daemon():
        """Process id of the daemon, which is above its workers."""
        pid = os.getpid()
        while True:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if b"__local" in line.read():
                    return pid
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])

    refs = fill()
    first = ray.get_runtime_context().get_node_id()
    os.kill(ray.get(daemon.remote()), signal.SIGKILL)
    ray.shutdown()
    assert ids() == {first}
    refs = fill()
    until(lambda: ids() == {ray.get_runtime_context().get_node_id()}, seconds=60)
    del refs
    ray.shutdown()
    assert bucket() == []


def test_a_bucket_that_does_not_exist_is_told_at_once(start, s3):
    with pytest.raises(Exception, match="there is no bucket nobucket"):
        start(_system_config=spilling_to("s3://nobucket/x"))
