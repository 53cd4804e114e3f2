"""The client of the job server, against a server of the test's own."""

import asyncio
import json
import struct

import pytest
from ray.job_submission import DriverInfo, JobDetails, JobInfo, JobStatus, JobSubmissionClient, JobType, following

VERSION = {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"}
ROW = {"type": "SUBMISSION", "submission_id": "j1", "status": "RUNNING", "entrypoint": "true", "start_time": 5}


@pytest.fixture
def jobs(server):
    server.routes["GET", "/api/version"] = (200, VERSION)
    return JobSubmissionClient(server.url, metadata={"team": "a"})


def test_nobody_answers():
    with pytest.raises(ConnectionError, match="Failed to connect to Ray at address: http://127.0.0.1:1"):
        JobSubmissionClient("http://127.0.0.1:1")


def test_no_job_server(server):
    with pytest.raises(RuntimeError, match="Jobs API not supported"):
        JobSubmissionClient(server.url)


def test_addresses():
    with pytest.raises(ValueError, match="Invalid address format"):
        JobSubmissionClient("127.0.0.1")
    with pytest.raises(RuntimeError, match="Module: foo does not exist"):
        JobSubmissionClient("foo://127.0.0.1:1")


def test_submit(jobs, server):
    server.routes["POST", "/api/jobs/"] = (200, {"job_id": "j1", "submission_id": "j1"})
    env = {"env_vars": {"A": "1"}}
    assert jobs.submit_job(entrypoint="echo hi", runtime_env=env, metadata={"run": "7"}, entrypoint_num_cpus=1) == "j1"
    assert json.loads(server.requests[-1][2]) == {
        "entrypoint": "echo hi",
        "runtime_env": env,
        "metadata": {"team": "a", "run": "7"},
        "entrypoint_num_cpus": 1,
    }
    server.routes["POST", "/api/jobs/"] = (400, b"Job j1 exists")
    with pytest.raises(RuntimeError, match="j1"):
        jobs.submit_job(entrypoint="true", submission_id="j1")
    with pytest.raises(TypeError):
        jobs.submit_job(entrypoint=5)
    with pytest.raises(ValueError, match="conda"):
        jobs.submit_job(entrypoint="true", runtime_env={"pip": ["x"], "conda": "y"})


def test_working_dir_is_uploaded_once(jobs, server, tmp_path):
    (tmp_path / "main.py").write_text("print(1)\n")
    server.routes["POST", "/api/jobs/"] = (200, {"submission_id": "j1"})
    stored = {}

    def put(handler):
        name = handler.path.rsplit("/", 1)[1]
        stored[name] = server.requests[-1][2]
        server.routes["GET", f"/api/packages/gcs/{name}"] = (200, b"")
        return 200, b""

    class Routes(dict):
        def get(self, key, default=None):
            if key[0] == "PUT" and key[1].startswith("/api/packages/gcs/"):
                return put
            return super().get(key, default)

    server.routes = Routes(server.routes)
    for _ in range(2):
        jobs.submit_job(entrypoint="python main.py", runtime_env={"working_dir": str(tmp_path)})
    ((name, data),) = stored.items()
    assert data[:2] == b"PK"
    assert json.loads(server.requests[-1][2])["runtime_env"] == {"working_dir": f"gcs://{name}"}
    assert [request[0] for request in server.requests].count("PUT") == 1


def test_questions(jobs, server):
    driver = {"id": "01000000", "node_ip_address": "h", "pid": 7}
    server.routes["GET", "/api/jobs/j1"] = (200, {**ROW, "driver_info": driver})
    server.routes["GET", "/api/jobs/"] = (200, [ROW])
    server.routes["POST", "/api/jobs/j1/stop"] = (200, {"stopped": True})
    server.routes["DELETE", "/api/jobs/j1"] = (200, {"deleted": True})
    server.routes["GET", "/api/jobs/j1/logs"] = (200, {"logs": "one\n"})
    info = jobs.get_job_info("j1")
    assert info.status is JobStatus.RUNNING and info.type == "SUBMISSION" and info.type is JobType.SUBMISSION
    assert info.driver_info == DriverInfo(id="01000000", node_ip_address="h", pid="7")
    assert info.dict()["driver_info"]["pid"] == "7"
    assert jobs.get_job_status("j1") == "RUNNING" and str(jobs.get_job_status("j1")) == "RUNNING"
    assert [job.submission_id for job in jobs.list_jobs()] == ["j1"]
    assert jobs.stop_job("j1") is True and jobs.delete_job("j1") is True
    assert jobs.get_job_logs("j1") == "one\n"
    server.routes["GET", "/api/jobs/nobody"] = (404, b"Job nobody does not exist")
    with pytest.raises(RuntimeError, match="nobody does not exist"):
        jobs.get_job_status("nobody")


def test_token(server, monkeypatch, tmp_path):
    from ray.exceptions import AuthenticationError

    server.routes["GET", "/api/version"] = (200, VERSION)
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    JobSubmissionClient(server.url)
    assert server.requests[-1][3]["Authorization"] == "Bearer secret"
    server.routes["GET", "/api/version"] = (403, b"Forbidden: Invalid authentication token")
    with pytest.raises(AuthenticationError, match="Invalid authentication token") as caught:
        JobSubmissionClient(server.url)
    assert "secret" not in str(caught.value)


def frame(text, kind=1, last=True):
    payload = text.encode() if isinstance(text, str) else text
    head = bytes([(0x80 if last else 0) | kind])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + bytes([126]) + struct.pack(">H", len(payload)) + payload


def upgrade(*frames):
    def answer(handler):
        handler.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + b"".join(frames)
        )
        handler.close_connection = True

    return answer


