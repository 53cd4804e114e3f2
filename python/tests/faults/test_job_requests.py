"""What the job server does with bad requests, over HTTP to the real binary."""

import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import socket
import sys
import urllib.parse
import zipfile

import pytest
from ray.job_submission import JobSubmissionClient

from .conftest import wait_until

GIB = 1 << 30


@pytest.fixture(scope="module")
def server(cluster):
    """Asks the job server as this cluster's user."""
    return Server(cluster)


class Server:
    def __init__(self, cluster):
        self.host = cluster.announcement()["dashboard"]
        self.token = (cluster.root / "home" / ".ray" / "auth_token").read_text().strip()

    def ask(self, method, path, body=None, headers=None, token=None):
        """(status, text); the body is a value for JSON, bytes, or a file."""
        send = {"Authorization": f"Bearer {self.token if token is None else token}", **(headers or {})}
        if token == "":
            del send["Authorization"]
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "read"):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body=body, headers=send)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def submit(self, entrypoint, **fields):
        status, text = self.ask("POST", "/api/jobs/", {"entrypoint": entrypoint, **fields})
        assert status == 200, text
        return json.loads(text)["submission_id"]

    def job(self, id):
        status, text = self.ask("GET", f"/api/jobs/{id}")
        assert status == 200, text
        return json.loads(text)

    def ended(self, id, seconds=60):
        def over():
            job = self.job(id)
            return job if job["status"] in ("SUCCEEDED", "FAILED", "STOPPED") else None

        return wait_until(over, seconds, f"the end of job {id}")

    def logs(self, id):
        """What a job's entrypoint has printed: its log without the line that names the entrypoint."""
        status, text = self.ask("GET", f"/api/jobs/{id}/logs")
        assert status == 200, text
        heading = f"Running entrypoint for job {id}: {self.job(id)['entrypoint']}\n"
        return json.loads(text)["logs"].removeprefix(heading)

    def jobs(self):
        return json.loads(self.ask("GET", "/api/jobs/")[1])


class Zeros(io.RawIOBase):
    """A file of so many zero bytes that takes no memory."""

    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)


def test_wrong_token(server):
    before = server.jobs()
    for token in ("", "f" * 64):
        for method, path, body in (
            ("POST", "/api/jobs/", {"entrypoint": "true"}),
            ("GET", "/api/jobs/", None),
            ("GET", "/api/jobs/x/logs/tail", None),
            ("PUT", "/api/packages/gcs/_ray_pkg_0.zip", b"x"),
        ):
            status, text = server.ask(method, path, body, token=token)
            assert status in (401, 403), (method, path, text)
            assert "token" in text.lower()
            assert server.token not in text
    assert server.jobs() == before


