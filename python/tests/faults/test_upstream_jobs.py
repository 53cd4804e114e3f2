"""The job server, driven by upstream's own client and command line."""

import json
import os
import pathlib
import subprocess

import pytest

from .conftest import HEAD_OPTIONS, Cluster, _binary

PROGRAM = pathlib.Path(__file__).with_name("upstream_jobs.py")
MAIN = """\
import os, beside, ray
ray.init(log_to_driver=False)
print("task:", ray.get(ray.remote(lambda: beside.VALUE + 1).remote()))
print("given:", os.environ["GIVEN"])
"""

pytestmark = pytest.mark.timeout(600)  # the first test installs upstream's package


@pytest.fixture(scope="module")
def cluster():
    made = Cluster(_binary(), *HEAD_OPTIONS, "--resources", '{"thing": 1}')
    try:
        made.url = "http://" + made.announcement()["dashboard"]
        made.token = (made.root / "home" / ".ray" / "auth_token").read_text().strip()
        yield made
    finally:
        made.close()


@pytest.fixture
def client(cluster, upstream, tmp_path):
    """``client(word, ..., token=None)``: a program of upstream's environment, which sees no setting of this process."""
    project, beside = tmp_path / "project", tmp_path / "beside"
    project.mkdir()
    beside.mkdir()
    (project / "main.py").write_text(MAIN)
    (beside / "__init__.py").write_text("VALUE = 41\n")

    def run(*words, token=cluster.token):
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
        env.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        return subprocess.run(
            [str(w) for w in words],
            env=env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    run.python, run.ray = upstream, pathlib.Path(upstream).with_name("ray")
    return run


def test_the_client_library(cluster, client, tmp_path):
    done = client(client.python, PROGRAM, cluster.url, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["id"] == "the-first" and said["status"] == "SUCCEEDED"
    assert said["followed"] == said["logs"] and "task: 42\ngiven: a value\n" in said["logs"]
    assert said["info"] == {
        "type": "SUBMISSION",
        "entrypoint": "python main.py",
        "metadata": {"of": "upstream"},
        "submission_id": "the-first",
        "driver_exit_code": 0,
    }
    assert said["env"] == {"GIVEN": "a value"} and said["driver"] == "127.0.0.1"
    assert "the-first already exists" in said["twice"]
    status, code, message = said["failed"]
    assert (status, code) == ("FAILED", 3) and "exit code 3" in message and "why" in message
    assert "RuntimeError" in said["delete of one that runs"]
    assert said["stop"] is True and said["stopped"] == "STOPPED" and said["delete"] is True
    assert "the-first" in said["listed"] and len(said["listed"]) == 3
    assert "does not exist" in said["deleted"]


def test_the_command_line(cluster, client):
    job = [client.ray, "job"]
    there = ["--address", cluster.url]
    done = client(
        *job, "submit", *there, "--submission-id", "by-words", "--working-dir", "project", "--", "cat", "main.py"
    )
    assert done.returncode == 0 and "given:" in done.stdout and "Job 'by-words' succeeded" in done.stdout, (
        done.stdout + done.stderr
    )
    done = client(*job, "submit", *there, "--", "sh", "-c", "echo so; exit 4")
    assert done.returncode == 1 and "\nso\n" in done.stdout and "failed" in done.stdout, done.stdout + done.stderr
    done = client(*job, "submit", *there, "--no-wait", "--submission-id", "slow", "--", "sleep", "600")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job 'slow' was stopped" in client(*job, "stop", *there, "slow").stdout
    assert "Job 'slow' was stopped" in client(*job, "status", *there, "slow").stdout
    assert "given:" in client(*job, "logs", *there, "by-words").stdout
    assert "by-words" in client(*job, "list", *there).stdout
    assert "Job 'slow' deleted successfully" in client(*job, "delete", *there, "slow").stdout


def test_a_wrong_token(cluster, client):
    done = client(client.ray, "job", "list", "--address", cluster.url, token="wrong")
    assert done.returncode == 1 and "oken" in done.stderr + done.stdout, done
