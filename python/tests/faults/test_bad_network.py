"""Machines on slow, lossy and cut cables: what must go on does, and no actor lives twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

from .cable import Network
from .conftest import PACKAGE, wait_until

HEAD = "10.214.0.1"
PORT = 6399
BINARY = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")


class Machines:
    def __init__(self, network, root, lease):
        self.network, self.root, self.lease = network, root, lease

    def env(self, number):
        env = {name: text for name, text in os.environ.items() if name not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
        env.update(
            RAY_AUTH_TOKEN="ab" * 32,
            RAY_TMPDIR=f"{self.root}/{number}",
            RAY_node_lease_ms=str(self.lease),
            PYTHONPATH=PACKAGE,
        )
        return env

    def space(self, number):
        return self.network.spaces[number - 1] if number else self.network.hub

    def ray(self, number, *words):
        """Runs the command line on machine number; 0 is the hub."""
        with tempfile.TemporaryFile("w+") as out:  # a daemon would keep a pipe open
            command = ["ip", "netns", "exec", self.space(number), BINARY, *words]
            done = subprocess.run(command, env=self.env(number), stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            out.seek(0)
            assert done.returncode == 0, out.read()

    def start(self, number, *more):
        common = ("--num-cpus=2", "--object-store-memory=80000000", f'--resources={{"m{number}": 1, "any": 1}}', *more)
        if number == 0:
            self.ray(
                0,
                "start",
                "--head",
                f"--node-ip-address={HEAD}",
                f"--port={PORT}",
                "--include-dashboard=false",
                *common,
            )
        else:
            self.ray(number, "start", f"--address={HEAD}:{PORT}", f"--node-ip-address=10.214.{number}.2", *common)

    def driver(self, source):
        """A driver in the hub; its lines of JSON come by lines()."""
        code = f"import ray\nray.init(address='{HEAD}:{PORT}', log_to_driver=False)\n" + textwrap.dedent(source)
        command = ["ip", "netns", "exec", self.network.hub, sys.executable, "-u", "-c", code]
        return subprocess.Popen(command, env=self.env(0), stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def line(driver):
    text = driver.stdout.readline()
    assert text, f"the driver ended with status {driver.wait()}"
    return json.loads(text)


def go(driver):
    driver.stdin.write("\n")
    driver.stdin.flush()


@pytest.fixture
def machines(request):
    """Two machines and a hub, with a head in the hub."""
    if os.geteuid() != 0 or shutil.which("ip") is None or not os.path.exists("/dev/net/tun"):
        pytest.skip("network namespaces with cables need root, the ip command and /dev/net/tun")
    try:
        network = Network(2)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network can be made here: {error}")
    root = tempfile.mkdtemp(prefix="rb", dir="/tmp")  # short: sockets lie below it
    made, begun = Machines(network, root, getattr(request, "param", 10_000)), []
    try:
        for number in (0, 1, 2):
            begun.append(number)
            made.start(number)
        yield made
    finally:
        for cable in network.cables:
            cable.cut, cable.loss, cable.delay = False, 0.0, 0.0
        for number in reversed(begun):
            made.ray(number, "stop", "--force")
        network.close()
        shutil.rmtree(root, ignore_errors=True)


WORK = """
import json, os, sys, time

@ray.remote(num_cpus=0)
class Log:
    def __init__(self):
        self.seen = []
    def add(self, n):
        self.seen.append(n)
        return os.getpid()
    def all(self):
        return self.seen

@ray.remote(num_cpus=0.1)
def make(n):
    return bytes([n]) * 2_000_000

@ray.remote(num_cpus=0.1)
def size(data):
    return len(data)

logs = [Log.options(resources={f"m{i}": 0.1}).remote() for i in (1, 2)]
pids = ray.get([log.add.remote(-1) for log in logs])
print(json.dumps(pids))
sys.stdin.readline()
calls = [log.add.remote(n) for n in range(50) for log in logs]
made = [make.options(resources={f"m{1 + n % 2}": 0.01}).remote(n) for n in range(6)]
sizes = [size.options(resources={f"m{2 - n % 2}": 0.01}).remote(ref) for n, ref in enumerate(made)]
answers = ray.get(calls)
same = sorted(set(answers)) == sorted(set(pids))
print(json.dumps([same, ray.get(sizes), [ray.get(log.all.remote()) for log in logs]]))
sys.stdin.readline()
"""


def finish(driver):
    same, sizes, seen = line(driver)
    go(driver)
    assert driver.wait(timeout=60) == 0
    assert same, "an actor began anew"
    assert sizes == [2_000_000] * 6
    assert seen == [[-1, *range(50)]] * 2, "calls were lost, doubled or out of order"


def test_delay_loss_and_a_short_cut(machines):
    driver = machines.driver(WORK)
    line(driver)
    for cable in machines.network.cables:
        cable.delay, cable.loss = 0.02, 0.03
    go(driver)
    time.sleep(0.5)
    machines.network.cables[0].cut = True
    time.sleep(2)  # less than a lease: nobody notices
    machines.network.cables[0].cut = False
    finish(driver)


def test_a_dead_head_stops_nobody(machines):
    driver = machines.driver(WORK)
    line(driver)
    heads = subprocess.run(
        ["ip", "netns", "pids", machines.network.hub], stdout=subprocess.PIPE, text=True
    ).stdout.split()
    killed = [pid for pid in heads if b"__head" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")]
    assert len(killed) == 1
    os.kill(int(killed[0]), signal.SIGKILL)
    go(driver)
    finish(driver)


ALONE = """
import fcntl, json, os, sys, time

@ray.remote(num_cpus=0, resources={"any": 0.1}, max_restarts=-1, max_task_retries=-1)
class Alone:
    def __init__(self, path):
        self.file = open(path, "a")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process is gone
        except OSError:
            open(path + ".twice", "w").close()
    def where(self):
        return [ray.get_runtime_context().get_node_id(), os.getpid()]

@ray.remote(num_cpus=0, resources={"m1": 0.1})
def node():
    return ray.get_runtime_context().get_node_id()

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
there = NodeAffinitySchedulingStrategy(ray.get(node.remote()), soft=True)
alone = Alone.options(scheduling_strategy=there).remote(sys.stdin.readline().strip())
print(json.dumps(ray.get(alone.where.remote())))
sys.stdin.readline()
print(json.dumps(ray.get(alone.where.remote())))
sys.stdin.readline()
"""


@pytest.mark.parametrize("machines", [4000], indirect=True, ids=["lease of 4 s"])
def test_cut_off_on_a_bad_network(machines, tmp_path):
    for cable in machines.network.cables:
        cable.delay, cable.loss = 0.01, 0.02
    lock = tmp_path / "lock"
    driver = machines.driver(ALONE)
    driver.stdin.write(f"{lock}\n")
    driver.stdin.flush()
    first, pid = line(driver)
    machines.network.cables[0].cut = True
    wait_until(
        lambda: not os.path.exists(f"/proc/{pid}"), 6, "the actor's process ends before its lease and grace are over"
    )
    go(driver)
    second, _ = line(driver)
    assert second != first
    machines.network.cables[0].cut = False
    go(driver)
    assert driver.wait(timeout=60) == 0
    assert not os.path.exists(f"{lock}.twice"), "two incarnations lived at once"