@pytest.mark.parametrize("method, path", [("POST", "/api/jobs/"), ("PUT", "/api/packages/gcs/_ray_pkg_1.zip")])
def test_body_of_a_gigabyte(cluster, server, method, path):
    status, text = server.ask(method, path, Zeros(GIB), headers={"Content-Length": str(GIB)})
    assert status == 413, text
    assert "larger than" in text and "MiB" in text
    assert server.ask("GET", "/api/packages/gcs/_ray_pkg_1.zip")[0] == 404
    for pid in cluster.processes():
        with open(f"/proc/{pid}/status") as file:
            (peak,) = (int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        assert peak < (900 << 10), f"process {pid} kept the body"  # KiB


def test_working_dir_that_is_too_large(server, tmp_path, monkeypatch):
    for name, size in (("models", 450 << 20), ("data/raw", 150 << 20), ("src", 1000)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        with open(folder / "file.bin", "wb") as file:
            file.truncate(size)  # sparse
    monkeypatch.setenv("RAY_AUTH_TOKEN", server.token)
    client = JobSubmissionClient(f"http://{server.host}")
    before = server.jobs()
    with pytest.raises(ValueError, match=r"models/ \(450\.00MiB\), data/.* \(150\.00MiB\)") as caught:
        client.submit_job(entrypoint="true", runtime_env={"working_dir": str(tmp_path)})
    assert "excludes" in str(caught.value)
    assert server.jobs() == before
    id = client.submit_job(
        entrypoint="ls -R", runtime_env={"working_dir": str(tmp_path), "excludes": ["models", "data"]}
    )
    assert server.ended(id)["status"] == "SUCCEEDED"
    assert "file.bin" in server.logs(id)


def test_submission_id_used_twice(server):
    id = server.submit("echo once", submission_id="given")
    assert id == "given"
    server.ended(id)
    for body in ({"submission_id": "given"}, {"job_id": "given"}):
        status, text = server.ask("POST", "/api/jobs/", {"entrypoint": "echo twice", **body})
        assert (status, "given already exists" in text) == (400, True), text
    assert server.logs(id) == "once\n"


def test_delete(cluster, server):
    """A deleted job's output is gone, and its id is free."""

    def logs():
        return list(cluster.root.rglob("job-driver-again.log"))

    for text in ("first", "second"):
        id = server.submit(f"echo {text}", submission_id="again")
        assert server.ended(id)["status"] == "SUCCEEDED"
        assert server.logs(id) == f"{text}\n"
        assert len(logs()) == 1
        assert server.ask("DELETE", f"/api/jobs/{id}") == (200, '{"deleted":true}\n')
        assert server.ask("GET", f"/api/jobs/{id}")[0] == 404
        assert not logs()


def test_many_with_one_submission_id(server):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(server.ask, "POST", "/api/jobs/", {"entrypoint": "echo one", "submission_id": "race"})
            for _ in range(8)
        ]
    assert sorted(future.result()[0] for future in asked) == [200] + [400] * 7
    assert server.ended("race")["status"] == "SUCCEEDED"
    assert server.logs("race") == "one\n"


def test_entrypoint_that_does_not_exist(server):
    job = server.ended(server.submit("no-such-program --flag"))
    assert job["status"] == "FAILED"
    assert job["driver_exit_code"] == 127
    assert "exit code 127" in job["message"] and "no-such-program" in job["message"]


def test_log_of_a_job_without_log(server):
    id = server.submit("true", entrypoint_num_cpus=1000)
    job = server.job(id)
    assert job["status"] == "PENDING" and "waiting for resources" in job["message"]
    assert server.logs(id) == ""
    wait_until(
        lambda: "It is waiting for resources: no node" in server.job(id)["message"], 20, "the reason of the wait"
    )
    status, text = server.ask("POST", f"/api/jobs/{id}/stop")
    assert (status, json.loads(text)) == (200, {"stopped": True})
    assert server.ended(id)["status"] == "STOPPED"
    assert server.logs(id) == ""
    assert server.ask("GET", "/api/jobs/nobody/logs")[0] == 404


def test_zip_that_climbs(cluster, server):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", "print(1)\n")
        archive.writestr("../../climbed.txt", "out\n")
    uri = "gcs/_ray_pkg_climbs.zip"
    assert server.ask("PUT", f"/api/packages/{uri}", packed.getvalue())[0] == 200
    id = server.submit("python main.py", runtime_env={"working_dir": f"gcs://{uri.split('/')[1]}"})
    job = server.ended(id)
    assert (job["status"], job["error_type"]) == ("FAILED", "RUNTIME_ENV_SETUP_FAILURE"), job
    assert "climbed.txt" in job["message"] and "unsafe name" in job["message"]
    assert server.logs(id) == ""  # it never ran
    assert not list(cluster.root.rglob("climbed.txt"))


def test_stop_while_the_environment_is_made(cluster, server):
    """The node that was told to start it gives up, and nothing of it runs later."""

    def installers():
        return [line for line in cluster.processes().values() if "requirements.txt" in line]

    marker = cluster.root / "ran"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x-1.0-py3-none-any.whl"
        id = server.submit(f"touch {marker}", runtime_env={"pip": [f"x @ {url}"]})
        with silent.accept()[0]:
            assert installers()
            assert server.job(id)["driver_node_id"]
            wait_until(lambda: "to be set up: pip: " in server.job(id)["message"], 20, "what it waits for is told")
            assert server.logs(id) == ""
            assert json.loads(server.ask("POST", f"/api/jobs/{id}/stop")[1]) == {"stopped": True}
            assert server.job(id)["status"] == "STOPPED"
            # The installer waits for its answer, and is ended without one.
            wait_until(lambda: not installers(), 10, f"the end of {installers()}")
    assert server.job(id)["status"] == "STOPPED"
    assert not marker.exists()


@pytest.fixture
def little_memory():
    """Folder of a control group whose processes may have 64 MiB together."""
    root = pathlib.Path("/sys/fs/cgroup")
    folder, limit = root / f"ray-test-{os.getpid()}", "memory.max"
    if (root / "memory").is_dir():
        folder, limit = root / "memory" / folder.name, "memory.limit_in_bytes"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (folder / limit).write_text(str(64 << 20))
            (folder / "cgroup.procs").read_text()
        except OSError as error:
            pytest.skip(f"the memory of a control group cannot be limited here: {error}")
        yield folder
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), 10, "the group's processes end")
        folder.rmdir()


