"""What a node's metrics say of its objects."""

import re
import urllib.request

import numpy as np
import ray

MIB = 1 << 20


def figures(node):
    """The figures of a node, by name and its Type or Location."""
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        match = re.match(r"ray_(\w+)\{(.*)\} (\S+)$", line)
        if match:
            kind = re.search(r'(?:Type|Location)="(\w+)"', match.group(2))
            found[match.group(1), kind.group(1) if kind else ""] = float(match.group(3))
    return found


def test_use_spilling_and_transfer(cluster, until):
    cluster({"object_store_memory": 80 * MIB}, dict(num_cpus=1, resources={"w": 1}, object_store_memory=100 * MIB))

    @ray.remote(resources={"w": 0.1})
    def length(array):
        return len(array)

    refs = [ray.put(np.zeros(10 * MIB, dtype=np.uint8)) for _ in range(16)]
    assert ray.get(length.remote(refs[-1]), timeout=60) == 10 * MIB
    for ref in refs:
        ray.get(ref)
    head, other = sorted(ray.nodes(), key=lambda node: "w" in node["Resources"])
    pushed = ("object_manager_bytes", "PushedFromLocalPlasma")
    until(lambda: figures(head)[pushed] == figures(other)["object_manager_bytes", "Received"] > 10 * MIB)
    here, there = figures(head), figures(other)
    assert here["object_store_used_memory", ""] == here["object_store_memory", "MMAP_SHM"] > 10 * MIB
    assert here["object_store_used_memory", ""] + here["object_store_available_memory", ""] == 80 * MIB
    assert here["spill_manager_bytes", "Spilled"] >= here["object_store_memory", "SPILLED"] > 80 * MIB
    assert here["spill_manager_bytes", "Restored"] > 10 * MIB
    assert here["spill_manager_request_total", "Spilled"] >= 8
    assert here["spill_manager_request_total", "Restored"] >= 1
    assert there[pushed] == 0


def test_what_the_store_has_left(start, until):
    """ray.available_resources, and with it ray status, tells of the object store as of CPUs."""
    mib = 1 << 20
    start(object_store_memory=200 * mib)

    def left():
        return ray.available_resources()["object_store_memory"] / mib

    until(lambda: left() == 200)
    ref = ray.put(np.zeros(60 * mib, dtype=np.uint8))
    until(lambda: 139 < left() < 141)
    assert ray.cluster_resources()["object_store_memory"] == 200 * mib
    del ref
    until(lambda: left() == 200)
