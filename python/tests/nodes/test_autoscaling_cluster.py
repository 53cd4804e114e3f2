"""ray.cluster_utils.AutoscalingCluster: a cluster that grows and shrinks by itself."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest

PROGRAM = """
    import time
    import ray
    from ray.cluster_utils import AutoscalingCluster

    cluster = AutoscalingCluster(
        head_resources={"CPU": 0, "here": 1},
        worker_node_types={
            "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 1, "max_workers": 2},
            "odd": {"resources": {"CPU": 1, "odd": 2}, "node_config": {}, "max_workers": 1},
        },
        idle_timeout_minutes=0.02,
    )
    cluster.start(_system_config={"min_spilling_size": 1000}, override_env={"OF_THE_CLUSTER": "yes"})
    ray.init("auto", log_to_driver=False)

    @ray.remote(num_cpus=1, resources={"odd": 1})
    def where():
        import os
        return os.environ["OF_THE_CLUSTER"]

    @ray.remote(num_cpus=0, resources={"here": 1})
    def head():
        return "head"

    print(ray.get([where.remote(), head.remote()], timeout=60))
    for deadline in range(600):
        if ray.cluster_resources().get("odd", 0) == 0 and ray.cluster_resources().get("CPU") == 1:
            break
        time.sleep(0.1)
    print(ray.cluster_resources()["CPU"])
"""


def processes_of(root):
    """Command lines of the processes that were started with a root in their environment."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if str(root).encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes())
        except OSError:  # gone, or another user's
            continue
    return found


@pytest.mark.timeout(180)
def test_grows_and_shrinks(until):
    """It does, and ends with its program, which has not shut it down."""
    root = tempfile.mkdtemp(prefix="rayscale-", dir="/tmp")
    try:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_") or name == "RAY_BINARY"}
        env.update(HOME=root, TMPDIR=root, RAY_TMPDIR=os.path.join(root, "r"))
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        assert "['yes', 'head']\n1.0\n" in done.stdout, done.stdout + done.stderr
        until(lambda: not processes_of(root))
        assert not list(pathlib.Path(root).glob("ray-autoscaling-*"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
