"""Programs that leave their worker's process group end with it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

SERVER = """
from ray._core import forkserver, worker

def start_in_child(message, descriptors):
    import os
    os.setpgid(0, 0)
    os.environ.update(message["env"])
    exec(message["title"])

worker.start_in_child = start_in_child
forkserver.main(3)
"""

WORKER = """
import subprocess, time, os
if not os.environ.get("FORK_ONLY"):
    p = subprocess.Popen(["sleep", "600"], start_new_session=True)
    q = subprocess.Popen(["sh", "-c", "setsid sleep 600 & echo $!"], stdout=subprocess.PIPE, text=True)
    pids = [p.pid, int(q.stdout.readline())]
else:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(600)
    pids = [pid]
with open(os.environ["OUT"] + ".tmp", "w") as f:
    print(*pids, file=f)
os.rename(os.environ["OUT"] + ".tmp", os.environ["OUT"])
time.sleep(600)
"""


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _until(condition, what):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class _Forks:
    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        code = f"import os; os.dup2({theirs.fileno()}, 3) if {theirs.fileno()} != 3 else None\n" + SERVER
        self.process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno(), 3])
        theirs.close()
        assert self.receive()["op"] == "ready"

    def receive(self):
        return json.loads(self.sock.recv(1 << 16))

    def worker(self, name, **env):
        """Starts a worker; its pid and those of what it left running."""
        out = str(self.tmp_path / name)
        message = {"op": "fork", "worker_id": name, "title": WORKER, "env": {"OUT": out, **env}}
        self.sock.send(json.dumps(message).encode())
        pid = self.receive()["pid"]
        _until(lambda: os.path.exists(out), "the worker has started its programs")
        with open(out) as file:
            return pid, [int(word) for word in file.read().split()]


@pytest.fixture
def forks(tmp_path):
    made = _Forks(tmp_path)
    yield made
    made.sock.close()
    made.process.wait(20)


def test_programs_end_with_their_worker_and_not_with_another(forks):
    first, its = forks.worker("aaaa")
    second, others = forks.worker("bbbb")
    os.kill(first, signal.SIGKILL)
    assert forks.receive()["worker_id"] == "aaaa"
    _until(lambda: not any(map(_alive, its)), "the programs of the dead worker end")
    assert all(map(_alive, others))
    os.kill(second, signal.SIGKILL)
    _until(lambda: not any(map(_alive, others)), "the programs of the second worker end")


def test_a_child_that_never_ran_a_program_ends_with_the_last_worker(forks):
    worker, its = forks.worker("cccc", FORK_ONLY="1")
    os.kill(worker, signal.SIGKILL)
    _until(lambda: not any(map(_alive, its)), "the forked child ends")


def test_a_stopped_worker_and_its_programs_end_with_the_server(forks):
    worker, its = forks.worker("dddd")
    os.kill(worker, signal.SIGSTOP)
    forks.sock.close()
    forks.process.wait(20)
    _until(lambda: not any(map(_alive, [worker, *its])), "everything ends with the fork server")
