"""A job whose driver runs on another node than the head, over a restart of the head."""

import http.client
import json
import os
import signal
import subprocess

import pytest

from .conftest import Cluster, _binary, wait_until
from .test_job_requests import Server

DRIVER = """
trap '' TERM
sh -c 'trap "" TERM; while :; do sleep 0.1; done' & echo child $!
echo driver $$
while :; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs, and a node daemon of its own with the resource "second"."""
    made = Cluster(
        _binary(),
        "--num-cpus",
        "0",
        "--object-store-memory",
        "80000000",
        "--dashboard-port",
        "0",
        env={"RAY_JOB_STOP_WAIT_TIME_S": "0.3"},
    )
    joined = made.ray(
        "start",
        "--address",
        made.address,
        "--num-cpus",
        "1",
        "--resources",
        '{"second": 1}',
        "--object-store-memory",
        "80000000",
    )
    assert joined.returncode == 0, joined.stdout + joined.stderr
    yield made
    made.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def head_of(cluster):
    (pid,) = (pid for pid, line in cluster.processes().items() if " __head" in line)
    return pid


def test_stop_on_the_second_node_after_a_restart_of_the_head(cluster):
    server = Server(cluster)
    id = server.submit(DRIVER, entrypoint_resources={"second": 1})
    wait_until(lambda: "driver" in server.logs(id), 30, "the driver prints")
    job = server.job(id)
    nodes = {row["node_id"]: row for row in cluster_nodes(cluster)}
    assert not nodes[job["driver_node_id"]]["is_head_node"]
    pids = [int(line.split()[1]) for line in server.logs(id).splitlines()]
    follower = subprocess.Popen(
        [cluster.binary, "job", "logs", "-f", id], env=cluster.env, stdout=subprocess.PIPE, text=True
    )
    heading = f"Running entrypoint for job {id}: {DRIVER}\n"
    assert follower.stdout.read(len(heading)) == heading
    assert follower.stdout.readline() == f"child {pids[0]}\n"

    before = head_of(cluster)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in cluster.processes(), 10, "the head is gone")

    def taken_up():
        try:
            return server.job(id)["status"] == "RUNNING"
        except OSError:
            return False

    wait_until(taken_up, 60, "the new head knows the job")
    assert all(alive(pid) for pid in pids)
    wait_until(lambda: len(cluster_nodes(cluster)) == 2, 60, "the second node is back")

    assert server.ask("POST", f"/api/jobs/{id}/stop") == (200, '{"stopped":true}\n')
    assert server.ended(id)["status"] == "STOPPED"
    wait_until(lambda: not any(alive(pid) for pid in pids), 10, "driver and child are gone")
    with follower.stdout:
        rest = follower.stdout.read()
    assert follower.wait(timeout=60) == 1  # stopped is no success
    assert rest == f"driver {pids[1]}\n"  # nothing is lost, nothing comes twice
    assert server.logs(id) == f"child {pids[0]}\ndriver {pids[1]}\n"
    assert server.ask("DELETE", f"/api/jobs/{id}")[0] == 200
    assert not list(cluster.root.rglob(f"job-driver-{id}.log*"))


def test_the_end_of_a_job_is_known_though_it_ends_without_a_head(cluster):
    server = Server(cluster)
    before = head_of(cluster)
    go = cluster.root / "work" / "go"
    id = server.submit(f"while [ ! -e {go} ]; do sleep 0.05; done; kill -KILL {before}; exit 7")
    wait_until(lambda: server.job(id)["status"] == "RUNNING", 30, "the job runs")
    go.touch()

    def ended():
        try:
            job = server.job(id)
        except (OSError, http.client.HTTPException):
            return None
        return job if job["status"] != "RUNNING" else None

    job = wait_until(ended, 60, "the new head knows that the job has ended")
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 7), job


def test_the_end_of_a_driver_is_known_though_it_ends_without_a_head(cluster):
    """What its actor holds on the other node is free again."""
    before = head_of(cluster)
    source = f"""
        import os, ray, signal
        ray.init(log_to_driver=False)

        @ray.remote(num_cpus=0, resources={{"second": 1}})
        class Holder:
            def pid(self):
                return os.getpid()

        holder = Holder.remote()
        print(ray.get(holder.pid.remote()), flush=True)
        os.kill({before}, signal.SIGKILL)
        os._exit(0)
        """
    status, out, err = cluster.drive(source)
    assert status == 0, err
    wait_until(lambda: not alive(int(out)), 60, "the actor ends with its driver")

    def over():
        done = cluster.ray("list", "jobs", "--format", "json")
        rows = json.loads(done.stdout) if done.returncode == 0 else []
        return rows and not any(row["status"] == "RUNNING" for row in rows)

    wait_until(over, 60, "the job is over")


def cluster_nodes(cluster):
    done = cluster.ray("list", "nodes", "--format", "json", "--filter", "state=ALIVE")
    return json.loads(done.stdout) if done.returncode == 0 else []
