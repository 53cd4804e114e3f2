"""A cancel that reaches a worker while it connects, or while it begins the task, is never lost."""

import os
import textwrap
import threading

import pytest
from ray._core import concurrency
from ray._core.orders import Orders
from ray._core.state import TaskInfo

from .conftest import HEAD_OPTIONS, PACKAGE, Cluster, _binary

pytestmark = pytest.mark.timeout(90)

TASK = b"t" * 24

#: A worker tells when its first connection is there, and makes the second, which cancels come over, when it may.
HALF = """
    import os, time
    from ray._core import connection

    at_once = connection.greet_control

    def greet_control(dial, hello):
        if hello["role"] == "worker":
            open(os.environ["HALF"], "w").close()
            deadline = time.monotonic() + 30
            while not os.path.exists(os.environ["HALF"] + ".go") and time.monotonic() < deadline:
                time.sleep(0.01)
        return at_once(dial, hello)

    connection.greet_control = greet_control
"""


def test_a_worker_that_is_half_connected_has_no_task_yet(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(HALF))
    env = {"PYTHONPATH": f"{PACKAGE}{os.pathsep}{tmp_path}", "HALF": str(tmp_path / "half")}
    cluster = Cluster(_binary(), *HEAD_OPTIONS, env=env)
    try:
        status, out, err = cluster.drive(
            """
            import os, time
            import ray
            from ray.exceptions import TaskCancelledError

            ray.init()

            @ray.remote
            def sleeps():
                time.sleep(600)

            @ray.remote
            def one():
                return 1

            ref = sleeps.remote()
            deadline = time.monotonic() + 30
            while not os.path.exists(os.environ["HALF"]):
                assert time.monotonic() < deadline, "no worker connected"
                time.sleep(0.01)
            ray.cancel(ref)
            open(os.environ["HALF"] + ".go", "w").close()
            try:
                ray.get(ref, timeout=20)
                raise AssertionError("no error")
            except TaskCancelledError:
                pass
            assert ray.get(one.remote(), timeout=30) == 1
            """
        )
        assert status == 0, out + err
    finally:
        assert not cluster.close()


class Racing(Orders):
    """A worker whose main thread begins the task just as its control thread looks at what runs."""

    def __init__(self, kind):
        self.lock = threading.Lock()
        self.cancelled = {}
        self.executor = self.interrupting = None
        self.info = TaskInfo(TASK, kind, "f", "f")
        self.info.canceled = False
        self.seq = self.info.seq = 1
        self.refused = self.interrupted = self.shown = self.told = False

    @property
    def running(self):
        before = self.info if self.shown else None
        if not self.shown:
            self.shown = True
            self.refused = self.cancelled.pop(TASK, None) is not None
        return before

    def _interrupt(self, task_id):
        self.interrupted = task_id == TASK

    def tell_cancelled(self, task_id):
        self.told = task_id == TASK


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("kind", ["task", "actor_call"])
def test_a_cancel_meets_a_task_that_begins(kind, shown):
    worker = Racing(kind)
    worker.shown = shown
    worker._cancel(TASK)
    assert worker.refused or worker.interrupted or worker.info.canceled
    assert worker.told is shown
    assert not worker.cancelled


class BeginsAtTheLook(dict):
    """What an executor has running; the call begins as soon as somebody has looked for it."""

    def __init__(self, worker):
        self.worker = worker
        self.refused = False

    def get(self, task_id, default=None):
        self.refused = self.worker.cancelled.pop(task_id, None) is not None
        return default


@pytest.mark.parametrize("make", [concurrency.ThreadExecutor, concurrency.AsyncExecutor])
def test_a_cancel_meets_a_call_that_begins(make):
    worker = Racing("actor_call")
    worker.executor = executor = make(worker, 1, {})
    try:
        calls = BeginsAtTheLook(worker)
        setattr(executor, "_running" if make is concurrency.ThreadExecutor else "_tasks", calls)
        worker._cancel(TASK)
        assert calls.refused
        assert not worker.cancelled
    finally:
        executor.stop()
