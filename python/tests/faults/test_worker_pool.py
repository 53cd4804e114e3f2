"""Worker processes: when they start, who uses them again, when they go, and what is said of how they ended."""

import os
import pathlib

import pytest

from .conftest import wait_until
from .test_tasks_in_anger import drive

pytestmark = pytest.mark.timeout(90)


def test_a_worker_for_each_cpu_before_the_first_task(cluster):
    before = set(cluster.workers())
    driver = cluster.spawn(
        "import ray, sys\nray.init()\nprint('up', flush=True)\nsys.stdin.read()\nimport time\ntime.sleep(600)"
    )
    try:
        assert driver.stdout.readline() == "up\n"
        wait_until(lambda: len(set(cluster.workers()) - before) == 2, 30, "two workers of a job without tasks")
    finally:
        driver.kill()
        driver.wait()
    wait_until(lambda: not set(cluster.workers()) - before, 20, "the workers of the killed driver to end")


def test_workers_are_used_again_by_job_and_environment(cluster):
    drive(
        cluster,
        """
        @ray.remote
        def pid():
            return os.getpid()

        plain = {ray.get(pid.remote()) for _ in range(100)}
        assert len(plain) <= 2, plain
        other = pid.options(runtime_env={"env_vars": {"A": "1"}})
        with_env = {ray.get(other.remote()) for _ in range(30)}
        assert len(with_env) <= 2 and not with_env & plain, (plain, with_env)
        assert {ray.get(pid.remote()) for _ in range(30)} <= plain
        ray.shutdown()
        ray.init()
        assert not {ray.get(pid.remote()) for _ in range(30)} & (plain | with_env), "another job must not get them"
        """,
    )


def test_idle_workers_end_but_for_one_per_cpu(cluster):
    driver = cluster.spawn(
        """
        import os, sys, time, ray
        ray.init()

        @ray.remote(num_cpus=0.1)
        def together(path, n):
            open(os.path.join(path, str(os.getpid())), "w").close()
            while len(os.listdir(path)) < n:
                time.sleep(0.01)
            return os.getpid()

        os.mkdir("together")
        pids = ray.get([together.remote(os.path.abspath("together"), 8) for _ in range(8)])
        assert len(set(pids)) == 8
        print(*pids, flush=True)
        time.sleep(600)
        """
    )
    try:
        pids = set(map(int, driver.stdout.readline().split()))
        assert len(pids) == 8
        wait_until(lambda: len(pids & set(cluster.workers())) <= 2, 40, "all but two of them to end")
    finally:
        driver.kill()
        driver.wait()


def test_ends_are_told_apart(cluster):
    drive(
        cluster,
        """
        @ray.remote(max_retries=0)
        def leaves(code):
            print("these were my", file=sys.stderr)
            print("last words", file=sys.stderr, flush=True)
            os._exit(code)

        @ray.remote(max_retries=0)
        def dies(number):
            print("these were my\\nlast words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), number)
            time.sleep(60)

        def end_of(ref):
            try:
                ray.get(ref, timeout=30)
            except WorkerCrashedError as error:
                return str(error)
            raise AssertionError("no error")

        for ref, how in (
            (leaves.remote(3), "ended with exit code 3"),
            (leaves.remote(0), "ended with exit code 0"),
            (dies.remote(signal.SIGSEGV), "was killed by signal 11 (segmentation fault)"),
            (dies.remote(signal.SIGKILL), "was killed by signal 9 (killed)"),
            (dies.remote(signal.SIGABRT), "was killed by signal 6 (aborted)"),
        ):
            text = end_of(ref)
            assert how in text and "these were my\\nlast words" in text, text
            assert "memory is short" not in text, text
        """,
    )


@pytest.fixture
def small_group():
    """A memory group of version 1 or 2 with 200 MB; gives the file that takes the pids of its members."""
    base = pathlib.Path("/sys/fs/cgroup/memory")
    v1 = base.is_dir()
    base = base if v1 else pathlib.Path("/sys/fs/cgroup")
    group = base / f"raytest{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(200 << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no memory group can be made here: {error}")
    yield group / "cgroup.procs"
    wait_until(lambda: not (group / "cgroup.procs").read_text(), 20, "the group to be empty")
    group.rmdir()


def test_the_kernels_kill_for_memory_is_told(cluster, small_group):
    drive(
        cluster,
        """
        @ray.remote(max_retries=0)
        def eats(group):
            with open(group, "w") as file:
                file.write(str(os.getpid()))
            return len(b"x" * (600 << 20))

        try:
            ray.get(eats.remote(os.environ["GROUP"]), timeout=40)
            raise AssertionError("no error")
        except WorkerCrashedError as error:
            assert "was killed by signal 9 (killed), as the kernel does when memory is short" in str(error), error
        """,
        env={"GROUP": str(small_group)},
    )


@pytest.mark.parametrize("force", [True, False])
def test_a_task_that_is_cancelled_at_once_does_not_run_elsewhere(cluster, force):
    """It may be on its way to a worker then: neither its death nor a recall may bring it back."""
    drive(
        cluster,
        """
        force = os.environ["FORCE"] == "True"

        @ray.remote(max_retries=3)
        def sleeps():
            time.sleep(600)

        for wait in (0, 0.001, 0.2):
            ref = sleeps.remote()
            time.sleep(wait)
            ray.cancel(ref, force=force)
            try:
                ray.get(ref, timeout=20)
                raise AssertionError("no error")
            except (TaskCancelledError, WorkerCrashedError):
                pass
        """,
        env={"FORCE": str(force)},
    )
