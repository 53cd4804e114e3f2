"""A connection that records what is asked of it, and a small HTTP server."""

import http.server
import json
import threading

import pytest
from ray._core import state


class FakeClient:
    """Stands for the connection of this process: answers from a dict, remembers calls."""

    def __init__(self):
        self.dead = None
        self.mode = "driver"
        self.hello = {"session_name": "session_x", "dashboard_url": "127.0.0.1:1", "labels": {"zone": "a"}}
        self.namespace = "ns"
        self.job_id = bytes.fromhex("01000000")
        self.node_id = bytes(range(28))
        self.worker_id = bytes(28)
        self.node_ip = "127.0.0.1"
        self.gcs_address = "127.0.0.1:6379"
        self.session_dir = "/nowhere/session_x"
        self.runtime_env = {"env_vars": {"A": "1"}}
        self.answers = {}
        self.calls = []
        self.frames = []

    def check_alive(self):
        pass

    def call(self, method, params=None, tail=b"", timeout=None):
        self.calls.append((method, params, tail))
        answer = self.answers.get(method, {})
        if callable(answer):
            answer = answer(params)
        return answer if isinstance(answer, tuple) else (answer, b"")

    def send(self, frame):
        self.frames.append(frame)

    def next_placement_group_id(self):
        return b"\x07" * 14 + self.job_id


@pytest.fixture
def client(monkeypatch):
    """This process seems connected, through a FakeClient."""
    fake = FakeClient()
    monkeypatch.setattr(state, "_client", fake)
    monkeypatch.setattr(state, "_process_task", None)
    return fake


@pytest.fixture(scope="module", params=["local", "ray"])
def connect(request):
    """``connect(**options)``: ray.init of a cluster of its own, by its socket or as a ray:// driver.

    What a test shows of one way of connecting must be true of the other.
    """
    import ray
    from ray.cluster_utils import Cluster

    started = []

    def init(num_cpus, include_dashboard=False, object_store_memory=None, **options):
        node = {"num_cpus": num_cpus, "include_dashboard": include_dashboard}
        if object_store_memory is not None:
            node["object_store_memory"] = object_store_memory
        if request.param == "local":
            return ray.init(address="local", **node, **options)
        started.append(Cluster(initialize_head=True, head_node_args=node))
        return ray.init(address=f"ray://{started[0].address}", **options)

    ray.shutdown()
    yield init
    ray.shutdown()
    for cluster in started:
        cluster.shutdown()


class Server:
    """Answers (method, path without query) from ``routes``; remembers requests."""

    def __init__(self):
        self.routes = {}
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                path = self.path.split("?")[0]
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, body, dict(self.headers)))
                route = outer.routes.get((self.command, path), (404, b"no such thing"))
                if callable(route):
                    route = route(self)
                    if route is None:
                        return
                status, content = route
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    """An HTTP server on loopback whose routes the test sets."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_JOB_HEADERS", "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    running = Server()
    yield running
    running.close()