def tail(jobs, job_id):
    async def collect():
        return [text async for text in jobs.tail_job_logs(job_id)]

    return asyncio.run(collect())


def test_tail(jobs, server):
    pieces = [frame("one\n"), frame(b"", 9), frame("tw", 1, False), frame("o\n", 0), frame("x" * 300)]
    server.routes["GET", "/api/jobs/j1/logs/tail"] = upgrade(*pieces, frame(struct.pack(">H", 1000), 8))
    assert tail(jobs, "j1") == ["one\n", "two\n", "x" * 300]


def test_tail_goes_on_after_a_break(jobs, server, monkeypatch):
    """From where the server says that it was, or, if it tells nothing, without what was read before."""
    monkeypatch.setattr(following, "RETRY", 0.01)
    server.routes["GET", "/api/jobs/j1"] = (200, ROW)
    end = frame(struct.pack(">H", 1000), 8)
    for offsets in (True, False):
        asked = []

        def answer(handler, asked=asked, offsets=offsets):
            asked.append(handler.path.partition("?")[2])
            if len(asked) == 2:
                return 502, b"the head is not there"
            if len(asked) == 1:
                return upgrade(frame("o\u00f6ne\n"), *([frame("6", 2)] if offsets else []))(handler)
            return upgrade(frame("two\n" if offsets else "o\u00f6ne\ntwo\n"), end)(handler)

        server.routes["GET", "/api/jobs/j1/logs/tail"] = answer
        assert tail(jobs, "j1") == ["o\u00f6ne\n", "two\n"]
        assert asked == ["offset=0", *(["offset=6"] * 2 if offsets else ["offset=0"] * 2)]


def test_tail_that_breaks_for_good(jobs, server, monkeypatch):
    monkeypatch.setattr(following, "RETRY", 0.01)
    monkeypatch.setattr(following, "PATIENCE", 0.1)
    server.routes["GET", "/api/jobs/j1/logs/tail"] = upgrade(frame("one\n"))
    server.routes["GET", "/api/jobs/j1"] = (200, ROW)
    with pytest.raises(RuntimeError, match="broke"):
        tail(jobs, "j1")
    server.routes["GET", "/api/jobs/j1"] = (200, {**ROW, "status": "SUCCEEDED"})
    assert tail(jobs, "j1") == ["one\n"]
    server.routes["GET", "/api/jobs/j2/logs/tail"] = (404, b"Job j2 does not exist")
    with pytest.raises(RuntimeError, match="j2 does not exist"):
        tail(jobs, "j2")


def test_address_of_a_module(server, monkeypatch, tmp_path):
    from ray.dashboard.modules.dashboard_sdk import ClusterInfo, parse_cluster_info
    from ray.dashboard.modules.job.sdk import JobSubmissionClient as Same

    (tmp_path / "my_clusters.py").write_text(
        "from ray.dashboard.modules.dashboard_sdk import ClusterInfo\n"
        "def get_job_submission_client_cluster_info(name, *, headers, **options):\n"
        "    both = {**(headers or {}), 'X-Mine': name}\n"
        "    return ClusterInfo(name.replace('+', '://'), {'c': '1'}, {'owner': 'me'}, both)\n"
    )
    (tmp_path / "no_clusters.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    server.routes["GET", "/api/version"] = (200, VERSION)
    server.routes["POST", "/api/jobs/"] = (200, {"submission_id": "j1"})
    inner = server.url.replace("://", "+")
    client = JobSubmissionClient(f"my_clusters://{inner}", headers={"X-Given": "1"})
    assert client.get_address() == server.url and isinstance(client, Same)
    client.submit_job(entrypoint="true")
    _, _, body, sent = server.requests[-1]
    assert json.loads(body)["metadata"] == {"owner": "me"}
    assert (sent["X-Mine"], sent["X-Given"], sent["Cookie"]) == (inner, "1", "c=1")
    with pytest.raises(RuntimeError, match="Module: no_clusters does not have"):
        JobSubmissionClient("no_clusters://x")
    assert parse_cluster_info("https://h:1", metadata={"a": "b"}) == ClusterInfo("https://h:1", None, {"a": "b"}, None)


def test_models():
    assert not JobStatus.RUNNING.is_terminal() and JobStatus.STOPPED.is_terminal()
    info = JobInfo(status=JobStatus.PENDING, entrypoint="x", runtime_env={"env_vars": {"A": "1"}})
    assert info.message == "Job has not started yet."
    row = info.to_json()
    assert row["status"] == "PENDING" and row["runtime_env_json"] == '{"env_vars": {"A": "1"}}'
    assert JobInfo.from_json(row) == info
    assert JobDetails.from_row({**ROW, "unknown": 1}).job_id is None


def test_token_beside_the_users_own_authorization(server, monkeypatch):
    """It is for a server in front of the cluster."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "abc")
    server.routes["GET", "/api/version"] = (200, {"version": "4"})
    client = JobSubmissionClient(server.url, headers={"authorization": "TOK:mine"})
    _, _, _, sent = server.requests[-1]
    sent = {name.lower(): value for name, value in sent.items()}
    assert (sent["authorization"], sent["x-ray-authorization"]) == ("TOK:mine", "Bearer abc")
    assert client._do_request("GET", "/api/none").status_code == 404


def test_hook_of_a_job_is_a_name(jobs):
    with pytest.raises(ValueError, match="Invalid type <class 'function'> for `worker_process_setup_hook`"):
        jobs.submit_job(entrypoint="true", runtime_env={"worker_process_setup_hook": lambda: None})
