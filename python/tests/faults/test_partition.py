"""A node that is cut off from the head: its actors end there before they begin elsewhere, and its objects are lost."""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NS, OUT, IN = f"ray{os.getpid()}", f"ro{os.getpid()}", f"ri{os.getpid()}"
HEAD, WORKER = "10.213.77.1", "10.213.77.2"


def _ip(*args):
    return subprocess.run(["ip", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def two_machines(tmp_path):
    """Two network namespaces with one cable; yields a function that runs `ray` on either."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the ip command")
    for step in (
        ("netns", "add", NS),
        ("link", "add", OUT, "type", "veth", "peer", "name", IN),
        ("link", "set", IN, "netns", NS),
        ("addr", "add", f"{HEAD}/24", "dev", OUT),
        ("link", "set", OUT, "up"),
        ("-n", NS, "addr", "add", f"{WORKER}/24", "dev", IN),
        ("-n", NS, "link", "set", IN, "up"),
        ("-n", NS, "link", "set", "lo", "up"),
    ):
        done = _ip(*step)
        if done.returncode != 0:
            _ip("netns", "del", NS)
            pytest.skip(f"ip {' '.join(step)}: {done.stdout.strip()}")
    root = tempfile.mkdtemp(prefix="rp")  # short: sockets lie below it
    program = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")

    def run(inside, *args):
        env = {**os.environ, "RAY_AUTH_TOKEN": "ab" * 32, "RAY_TMPDIR": f"{root}/{int(inside)}"}
        env.pop("RAY_AUTH_MODE", None)
        prefix = ["ip", "netns", "exec", NS] if inside else []
        with open(tmp_path / "out", "w+") as out:  # a daemon would keep a pipe open
            done = subprocess.run([*prefix, program, *args], env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            out.seek(0)
            assert done.returncode == 0, out.read()

    try:
        yield run
    finally:
        ray.shutdown()
        run(True, "stop")
        run(False, "stop")
        _ip("netns", "del", NS)
        shutil.rmtree(root, ignore_errors=True)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def connected(two_machines, monkeypatch):
    """A node on either machine, the one that may be cut off with the resource w, and a driver beside the head."""
    common = ("--num-cpus=1", "--object-store-memory=80000000")
    head = (f"--node-ip-address={HEAD}", "--port=6399", "--include-dashboard=false", '--resources={"spot": 1}')
    worker = (f"--address={HEAD}:6399", f"--node-ip-address={WORKER}", '--resources={"spot": 1, "w": 1}')
    two_machines(False, "start", "--head", *head, *common)
    two_machines(True, "start", *worker, *common)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    ray.init(address=f"{HEAD}:6399", log_to_driver=False)


def test_no_actor_lives_twice(connected):
    @ray.remote(num_cpus=0, resources={"spot": 1}, max_restarts=1, max_task_retries=-1)
    class Alone:
        def pid(self):
            return os.getpid()

    @ray.remote(num_cpus=0, resources={"w": 1})
    def node():
        return ray.get_runtime_context().get_node_id()

    there = NodeAffinitySchedulingStrategy(ray.get(node.remote()), soft=True)
    actor = Alone.options(scheduling_strategy=there).remote()
    first = ray.get(actor.pid.remote())
    _ip("-n", NS, "link", "set", IN, "down")
    second = actor.pid.remote()
    _until(12, lambda: not _lives(first))  # before the lease (10 s) and its grace are over
    assert not ray.wait([second], timeout=0)[0], "the actor began again while its first life might have gone on"
    assert ray.get(second, timeout=60) != first
    _ip("-n", NS, "link", "set", IN, "up")
    _until(60, lambda: len([n for n in ray.nodes() if n["Alive"]]) == 2)  # it came back as a new node


@pytest.fixture
def short_lease(monkeypatch):
    monkeypatch.setenv("RAY_node_lease_ms", "3000")


def test_objects_of_a_node_that_was_cut_off(short_lease, connected):
    """Each get ends: with the value, made again when the node is back, or with an error that says why."""

    @ray.remote(num_cpus=0, resources={"w": 0.01})
    def make(n):
        return bytes([n]) * (8 << 20)

    @ray.remote(num_cpus=0, resources={"w": 0.01})
    def put():
        return [ray.put(b"x" * (1 << 20)), ray.put("small")]

    @ray.remote(num_cpus=0, resources={"w": 0.01})
    def first(data):
        return data[0]

    stored = ray.get(put.remote(), timeout=60)
    made = [make.remote(n) for n in range(6)]
    ray.wait(made, num_returns=6, fetch_local=False, timeout=60)
    mine = ray.put(b"m" * (8 << 20))
    with concurrent.futures.ThreadPoolExecutor(max_workers=9) as pool:
        values = [pool.submit(ray.get, ref, timeout=90) for ref in made]  # in the middle of them
        _ip("-n", NS, "link", "set", IN, "down")
        lost = [pool.submit(ray.get, ref, timeout=90) for ref in stored]
        firsts = pool.submit(ray.get, [first.remote(ref) for ref in [*made, mine]], timeout=90)
        for get in lost:
            with pytest.raises(ray.exceptions.ObjectLostError, match="died at"):
                get.result()
        _ip("-n", NS, "link", "set", IN, "up")
        assert [get.result() == bytes([n]) * (8 << 20) for n, get in enumerate(values)] == [True] * 6
        assert firsts.result() == [*range(6), ord("m")]
    assert len(ray.get(make.remote(1), timeout=60)) == 8 << 20
