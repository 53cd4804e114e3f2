"""Drivers that end badly: what they say, their exit status, and that nothing of them stays."""

import os
import signal
import time

import pytest

from .conftest import wait_until

pytestmark = pytest.mark.timeout(60)


def first_line(process, word):
    """Reads the driver's stdout up to a line that begins with word; gives the rest of that line."""
    for line in process.stdout:
        if line.startswith(word):
            return line[len(word) :].strip()
    raise AssertionError(f"the driver ended without {word!r}: {process.stderr.read()}")


def jobs_running(cluster):
    _, out, _ = cluster.drive(
        """
        import ray
        from ray.util.state import list_jobs
        ray.init(log_to_driver=False)
        print(sum(1 for job in list_jobs() if job.status == "RUNNING"))
        """
    )
    return int(out)


LONG = """
import ray, sys, time
ray.init()

@ray.remote
def long(i):
    time.sleep(600)

@ray.remote
class Holder:
    def ping(self):
        return 1

refs = [long.options(num_cpus=0.1).remote(i) for i in range(int(sys.argv[1]))]
if len(refs) < 10:
    holder = Holder.options(num_cpus=0.1).remote()
    ray.get(holder.ping.remote())
print("running", flush=True)
ray.get(refs)
"""


def test_killed_driver_leaves_nothing(cluster):
    driver = cluster.spawn(LONG, "3")
    first_line(driver, "running")
    busy = {pid for pid, line in cluster.workers().items() if "IDLE" not in line}
    assert busy
    driver.kill()
    began = time.monotonic()
    wait_until(lambda: not busy & set(cluster.processes()), 8, "workers of the killed driver still run")
    assert time.monotonic() - began < 8
    status, out, err = cluster.drive("import ray; ray.init(); print(ray.available_resources()['CPU'])")
    assert (status, out.split()[-1]) == (0, "2.0"), err


def test_driver_killed_with_ten_thousand_tasks_queued(cluster):
    driver = cluster.spawn(LONG.replace("num_cpus=0.1).remote(i)", "num_cpus=1).remote(i)"), "10000")
    first_line(driver, "running")
    driver.kill()
    status, out, err = cluster.drive(
        """
        import ray, time
        ray.init()
        begun = time.monotonic()
        print(ray.get(ray.remote(lambda: 7).options(num_cpus=2).remote(), timeout=20), time.monotonic() - begun)
        """
    )
    assert status == 0, err
    assert out.split()[0] == "7"
    assert float(out.split()[1]) < 10


def test_interrupted_driver_leaves_nothing(place):
    driver = place.spawn(LONG.replace("ray.init()", "ray.init(num_cpus=2, object_store_memory=10**8)"), "3")
    first_line(driver, "running")
    # As a terminal does it: the whole foreground group.
    os.killpg(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=20)
    assert driver.returncode in (1, 130, -signal.SIGINT)
    assert "KeyboardInterrupt" in err
    place.nothing_runs()
    assert not [name for name in os.listdir("/dev/shm") if place.mark[:8] in name]


@pytest.mark.parametrize("leader", [True, False], ids=["that reads", "that sleeps"])
def test_interrupt_that_no_system_call_hears(cluster, leader):
    """Another thread takes the signal: as when it comes just before the main thread's wait."""
    driver = cluster.spawn(
        """
        import signal, sys, threading, time, ray
        ray.init()
        never = ray.remote(time.sleep).options(num_cpus=0).remote(600)
        if sys.argv[1] == "False":
            threading.Thread(target=lambda: ray.get(never), daemon=True).start()
            time.sleep(0.5)  # that thread reads then, by all odds
        ready = threading.Event()
        taker = threading.Thread(target=lambda: (ready.wait(), time.sleep(600)), daemon=True)
        taker.start()
        main = threading.get_ident()

        def interrupt():
            while not any(f.f_code.co_name in ("_pump", "_lock_wait") for f in frames(main)):
                time.sleep(0.01)
            time.sleep(0.2)  # into the call
            signal.pthread_kill(taker.ident, signal.SIGINT)

        def frames(thread):
            frame = sys._current_frames()[thread]
            while frame is not None:
                yield frame
                frame = frame.f_back

        threading.Thread(target=interrupt, daemon=True).start()
        ray.get(never)
        """,
        str(leader),
    )
    _, err = driver.communicate(timeout=40)
    assert "KeyboardInterrupt" in err and driver.returncode in (1, 130, -signal.SIGINT), err


@pytest.mark.parametrize("own", [False, True], ids=["plain", "with a handler of its own"])
def test_sigterm_ends_a_driver_as_sys_exit_does(cluster, own):
    """atexit handlers run, and the exit status is upstream's, unless the user has said what is to happen."""
    code, out, err = cluster.drive(
        """
        import atexit, os, ray, signal, sys, time
        if sys.argv[1] == "True":
            signal.signal(signal.SIGTERM, lambda number, frame: (print("mine", flush=True), sys.exit(0)))
        ray.init(log_to_driver=False)
        atexit.register(print, "ends")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        """,
        str(own),
    )
    assert (code, out.split()) == ((0, ["mine", "ends"]) if own else (15, ["ends"])), err


def test_killed_driver_takes_its_own_cluster_down(place):
    driver = place.spawn(LONG.replace("ray.init()", "ray.init(num_cpus=2, object_store_memory=10**8)"), "3")
    first_line(driver, "running")
    driver.kill()
    driver.wait()
    place.nothing_runs(15)


def test_two_drivers_at_once(cluster):
    source = """
        import ray, sys
        ray.init(namespace=sys.argv[1])

        @ray.remote
        class Names:
            def mine(self):
                return ray.get_runtime_context().namespace

        keep = Names.options(name="same", num_cpus=0).remote()
        assert ray.get(ray.get_actor("same").mine.remote()) == sys.argv[1]
        print(sum(ray.get([ray.remote(lambda i=i: i).remote() for i in range(100)])))
        """
    drivers = [cluster.spawn(source, name) for name in ("first", "second")]
    for driver in drivers:
        out, err = driver.communicate(timeout=40)
        assert driver.returncode == 0, err
        assert out.split()[-1] == "4950"


def test_a_driver_is_listed_as_a_task_for_who_asks(cluster):
    """Its tasks name it as their parent."""
    code, out, err = cluster.drive(
        """
        import ray
        from ray._common.test_utils import wait_for_condition
        from ray.util.state import StateApiClient
        from ray.util.state.common import ListApiOptions, StateResource
        ray.init(log_to_driver=False)
        job = ray.get_runtime_context().get_job_id()
        task = ray.get(ray.remote(lambda: ray.get_runtime_context().get_task_id()).remote())

        def rows(**options):
            asked = ListApiOptions(filters=[("job_id", "=", job)], **options)
            found = StateApiClient().list(StateResource.TASKS, asked, raise_on_missing_output=False)
            return {row.task_id: row for row in found}

        def drivers(**options):
            return [(row.state, row.task_id == parent) for row in rows(**options).values() if row.type == "DRIVER_TASK"]

        wait_for_condition(lambda: task in rows(), timeout=30)
        parent = rows(detail=True)[task].parent_task_id
        print(drivers(detail=True), drivers(detail=True, exclude_driver=False))
        """
    )
    assert (code, out.strip()) == (0, "[] [('RUNNING', True)]"), err
