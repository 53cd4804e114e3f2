"""Tasks and actors that do what they should not: the caller hears of it, the cluster goes on."""

import os
import signal

import pytest

from .conftest import wait_until

pytestmark = pytest.mark.timeout(60)

HEADER = """
import os, signal, sys, threading, time
import numpy
import ray
from ray.exceptions import *
ray.init()
"""

ALIVE = """
assert ray.get(ray.remote(lambda: 7).remote(), timeout=20) == 7
print("alive")
"""


def drive(cluster, source, timeout=50, header=HEADER, **more):
    """Runs source between connecting and a last task that shows that the cluster works."""
    import textwrap

    status, out, err = cluster.drive(header + textwrap.dedent(source) + ALIVE, timeout=timeout, **more)
    assert status == 0, out + err
    assert "alive" in out
    return out, err


def test_exit_in_a_task(cluster):
    drive(
        cluster,
        """
        @ray.remote(max_retries=0)
        def leave():
            os._exit(3)

        try:
            ray.get(leave.remote())
            raise AssertionError("no error")
        except WorkerCrashedError as error:
            print(error)
        """,
    )


def test_exit_in_a_task_is_retried(cluster):
    drive(
        cluster,
        """
        @ray.remote(max_retries=1)
        def leave_once(path):
            if not os.path.exists(path):
                open(path, "w").close()
                os._exit(3)
            return "second"

        assert ray.get(leave_once.remote(os.path.abspath("left_once"))) == "second"
        """,
    )


def test_the_environment_says_how_often_tasks_are_retried(cluster):
    drive(
        cluster,
        """
        os.environ["RAY_TASK_MAX_RETRIES"] = "1"

        @ray.remote
        def leave(path):
            with open(path, "a") as file:
                file.write("x")
            os._exit(3)

        @ray.remote
        def nested(path):
            ray.get(leave.remote(path))

        def attempts(task, name):
            path = os.path.abspath(name)
            try:
                ray.get(task.remote(path))
            except (WorkerCrashedError, ray.exceptions.RayTaskError):
                return os.path.getsize(path)

        assert attempts(leave, "default") == 2
        assert attempts(leave.options(max_retries=0), "none") == 1
        in_worker = {"env_vars": {"RAY_TASK_MAX_RETRIES": "0"}}
        assert attempts(nested.options(runtime_env=in_worker), "nested") == 1
        """,
    )


def test_signal_in_a_task(cluster):
    drive(
        cluster,
        """
        @ray.remote(max_retries=0)
        def crash():
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(60)

        try:
            ray.get(crash.remote())
            raise AssertionError("no error")
        except WorkerCrashedError as error:
            print(error)
        """,
    )


def test_stopped_task_can_be_cancelled(cluster):
    drive(
        cluster,
        """
        @ray.remote(max_retries=0)
        def stop():
            os.kill(os.getpid(), signal.SIGSTOP)
            return "went on"

        @ray.remote
        def pid_of(i):
            return os.getpid()

        stopped = stop.remote()
        others = [pid_of.remote(i) for i in range(20)]
        ready, _ = ray.wait([stopped], timeout=0.2)
        assert not ready
        ray.cancel(stopped, force=True)
        assert len(ray.get(others, timeout=20)) == 20
        try:
            ray.get(stopped, timeout=20)
            raise AssertionError("no error")
        except (TaskCancelledError, WorkerCrashedError):
            pass
        """,
    )


