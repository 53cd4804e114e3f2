"""``ray stack``: what every process of this machine does, also of those that answer nothing."""

import json
import os
import signal

import pytest

from .conftest import wait_until

pytestmark = pytest.mark.timeout(90)

SOURCE = """
import os, re, signal, sys, time
import ray
ray.init()

def snoring(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

def stopped(path):
    open(path, "w").write(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)

def deaf(path):
    open(path, "w").write(str(os.getpid()))
    re.match("(a|a)+$", "a" * 60 + "b")  # for years, and no other thread runs

@ray.remote(num_cpus=0.1)
class Actor:
    def dreaming_method(self, path):
        open(path, "w").write(str(os.getpid()))
        time.sleep(600)

def waiting_driver(refs):
    ray.get(refs)

refs = [ray.remote(num_cpus=0.1)(f).remote(f"{sys.argv[1]}/{f.__name__}") for f in (snoring, stopped, deaf)]
actor = Actor.remote()
refs.append(actor.dreaming_method.remote(f"{sys.argv[1]}/dreaming"))
waiting_driver(refs)
"""


def test_stacks_of_all(cluster, tmp_path):
    driver = cluster.spawn(SOURCE, str(tmp_path))
    try:
        pids = {}
        for name in ("snoring", "stopped", "deaf", "dreaming"):
            path = tmp_path / name
            wait_until(lambda path=path: path.exists() and path.read_text(), 40, name)
            pids[name] = int(path.read_text())
        wait_until(lambda: _state(pids["stopped"]) == "T", 10, "the task to be stopped")
        done = cluster.ray("stack", "--json")
        assert done.returncode == 0, done.stderr
        rows = {row["pid"]: row for row in json.loads(done.stdout)}
        assert "in snoring" in rows[pids["snoring"]]["text"]
        assert "in dreaming_method" in rows[pids["dreaming"]]["text"]
        assert "in waiting_driver" in rows[driver.pid]["text"] and rows[driver.pid]["kind"] == "driver"
        assert "is stopped (SIGSTOP" in rows[pids["stopped"]]["problem"] and "text" not in rows[pids["stopped"]]
        deaf = rows[pids["deaf"]]
        assert "the interpreter's lock" in deaf["problem"]
        assert "in deaf" in deaf["text"]
        text = cluster.ray("stack").stdout
        assert f"== worker, pid {pids['deaf']}\nno answer: its threads" in text
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    wait_until(lambda: not set(pids.values()) & set(cluster.processes()), 20, "the workers to end")


def _state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]
