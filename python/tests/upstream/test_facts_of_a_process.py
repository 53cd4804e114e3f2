"""What a process may ask about itself, its devices and its objects under older names."""

import os
import re
import signal
import warnings

import numpy as np
import pytest
import ray
from ray.util.annotations import RayDeprecationWarning
from ray.util.state import list_workers


def test_older_names_of_ids_say_what_to_use(cluster):
    context = ray.get_runtime_context()
    for name in ("job_id", "node_id"):
        with pytest.warns(RayDeprecationWarning, match=f"Use get_{name}"):
            old = getattr(context, name)
        assert old.hex() == getattr(context, f"get_{name}")()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert context.get()["job_id"].hex() == context.get_job_id()


def test_an_id_has_its_length():
    assert ray.ObjectRef(b"0011223344556677889900001111").binary() == b"0011223344556677889900001111"
    with pytest.raises(ValueError, match="needs to have length 28"):
        ray.ObjectRef(b"0123456789")
    with pytest.raises(TypeError, match="Unsupported type"):
        ray.ObjectRef("x" * 28)


def test_a_worker_knows_which_objects_are_here(cluster):
    core = ray._private.worker.global_worker.core_worker
    small, large = ray.put(1), ray.put(np.zeros(1 << 20, np.uint8))
    assert core.object_exists(large) and not core.object_exists(large, memory_store_only=True)
    counts = core.get_all_reference_counts()
    assert counts[small.hex().encode()]["local"] == counts[large.hex().encode()]["local"] == 1
    assert core.get_current_job_id().hex() == ray.get_runtime_context().get_job_id()
    pending = ray.remote(num_cpus=1000)(lambda: 1).remote()
    assert not core.object_exists(pending)
    key = small.hex().encode()
    del small
    assert key not in core.get_all_reference_counts()


def test_what_is_freed_is_not_read_from_this_process(cluster):
    @ray.remote(num_cpus=0)
    def small():
        return [1, 2, 3]

    ref = small.remote()
    assert ray.get(ref) == [1, 2, 3]
    ray._private.internal_api.free(ref)
    with pytest.raises(ray.exceptions.ObjectFreedError):
        ray.get(ref, timeout=30)


def test_how_a_process_ended_can_be_asked(cluster, until):
    class Ends:
        def __init__(self, fail=False):
            if fail:
                raise ValueError(f"pid {os.getpid()}")

        def pid(self):
            return os.getpid()

        def leave(self):
            ray.actor.exit_actor()

        def crash(self):
            os._exit(4)

    ends = ray.remote(num_cpus=0)(Ends)

    def end_of(pid):
        rows = list_workers(detail=True, filters=[("pid", "=", pid), ("is_alive", "=", False)])
        return rows and rows[-1]

    def check(pid, exit_type, detail):
        row = until(lambda: end_of(pid))
        assert row.exit_type == exit_type and detail in row.exit_detail, row
        assert 0 < row.start_time_ms <= row.end_time_ms

    actors = [ends.remote() for _ in range(4)]
    pids = ray.get([actor.pid.remote() for actor in actors], timeout=60)
    (alive,) = list_workers(detail=True, filters=[("pid", "=", pids[0]), ("is_alive", "=", True)])
    assert alive.exit_type is None and alive.end_time_ms == 0
    ray.kill(actors[0])
    actors[1].leave.remote()
    actors[2].crash.remote()
    os.kill(pids[3], signal.SIGKILL)
    check(pids[0], "INTENDED_SYSTEM_EXIT", "ray.kill")
    check(pids[1], "INTENDED_USER_EXIT", "exit_actor()")
    check(pids[2], "SYSTEM_ERROR", "exit code 4")
    check(pids[3], "SYSTEM_ERROR", "OOM")
    with pytest.raises(ray.exceptions.ActorDiedError) as caught:
        ray.get(ends.remote(True).pid.remote(), timeout=60)
    check(int(re.search(r"ValueError: pid (\d+)", str(caught.value)).group(1)), "USER_ERROR", "ValueError")


def test_a_worker_is_named_for_what_it_runs(cluster):
    pytest.importorskip("setproctitle")

    @ray.remote(num_cpus=0)
    class Named:
        def __init__(self):
            self.titles = [self.title()]

        def title(self):
            import setproctitle

            return setproctitle.getproctitle()

        def read(self):
            return [*self.titles, self.title()]

        def rename(self):
            import setproctitle

            setproctitle.setproctitle("a name of mine")
            with open("/proc/self/cmdline") as line:
                return line.read().rstrip("\0")

    @ray.remote(num_cpus=0)
    def task():
        import setproctitle

        with open("/proc/self/status") as status:
            name = status.readline().split()  # a line break in it would be shown as \\n
        return setproctitle.getproctitle(), name

    actor = Named.remote()
    assert ray.get(actor.read.remote()) == ["ray::Named.__init__", "ray::Named.read"]
    assert ray.get(actor.rename.remote()) == "a name of mine"
    assert ray.get(actor.title.options(name="other").remote()) == "ray::other"
    title, (_, name) = ray.get(task.remote())
    assert title == "ray::task"
    assert name.startswith("python") and "\\" not in name


def test_a_worker_knows_its_daemon(cluster):
    @ray.remote(num_cpus=0)
    def daemon():
        with open(f"/proc/{os.environ['RAY_RAYLET_PID']}/cmdline", "rb") as line:
            return line.read().split(b"\0")

    assert any(word in (b"__node", b"__local") for word in ray.get(daemon.remote()))
