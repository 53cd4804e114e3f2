"""What must end when a daemon, a constructor or a job does."""

import os
import signal

from .conftest import HEAD_OPTIONS, Cluster, _binary, wait_until

LOCAL = """
import os, signal, subprocess, sys, time, ray

ray.init(num_cpus=1, include_dashboard=False)

@ray.remote
def leave():
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

ray.get(leave.remote())
print("up", flush=True)
time.sleep(600)
"""


def _pids(place, word):
    return [pid for pid, line in place.processes().items() if word in line]


def test_nothing_outlives_the_killed_daemon_of_a_driver(place):
    driver = place.spawn(LOCAL)
    assert driver.stdout.readline().strip() == "up", driver.stderr.read()
    assert _pids(place, "__head") and _pids(place, "sleep 600")
    (daemon,) = _pids(place, "__local")
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: set(place.processes()) <= {driver.pid}, 15, f"still there: {place.processes()}")


def test_the_head_outlives_its_daemon_and_ray_stop_finds_it():
    cluster = Cluster(_binary(), *HEAD_OPTIONS)
    try:
        (head,) = _pids(cluster, "__head")
        os.kill(cluster.head(), signal.SIGKILL)
        wait_until(lambda: not _pids(cluster, "__node"), 10, "the daemon ends")
        assert _pids(cluster, "__head") == [head]
        stopped = cluster.ray("stop")
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        cluster.nothing_runs()
    finally:
        cluster.close()


def test_a_program_that_left_its_group_ends_with_the_job(place):
    status, out, err = place.drive(LOCAL.replace("time.sleep(600)", "ray.shutdown()"))
    assert (status, out) == (0, "up\n"), err
    place.nothing_runs()


def test_a_constructor_that_ends_its_process_uses_up_the_restarts(place):
    status, out, err = place.drive(
        """
        import os, ray

        ray.init(num_cpus=1, include_dashboard=False)

        @ray.remote(max_restarts=2, max_task_retries=-1)
        class Brittle:
            def __init__(self, path):
                with open(path, "a") as file:
                    file.write("x")
                os._exit(1)

            def ping(self):
                return 1

        path = os.path.abspath("tries")
        try:
            ray.get(Brittle.remote(path).ping.remote(), timeout=30)
        except ray.exceptions.ActorDiedError:
            print(open(path).read())
        """
    )
    assert (status, out) == (0, "xxx\n"), err
