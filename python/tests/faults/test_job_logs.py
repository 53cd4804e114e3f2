"""A job's log stays within bounds, and whoever follows it misses nothing."""

import os
import signal
import subprocess

import pytest

from .conftest import HEAD_OPTIONS, Cluster, _binary, wait_until
from .test_job_requests import Server

BATCH, BATCHES = 10, 12


@pytest.fixture(scope="module")
def cluster():
    """Logs of 200 bytes, one older part of each."""
    limits = {"RAY_ROTATION_MAX_BYTES": "200", "RAY_ROTATION_BACKUP_COUNT": "1"}
    made = Cluster(_binary(), *HEAD_OPTIONS, env=limits)
    yield made
    made.close()


def expected(count):
    return "".join(f"line {number} of the job\n" for number in range(count))


def test_follow_over_rotations(cluster, tmp_path):
    """The job prints on when the follower has had what came before; its log holds a twelfth of it all."""
    server = Server(cluster)
    step = f"""
for batch in $(seq 0 {BATCHES - 1}); do
  for line in $(seq 0 {BATCH - 1}); do echo "line $((batch * {BATCH} + line)) of the job"; done
  while [ ! -e {tmp_path}/$batch ]; do sleep 0.01; done
done
"""
    id = server.submit(step, submission_id="printer")
    follower = subprocess.Popen(
        [cluster.binary, "job", "logs", "-f", id], env=cluster.env, stdout=subprocess.PIPE, text=True
    )
    got = ""
    for batch in range(BATCHES):
        while f"line {(batch + 1) * BATCH - 1} of" not in got:
            line = follower.stdout.readline()
            assert line, got
            got += line
        (tmp_path / str(batch)).touch()
    with follower.stdout:
        rest = follower.stdout.read()
    assert follower.wait(timeout=60) == 0
    lines = [line for line in (got + rest).splitlines(keepends=True) if line.endswith(" of the job\n")]
    assert "".join(lines) == expected(BATCHES * BATCH)
    assert server.ended(id)["status"] == "SUCCEEDED"

    (log,) = cluster.root.rglob("job-driver-printer.log")
    parts = sorted(log.parent.glob("job-driver-printer.log*"))
    assert [part.name for part in parts] == [log.name, log.name + ".1"]
    assert all(part.stat().st_size <= 200 for part in parts)
    text = server.logs(id)
    note, _, kept = text.partition("\n")
    assert "bytes of output are missing here" in note
    assert expected(BATCHES * BATCH).endswith(kept) and kept.count("\n") > BATCH
    last = cluster.ray("job", "logs", id).stdout
    assert f"line {BATCHES * BATCH - 1} of the job\n" in last

    assert server.ask("DELETE", f"/api/jobs/{id}")[0] == 200
    assert not list(log.parent.glob("*job-driver-printer*"))


def test_what_leaves_the_group_does_not_hold_up_the_end(cluster):
    """A process that the job leaves behind keeps its output open; all the job printed is there."""
    server = Server(cluster)
    id = server.submit("setsid sleep 300 & echo last words", submission_id="leaver")
    assert server.ended(id)["status"] == "SUCCEEDED"
    assert server.logs(id) == "last words\n"


def test_daemons_logs_are_bounded(cluster):
    """The head says more than 200 bytes, and so does the node when the head is killed."""
    for pid, line in cluster.processes().items():
        if "__head" in line:
            os.kill(pid, signal.SIGKILL)
    logs = cluster.root / "ray" / "session_latest" / "logs"
    for name in ("gcs_server.err", "raylet.err"):
        wait_until(lambda name=name: (logs / f"{name}.1").exists(), 30, f"{name} is moved aside")
        assert not (logs / f"{name}.2").exists()
        assert (logs / name).stat().st_size < 1000  # a line of it may pass the bound
