"""The memory monitor, for real: a node in a control group with little memory."""

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap

import pytest

LIMIT = 700 << 20


def _own_group():
    """The directory of this process's memory group, and whether it is of version 2."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        if "memory" in names.split(","):
            for base in (f"/sys/fs/cgroup/memory{path}", "/sys/fs/cgroup/memory"):
                if os.path.isdir(base):
                    return base, False
    return "/sys/fs/cgroup", True


@pytest.fixture
def small_group():
    """A memory group with LIMIT bytes; yields the file that takes the pids of its members."""
    base, v2 = _own_group()
    group = pathlib.Path(base) / f"raytest{os.getpid()}"
    try:
        if v2:
            (pathlib.Path(base) / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
        (group / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(LIMIT))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no memory group can be made here: {error}")
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


DRIVER = """
import os, time, ray
ray.init(num_cpus=4, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False,
         _system_config={"memory_usage_threshold": 0.8, "memory_monitor_refresh_ms": 50})

@ray.remote(max_retries=1)
def eats(path):
    with open(path, "a") as file:
        file.write("x")
    held = []
    while True:
        held.append(bytearray(16 << 20))
        for i in range(0, len(held[-1]), 4096):
            held[-1][i] = 1
        time.sleep(0.05)

@ray.remote(max_retries=0)
def careful(path):
    while not os.path.exists(path):
        time.sleep(0.05)
    return "lived"

memory = ray.cluster_resources()["memory"]
assert memory < 700 << 20, f"the node offers {memory} bytes, more than its group has"
begun, done = os.environ["BEGUN"], os.environ["DONE"]
kept = careful.remote(done)
try:
    ray.get(eats.remote(begun), timeout=120)
except ray.exceptions.OutOfMemoryError as error:
    print("ERROR", error)
open(done, "w").close()
print("KEPT", ray.get(kept, timeout=60))
print("BEGUN", os.path.getsize(begun))
ray.shutdown()
"""


def test_the_newest_task_that_may_be_retried_goes_first(small_group, tmp_path):
    with tempfile.TemporaryDirectory(prefix="rm", dir="/tmp") as root:
        env = dict(os.environ, RAY_TMPDIR=root, BEGUN=str(tmp_path / "begun"), DONE=str(tmp_path / "done"))
        driver = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(DRIVER)],
            env=env,
            capture_output=True,
            text=True,
            timeout=180,
            preexec_fn=lambda: small_group.write_text("0"),
        )
    out = driver.stdout
    assert driver.returncode == 0, out + driver.stderr
    assert "ERROR" in out and "nearly full" in out and "of 0.7 GB" in out, out
    assert "ray::eats" in out, out  # the largest processes are named by what they run
    assert "KEPT lived" in out and "BEGUN 2" in out, out  # once, and once again
