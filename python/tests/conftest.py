"""What the tests of several directories share."""

import gc
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

BINARY = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")


@pytest.fixture
def cluster():
    """``cluster(head, *nodes)``: a cluster for one test, connected; its ``workers`` are the nodes."""
    import ray
    from ray.cluster_utils import Cluster

    made = []

    def begin(head, *nodes):
        built = Cluster(initialize_head=True, head_node_args=dict(dict(num_cpus=1, include_dashboard=False), **head))
        made.append(built)
        built.workers = [built.add_node(**node) for node in nodes]
        built.wait_for_nodes()
        ray.init(address=built.address, log_to_driver=False)
        return built

    yield begin
    gc.collect()
    ray.shutdown()
    for built in made:
        built.shutdown()


@pytest.fixture
def until():
    """``until(condition, seconds=30)``: the first true value of condition()."""

    def wait(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def from_pypi():
    """``from_pypi(what, *commands)`` runs what installs something; if it fails the test is skipped, and in CI fails."""

    def install(what, *commands):
        env = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
        for command in commands:
            done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 0:
                said = f"{what} cannot be installed: {' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}"
                if os.environ.get("CI"):
                    pytest.fail(said)
                pytest.skip(said)

    return install


@pytest.fixture(scope="session")
def upstream(tmp_path_factory, from_pypi):
    """The Python of an environment of its own that has upstream's package, for all tests that need it.

    It is made once in a run, which takes half a minute; the first test that
    asks for it needs a limit of its own. RAY_TEST_UPSTREAM names one that is
    there already.
    """
    if os.environ.get("RAY_TEST_UPSTREAM"):
        yield os.environ["RAY_TEST_UPSTREAM"]
        return
    folder = tmp_path_factory.mktemp("upstream")
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
    try:
        from_pypi("upstream's package", [sys.executable, "-m", "venv", str(folder)], [*pip, "ray[default]==2.60.0"])
        yield str(python)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3(tmp_path, monkeypatch, until):
    """URL of moto's server; what the test starts takes it for S3."""
    path = shutil.which("moto_server") or os.path.join(os.path.dirname(sys.executable), "moto_server")
    if not os.path.exists(path):
        pytest.skip("no moto_server: install moto[server] of scripts/requirements-test.txt")
    log = tmp_path / "moto.log"
    with open(log, "wb") as out:
        process = subprocess.Popen([path, "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=out)
    try:
        listens = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
        until(lambda: listens.search(log.read_text()), seconds=60)
        url = listens.search(log.read_text()).group(1)
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_MAX_ATTEMPTS": "2",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def cli():
    """``cli(cluster, *words)`` runs the command line against a cluster."""

    def run(cluster, *words):
        env = dict(os.environ, RAY_ADDRESS=cluster.address)
        return subprocess.run([BINARY, *words], env=env, capture_output=True, text=True, timeout=60)

    return run