def test_job_ends_while_tasks_wait_behind_a_stopped_one(cluster):
    for _ in range(3):
        driver = cluster.spawn(
            HEADER
            + """
@ray.remote(max_retries=0)
def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

@ray.remote
def after():
    return 1

refs = [stop.remote()] + [after.remote() for _ in range(20)] + [stop.remote() for _ in range(4)]
ray.wait(refs, num_returns=3, timeout=0.3)
print("over", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        )
        assert driver.wait(20) == -signal.SIGKILL
    drive(cluster, "")


def test_forking_task(cluster):
    drive(
        cluster,
        """
        @ray.remote
        def fork():
            child = os.fork()
            if child == 0:
                os._exit(0)
            return os.waitpid(child, 0)[1]

        @ray.remote
        def fork_without_end():
            import subprocess
            return subprocess.Popen(["sleep", "600"], start_new_session=False).pid

        assert ray.get([fork.remote() for _ in range(8)], timeout=30) == [0] * 8
        print("orphan", ray.get(fork_without_end.remote()))
        """,
    )
    wait_until(
        lambda: not any("sleep 600" in line for line in cluster.processes().values()),
        15,
        "what a task started still runs when its job has ended",
    )


def test_recursion_deeper_than_the_machine(cluster):
    drive(
        cluster,
        """
        @ray.remote(num_cpus=1)
        def deep(n):
            return 0 if n == 0 else 1 + ray.get(deep.remote(n - 1))

        assert ray.get(deep.remote(50), timeout=45) == 50
        """,
    )


def test_unpicklable_values_are_named(cluster):
    out, _ = drive(
        cluster,
        """
        class Settings:
            def __init__(self):
                self.name = "x"
                self.guard = threading.Lock()

        def says(what, call):
            try:
                call()
            except TypeError as error:
                text = str(error)
                assert "guard" in text or "lock" in text, text
                print(what, "refused:", text.replace(chr(10), " "))
            else:
                raise AssertionError(what + " was taken")

        lock = threading.Lock()
        says("put", lambda: ray.put(Settings()))
        says("argument", lambda: ray.remote(lambda x: x).remote(Settings()))
        says("closure", lambda: ray.remote(lambda: lock).remote())

        @ray.remote(max_retries=0)
        def gives():
            class Settings:
                def __init__(self):
                    self.guard = threading.Lock()
            return Settings()

        says("result", lambda: ray.get(gives.remote()))
        """,
    )
    assert "guard" in [line for line in out.splitlines() if line.startswith("put")][0]
    assert "guard" in [line for line in out.splitlines() if line.startswith("argument")][0]
    assert "guard" in [line for line in out.splitlines() if line.startswith("result")][0]


def test_unpicklable_exception(cluster):
    drive(
        cluster,
        """
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__("odd one")
                self.lock = threading.Lock()

        class NeedsTwo(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")

        @ray.remote
        def raises(kind):
            raise (Odd if kind else NeedsTwo)(1, 2)

        for kind, word in ((1, "odd one"), (0, "1 and 2")):
            try:
                ray.get(raises.remote(kind), timeout=20)
                raise AssertionError("no error")
            except RayError as error:
                assert word in str(error), str(error)
        """,
    )


def test_constructor_that_hangs_is_killed(cluster):
    drive(
        cluster,
        """
        @ray.remote(num_cpus=1)
        class Hangs:
            def __init__(self, path):
                open(path, "w").close()
                time.sleep(600)
            def ping(self):
                return 1

        path = os.path.abspath("began_to_hang")
        actor = Hangs.remote(path)
        call = actor.ping.remote()
        while not os.path.exists(path):
            time.sleep(0.02)
        ray.kill(actor)
        try:
            ray.get(call, timeout=15)
            raise AssertionError("no error")
        except RayActorError as error:
            print(error)
        assert len(ray.get([ray.remote(os.getpid).remote() for _ in range(4)], timeout=15)) == 4
        """,
    )


def test_out_of_shared_memory(cluster):
    drive(
        cluster,
        """
        kept, error = [], None
        try:
            ray.put(numpy.zeros(1 << 30, dtype=numpy.uint8))
            print("one over the size of the store was taken")
        except ObjectStoreFullError as problem:
            print("refused:", problem)
        a = ray.put(numpy.full(60_000_000, 1, dtype=numpy.uint8))
        first = ray.get(a)
        b = ray.put(numpy.full(60_000_000, 2, dtype=numpy.uint8))
        assert first[0] == 1 and ray.get(b)[-1] == 2
        del first, a, b
        """,
    )


def test_argument_larger_than_the_store(cluster):
    drive(
        cluster,
        """
        @ray.remote
        def size(x):
            return x.nbytes

        try:
            assert ray.get(size.remote(numpy.ones(300_000_000, dtype=numpy.uint8)), timeout=45) == 300_000_000
            print("taken")
        except ObjectStoreFullError as error:
            print("refused", error)
        """,
    )


@pytest.mark.timeout(120)
def test_an_argument_of_a_gigabyte(cluster):
    """Ten times what the store holds: it goes by way of the disk, or it is refused with words."""
    drive(
        cluster,
        """
        @ray.remote
        def ends(x):
            return len(x), x[0], x[-1]

        value = numpy.zeros(1_000_000_000, dtype=numpy.uint8)
        value[0], value[-1] = 3, 4
        try:
            assert ray.get(ends.remote(value), timeout=80) == (1_000_000_000, 3, 4)
            print("taken")
        except ObjectStoreFullError as error:
            assert "GB" in str(error) or "bytes" in str(error), error
            print("refused")
        """,
        timeout=100,
    )


def test_a_large_closure_is_warned_of_and_a_huge_one_refused(cluster):
    _, err = drive(
        cluster,
        """
        ballast = os.urandom(50_000_000)

        @ray.remote
        def carries():
            return len(ballast)

        assert ray.get(carries.remote(), timeout=30) == 50_000_000
        assert ray.get(carries.remote(), timeout=30) == 50_000_000
        ballast = os.urandom(120_000_000)
        for make in (lambda: ray.remote(lambda: len(ballast)).remote(),
                     lambda: ray.remote(type("Holder", (), {"get": lambda self: ballast})).remote()):
            try:
                make()
                raise AssertionError("no error")
            except ValueError as error:
                assert "is too large (114 MiB > FUNCTION_SIZE_ERROR_THRESHOLD=95 MiB)" in str(error), error
        """,
    )
    assert err.count("is very large (47 MiB)") == 1, err


@pytest.mark.timeout(150)
def test_a_gigabyte_of_lines(cluster):
    """The driver shows what it can; neither it nor the daemon keeps the rest in memory."""
    head = cluster.head()
    driver = cluster.spawn(
        HEADER
        + """
@ray.remote
def flood():
    piece = b"".join(b"line %d of a flood of lines\\n" % i for i in range(40_000))
    for _ in range(1024):
        os.write(1, piece)
    return len(piece) >> 20

assert ray.get(flood.remote(), timeout=100) == 1
with open("/proc/self/statm") as file, open("statm", "w") as out:
    out.write(file.read())
"""
        + ALIVE,
    )
    most = 0
    while driver.stdout.read(1 << 20):
        most = max(most, resident(head))
    assert driver.wait(20) == 0, driver.stderr.read()[-2000:]
    pages = int((cluster.root / "work" / "statm").read_text().split()[1])
    grown = pages * os.sysconf("SC_PAGE_SIZE") >> 20
    assert grown < 400, f"the driver has {grown} MiB"
    assert most < 600 << 20, f"the daemon had {most >> 20} MiB"


def resident(pid):
    """Bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_gigabyte_without_a_newline(cluster):
    head = cluster.head()
    before = resident(head)
    driver = cluster.spawn(
        HEADER
        + """
@ray.remote
def flood():
    piece = b"x" * (1 << 20)
    for _ in range(1024):
        os.write(1, piece)
    return "flooded"

print(ray.get(flood.remote(), timeout=50))
"""
        + ALIVE,
    )
    # What the driver shows of it is not looked at as text: it may be long.
    most, tail, alive = 0, "", False
    for part in iter(lambda: driver.stdout.read(1 << 20), ""):
        alive = alive or "alive" in tail + part
        tail = part[-16:]
        most = max(most, resident(head))
    assert driver.wait(20) == 0, driver.stderr.read()[-2000:]
    assert alive
    assert most - before < 400 << 20, f"the daemon grew by {(most - before) >> 20} MiB"


def test_infeasible_task_is_told_and_waits(cluster):
    driver = cluster.spawn(
        HEADER
        + """
begun = time.monotonic()
ref = ray.remote(lambda: 1).options(num_cpus=64).remote()
ready, _ = ray.wait([ref], timeout=5.5)
assert not ready
ray.cancel(ref)
"""
        + ALIVE,
    )
    out, err = driver.communicate(timeout=40)
    assert driver.returncode == 0, err
    said = out + err
    assert "64" in said, said
    assert any("CPU" in line and "64" in line for line in said.splitlines()), said


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_killed_actor_worker_is_told(cluster, kind):
    drive(
        cluster,
        f"""
        @ray.remote
        class Pid:
            def get(self):
                return os.getpid()

        actor = Pid.remote()
        os.kill(ray.get(actor.get.remote()), {int(kind)})
        try:
            while True:
                ray.get(actor.get.remote(), timeout=15)
                time.sleep(0.05)
        except RayActorError as error:
            print(error)
        """,
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["stopped", "busy"])
def test_tasks_behind_a_worker_that_answers_nothing_run_elsewhere(cluster, how):
    """A worker with tasks in its queue is stopped, or runs C code that lets no other thread run."""
    drive(
        cluster,
        """
        import ctypes

        @ray.remote(num_cpus=1, max_retries=0)
        def quick(path, i):
            with open(path, "a") as file:
                file.write(f"{i} ")
            return os.getpid()

        @ray.remote(num_cpus=1, max_retries=0)
        def trap(path, how):
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            if how == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                ctypes.PyDLL(None).sleep(20)  # it keeps the interpreter's lock
            return "went on"

        how, marks = os.environ['HOW'], os.path.join(os.getcwd(), "marks")
        ray.get([quick.remote(os.devnull, 0) for _ in range(500)])  # short tasks: many share a worker
        # The trap needs what the others need, so that they queue behind it.
        pid_file = os.path.join(os.getcwd(), "pid")
        refs = [quick.remote(marks, i) for i in range(50)]
        stuck = trap.remote(pid_file, how)
        refs += [quick.remote(marks, i) for i in range(50, 150)]
        pids = ray.get(refs, timeout=15)
        pid = int(open(pid_file).read())
        ready, _ = ray.wait([stuck], timeout=0)
        assert not ready
        os.kill(pid, signal.SIGCONT)
        assert ray.get(stuck) == "went on"
        # each ran once, whatever was taken back
        assert sorted(map(int, open(marks).read().split())) == list(range(150))
        os.remove(marks), os.remove(pid_file)
        # and the worker is used again
        ray.get([quick.remote(os.devnull, 0) for _ in range(500)])
        """,
        env={"HOW": how},
        timeout=90,
    )
