"""What ``ray memory`` shows: who holds which object, and what the stores hold and have done."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import ray
from ray._private.internal_api import memory_summary
from ray.util.state import list_objects, summarize_objects


def kinds():
    """The reference types of all rows."""
    return sorted(
        re.findall(r"\b(LOCAL_REFERENCE|PINNED_IN_MEMORY|CAPTURED_IN_OBJECT|USED_BY_PENDING_TASK)\b", memory_summary())
    )


def test_why_objects_are_held(start, until):
    start()
    ref = ray.put(np.zeros(100_000))
    assert kinds() == ["LOCAL_REFERENCE"]
    value = ray.get(ref)
    assert kinds() == ["PINNED_IN_MEMORY"]
    del ref
    until(lambda: kinds() == ["PINNED_IN_MEMORY"])  # the last reference is gone, the memory in use
    del value
    until(lambda: kinds() == [])

    outer = ray.put([ray.put(np.zeros(100_000))])
    until(lambda: kinds() == ["CAPTURED_IN_OBJECT", "LOCAL_REFERENCE"])

    @ray.remote(num_cpus=100)
    def never(x):
        pass

    waits = never.remote(outer)
    until(lambda: kinds() == ["CAPTURED_IN_OBJECT", "LOCAL_REFERENCE", "USED_BY_PENDING_TASK"])
    assert re.search(r"PENDING_NODE_ASSIGNMENT +1 +\? ", memory_summary())
    ray.cancel(waits)


def rows():
    """Of each reference: the type of its process, why it is held, and what made it."""
    found = []
    for line in memory_summary().splitlines():
        match = re.match(
            r"\S+ +\d+ +(Driver|Worker) +(\(.*?\) [^ ]* ?[^ ]*|disabled) .* ([A-Z]+_[A-Z_]+) +[0-9a-f]{56}$", line
        )
        if match:
            found.append((match[1], match[3], match[2].rstrip()))
    return sorted(found)


@pytest.mark.parametrize("how", ["environment", "system_config"])
def test_where_references_were_made(start, monkeypatch, until, how):
    monkeypatch.delenv("RAY_record_ref_creation_sites", raising=False)
    monkeypatch.setattr("ray._core.link.RECORD_SITES", False)
    if how == "environment":
        monkeypatch.setenv("RAY_record_ref_creation_sites", "1")
        start()
    else:
        start(_system_config={"record_ref_creation_sites": True})
    line = f"{__file__}:test_where_references_were_made:"

    @ray.remote
    def look(array, inside):
        mine = ray.put("mine")
        deadline = time.monotonic() + 30  # what the driver says of the call comes after it
        while "disabled" in [site for _, _, site in rows()] and time.monotonic() < deadline:
            time.sleep(0.02)
        return rows(), mine

    @ray.remote(num_cpus=0)
    class Keeper:
        def keep(self, inside):
            self.kept = inside

    put = ray.put("put")
    number = sys._getframe().f_lineno + 1
    seen, mine = ray.get(look.remote(np.zeros(100_000), [put]))
    assert seen == [
        ("Driver", "LOCAL_REFERENCE", f"(put object) | {line}{number - 2}"),
        ("Driver", "LOCAL_REFERENCE", f"(task call) | {line}{number}"),  # what it returns
        ("Driver", "USED_BY_PENDING_TASK", f"(task call) | {line}{number}"),  # what it is given
        ("Worker", "LOCAL_REFERENCE", "(deserialize task arg) look"),  # put
        ("Worker", "LOCAL_REFERENCE", f"(put object) | {__file__}:look:{number - 13}"),
        ("Worker", "PINNED_IN_MEMORY", "(deserialize task arg) look"),
    ]
    del mine
    keeper = Keeper.remote()
    ray.get(keeper.keep.remote([put]))
    expected = [
        ("Driver", "ACTOR_HANDLE", f"(actor call) | {line}{number + 10}"),
        ("Driver", "LOCAL_REFERENCE", f"(put object) | {line}{number - 2}"),
        ("Worker", "ACTOR_HANDLE", "disabled"),
        ("Worker", "LOCAL_REFERENCE", "(deserialize actor task arg) Keeper.keep"),
    ]
    until(lambda: rows() == expected)


def test_what_counts_as_small_is_a_setting(start):
    start(_system_config={"max_direct_call_object_size": 100})
    small, large = ray.put(b"x" * 20), ray.put(b"x" * 1000)
    assert ", 1 objects," in memory_summary(stats_only=True)
    made = ray.remote(lambda: b"x" * 1000).remote()
    assert ray.get(made, timeout=60) == ray.get(large)
    assert ", 2 objects," in memory_summary(stats_only=True) and len(ray.get(small)) == 20


def test_what_the_stores_hold_and_have_done(start, tmp_path):
    config = '{"type": "filesystem", "params": {"directory_path": "%s"}}' % tmp_path
    start(object_store_memory=100 << 20, _system_config={"object_spilling_config": config})
    small = ray.put(np.zeros(1 << 20, dtype=np.uint8))
    stats = memory_summary(stats_only=True)
    assert "Plasma memory usage 1 MiB, 1 objects, 1.0" in stats and "Spilled" not in stats and small.hex() not in stats
    refs = [ray.put(np.full(20 << 20, n, dtype=np.uint8)) for n in range(10)]
    assert [int(ray.get(ref)[-1]) for ref in refs] == list(range(10))
    moved = re.findall(
        r"(Spilled|Restored) (\d+) MiB, (\d+) objects, avg (?:write|read) throughput \d+ MiB/s",
        memory_summary(stats_only=True),
    )
    assert [what for what, _, _ in moved] == ["Spilled", "Restored"]
    assert all(int(mib) >= 20 and int(count) >= 1 for _, mib, count in moved)


def test_the_command_says_the_same(start):
    start(include_dashboard=True, dashboard_port=0)
    ref = ray.put(np.zeros(4 << 20, dtype=np.uint8))
    command = ["ray", "memory", "--address", ray.get_runtime_context().gcs_address, "--units", "MB"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert "4.0 MB in 1 objects: 1 local reference" in text and ref.hex() in text
    assert "Plasma memory usage 4 MiB, 1 objects" in text


def test_objects_in_the_state_api(start, until):
    start(include_dashboard=True, dashboard_port=0)

    @ray.remote(num_cpus=0)
    class Holder:
        def hold(self, refs):
            self.refs = refs

    large, small = ray.put(np.zeros(4 << 20, dtype=np.uint8)), ray.put(1)
    holder = Holder.remote()
    ray.get(holder.hold.remote([large]))
    held = [row for row in list_objects(limit=100) if row.object_id == large.hex()]
    assert sorted((row.type, row.reference_type, row.object_size > 4 << 20) for row in held) == [
        ("DRIVER", "LOCAL_REFERENCE", True),
        ("WORKER", "LOCAL_REFERENCE", True),
    ]
    assert small.hex() in [row.object_id for row in list_objects(filters=[("type", "=", "DRIVER")])]

    def three():  # once the reference to what the call has returned is gone
        found = summarize_objects()["cluster"]
        return found if found["summary"]["disabled"]["ref_type_counts"]["LOCAL_REFERENCE"] == 3 else None

    found = until(three)
    assert found["callsite_enabled"] is False and found["summary_by"] == "callsite"
    group = found["summary"]["disabled"]
    assert group["total_objects"] == found["total_objects"] == len(list_objects())
    assert group["total_num_workers"] == 2 and group["total_num_nodes"] == 1 and 8 <= group["total_size_mb"] < 9
    command = ["ray", "summary", "objects", "--address", ray.get_runtime_context().gcs_address]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert "callsite_enabled: False" in text and "LOCAL_REFERENCE: 3" in text


@pytest.mark.parametrize(("threshold", "count", "written"), [(None, 10, 5), (1.0, 8, 0), (0.1, 10, 9)])
def test_a_store_that_fills_is_written_to_disk_ahead(start, tmp_path, threshold, count, written):
    config = {"type": "filesystem", "params": {"directory_path": str(tmp_path)}}
    system = {"object_spilling_config": json.dumps(config), "min_spilling_size": 10 << 20}
    if threshold:
        system["object_spilling_threshold"] = threshold
    start(object_store_memory=110 << 20, _system_config=system)
    refs = [ray.put(np.full(10 << 20, n, dtype=np.uint8)) for n in range(count)]

    def spilled():
        found = re.search(r"Spilled \d+ MiB, (\d+) objects", memory_summary(stats_only=True))
        return int(found.group(1)) if found else 0

    deadline = time.monotonic() + 60
    while spilled() < written and time.monotonic() < deadline:
        time.sleep(0.05)
    # At the threshold all of them are in memory all the same.
    assert spilled() == written
    assert f"Plasma memory usage {count * 10} MiB, {count} objects" in memory_summary(stats_only=True)
    assert [int(ray.get(ref)[-1]) for ref in refs] == list(range(count))


def test_tasks_may_use_what_init_gave(start):
    context = start()

    @ray.remote
    def address():
        return context["address"], context.dashboard_url

    assert ray.get(address.remote()) == (context["address"], context.dashboard_url)
