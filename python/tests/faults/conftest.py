"""Clusters of the real binary, drivers as processes of their own, and what they leave behind.

Every process that a test starts carries RAY_FAULTS=<mark of the run> in its
environment, so that what is left over is found whatever it calls itself.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid

import pytest

PACKAGE = str(pathlib.Path(__file__).resolve().parents[2])
# Before a driver's source: its output comes a line at a time. Under -u, print writes text and line end
# one by one, and a worker's line that is shown on the driver may come between them.
_WHOLE_LINES = "import sys; sys.stdout.reconfigure(line_buffering=True)\n"
HEAD_OPTIONS = ["--num-cpus", "2", "--object-store-memory", "100000000", "--dashboard-port", "0"]


def wait_until(condition, seconds, what):
    """The first true value of condition(), looked for until seconds have passed."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)


def free_port():
    """A port of loopback that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Place:
    """A home and a session root of their own, and the processes started there."""

    def __init__(self, binary):
        self.mark = uuid.uuid4().hex
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="rayfaults-", dir="/tmp"))
        for name in ("home", "ray", "work"):
            (self.root / name).mkdir(mode=0o700)
        self.binary = binary
        self.started = []
        drop = ("RAY_", "PYTEST")
        self.env = {name: text for name, text in os.environ.items() if not name.startswith(drop)}
        self.env.update(
            RAY_FAULTS=self.mark,
            RAY_BINARY=binary,
            RAY_TMPDIR=str(self.root / "ray"),
            HOME=str(self.root / "home"),
            PYTHONPATH=PACKAGE,
            PATH=f"{os.path.dirname(binary)}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        )
        if "RAY_TEST_RUN" in os.environ:
            self.env["RAY_TEST_RUN"] = os.environ["RAY_TEST_RUN"]

    def ray(self, *words, env=None, timeout=60):
        """Runs the binary; gives the CompletedProcess with text streams."""
        return subprocess.run(
            [self.binary, *words],
            env={**self.env, **(env or {})},
            cwd=self.root / "work",
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def spawn(self, source, *words, env=None):
        """Starts a driver whose source is given; its streams are pipes, its group is its own."""
        path = self.root / "work" / f"driver_{len(self.started)}.py"
        path.write_text(_WHOLE_LINES + textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, str(path), *words],
            env={**self.env, **(env or {})},
            cwd=self.root / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Whoever runs the tests in the background of a script has it ignored, and so would the driver.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.started.append(process)
        return process

    def drive(self, source, *words, env=None, timeout=60):
        """Runs a driver to its end; gives (exit status, stdout, stderr)."""
        process = self.spawn(source, *words, env=env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"the driver did not end in {timeout} s; it said\n{out}\n{err}")
        return process.returncode, out, err

    def processes(self):
        """pid → command line of what runs here."""
        found = {}
        needle = f"RAY_FAULTS={self.mark}".encode()
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if needle in (folder / "environ").read_bytes().split(b"\0"):
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def nothing_runs(self, seconds=10):
        """Fails unless everything that was started here has ended in that time."""
        wait_until(lambda: not self.processes(), seconds, f"these still run: {self.processes()}")

    def close(self):
        self.ray("stop", "--force")
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if not stream.closed:
                    stream.close()
        left = self.processes()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)
        return left


def _binary():
    given = os.environ.get("RAY_BINARY") or str(pathlib.Path(PACKAGE).parent / "bin" / "ray")
    if not os.access(given, os.X_OK):
        pytest.skip(f"no binary at {given}: scripts/build makes it")
    return os.path.abspath(given)


@pytest.fixture
def place():
    """An empty place; what runs there at the end of the test is ended."""
    made = Place(_binary())
    yield made
    made.close()


class Cluster(Place):
    """A place in which a head with 2 CPUs and a store of 100 MB runs."""

    def __init__(self, binary, *options, env=None):
        super().__init__(binary)
        self.env.update(env or {})
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        done = self.ray("start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(self.port), *options)
        assert done.returncode == 0, done.stdout + done.stderr
        self.env["RAY_ADDRESS"] = self.address
        self._announcement = json.loads((self.root / "ray" / "session.json").read_text())

    def head(self):
        """Process id of the daemon of this machine."""
        return self.announcement()["pid"]

    def announcement(self):
        """What the daemon says of itself."""
        return self._announcement

    def workers(self):
        """pid → title of the worker processes, running or idle."""
        return {pid: line for pid, line in self.processes().items() if line.startswith("ray::")}


@pytest.fixture(scope="module")
def cluster():
    """A cluster that the tests of a file share: each must leave it working."""
    made = Cluster(_binary(), *HEAD_OPTIONS)
    yield made
    stopped = made.ray("stop", "--force")
    try:
        assert stopped.returncode == 0, stopped.stderr
        made.nothing_runs()
    finally:
        made.close()
