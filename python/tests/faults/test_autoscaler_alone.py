"""The autoscaler in a process of its own: `ray autoscaler --address HOST:PORT --config FILE`."""

import json
import signal
import subprocess

import pytest

from .conftest import HEAD_OPTIONS, Cluster, _binary, wait_until

CLUSTER = """
cluster_name: alone
provider: {type: process}
max_workers: 4
idle_timeout_minutes: 0.05
available_node_types:
  head: {resources: {CPU: 2}, max_workers: 0}
  worker: {resources: {CPU: 2, room: 2}, max_workers: 4}
head_node_type: head
"""
# Three tasks that need a worker each, until the file is there.
LOAD = """
    import os, sys, time, ray

    ray.init(log_to_driver=False)

    @ray.remote(num_cpus=1, resources={"room": 2})
    def hold(path):
        while not os.path.exists(path):
            time.sleep(0.05)

    ray.get([hold.remote(sys.argv[1]) for _ in range(3)])
    print("done", flush=True)
"""


class Scaled(Cluster):
    """A head that leaves the scaling to others."""

    def __init__(self):
        super().__init__(_binary(), *HEAD_OPTIONS, "--include-dashboard=true", "--no-monitor")
        self.file = self.root / "work" / "cluster.yaml"
        self.file.write_text(CLUSTER)

    def scaler(self):
        """Starts the autoscaler; its log is a file."""
        log = (self.root / "work" / f"scaler_{len(self.started)}.log").open("w+")
        process = subprocess.Popen(
            [self.binary, "autoscaler", "--address", self.address, "--config", str(self.file)],
            env=self.env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        process.stdout = process.stderr = log
        self.started.append(process)
        return process

    def status(self):
        done = self.ray("status", "--json", "--address", self.address)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def workers(self, state=None):
        """Ids of the nodes of machines, dead ones too, or those in a state."""
        nodes = [n for n in self.status()["nodes"] if n["node_type"] == "worker"]
        return {n["node_id"] for n in nodes if state in (None, n["state"])}

    def logs(self):
        return "\n".join(path.read_text() for path in sorted((self.root / "work").glob("scaler_*.log")))


@pytest.fixture
def scaled():
    made = Scaled()
    yield made
    made.close()


@pytest.mark.timeout(240)
def test_up_killed_and_down(scaled):
    go = scaled.root / "work" / "go"
    driver = scaled.spawn(LOAD, str(go))
    first = scaled.scaler()
    # It is killed as soon as the head has heard that something is on its way.
    wait_until(lambda: scaled.status().get("pending") or scaled.workers(), 60, "a launch")
    first.send_signal(signal.SIGKILL)
    first.wait()

    second = scaled.scaler()
    wait_until(lambda: len(scaled.workers("ALIVE")) == 3, 90, "three workers")
    # The first may have brought them all: the third must not be quicker than the second.
    wait_until(lambda: scaled.logs().count("the autoscaler runs") == 2, 60, "the second runs")
    status = scaled.status()
    assert status["autoscaling"] and {t["name"] for t in status["node_types"]} == {"worker"}
    # A third one waits for its turn, which comes when the second leaves.
    third = scaled.scaler()
    wait_until(lambda: "waiting for its end" in scaled.logs(), 30, "the third waits")
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0, scaled.logs()

    go.touch()
    out, err = driver.communicate(timeout=60)
    assert out == "done\n", err
    wait_until(lambda: not scaled.workers("ALIVE"), 90, "no worker is left")
    # The set-up that the killed one had begun may have made a node before the second repeated it: machines count.
    machines = {n["instance"] for n in scaled.status()["nodes"] if n["node_type"] == "worker"}
    assert len(machines) == 3, "more were launched than were needed: " + scaled.logs()
    third.send_signal(signal.SIGTERM)
    assert third.wait(30) == 0, scaled.logs()


def test_a_head_that_scales_itself(scaled):
    """Two autoscalers for one cluster are refused."""
    scaled.ray("stop", "--force")
    done = scaled.ray(
        *("start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(scaled.port), *HEAD_OPTIONS),
        *("--autoscaling-config", str(scaled.file)),
    )
    assert done.returncode == 0, done.stderr
    done = scaled.ray("autoscaler", "--address", scaled.address, "--config", str(scaled.file))
    assert done.returncode == 1 and "--no-monitor" in done.stderr, done.stderr