@pytest.mark.parametrize("after", ["", "; exit $?"])
def test_killed_for_want_of_memory(server, little_memory, after):
    """By the kernel, as the entrypoint itself or as a child of its shell."""
    eat = f"{sys.executable} -c 'print(1, flush=True); x = bytearray(300 << 20)'"
    job = server.ended(server.submit(f"echo $$ > {little_memory}/cgroup.procs; {'' if after else 'exec '}{eat}{after}"))
    assert job["status"] == "FAILED"
    assert job["driver_exit_code"] == (137 if after else -9)
    assert "want of memory" in job["message"], job
    job = server.ended(server.submit("kill -9 $$"))
    assert "signal 9" in job["message"] and "want of memory" not in job["message"]


def test_200_submissions_at_once(server):
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(lambda n: server.submit(f"echo number {n}"), range(200)))
    assert len(set(ids)) == 200

    def rows():
        found = {row["submission_id"]: row for row in server.jobs()}
        mine = [found[id] for id in ids]
        return mine if all(row["status"] not in ("PENDING", "RUNNING") for row in mine) else None

    ended = wait_until(rows, 120, "the end of 200 jobs")
    assert {row["status"] for row in ended} == {"SUCCEEDED"}, [row["message"] for row in ended]
    for n in (0, 99, 199):
        assert server.logs(ids[n]) == f"number {n}\n"


def test_package_goes_with_the_last_job_that_used_it(cluster, server, tmp_path):
    (tmp_path / "main.py").write_text("import os\nprint(os.getcwd())\n")
    packages = cluster.root / "ray" / "session_latest" / "packages"

    def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_TOKEN", server.token)
            client = JobSubmissionClient(f"http://{server.host}")
            id = client.submit_job(entrypoint="python main.py", runtime_env={"working_dir": str(tmp_path)})
        assert server.ended(id)["status"] == "SUCCEEDED"
        return id, server.job(id)["runtime_env"]["working_dir"]

    def there():
        name = urllib.parse.quote(uri, safe="")
        return [
            file for file in packages.iterdir() if urllib.parse.quote(urllib.parse.unquote(file.name), safe="") == name
        ]

    (first, uri), (second, same) = run(), run()
    assert uri == same and there()
    (other, other_uri) = server.submit("true"), "gcs/_ray_pkg_other.zip"
    assert server.ended(other)
    assert server.ask("PUT", f"/api/packages/{other_uri}", b"x")[0] == 200  # for a job that is still to come
    assert server.ask("DELETE", f"/api/jobs/{first}")[0] == 200
    assert there()
    assert server.ask("DELETE", f"/api/jobs/{second}")[0] == 200
    wait_until(lambda: not there(), 30, "the package is removed")
    assert server.ask("GET", f"/api/packages/{other_uri}")[0] == 200
    listed = {job["submission_id"] for job in server.jobs()}
    assert other in listed and not listed & {first, second}
    third, uri = run()  # it is uploaded anew
    assert there()
