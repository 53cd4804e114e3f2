"""Drivers of ray:// whose connections break: nothing is lost, and nothing happens twice."""

import json
import os
import signal
import time

import pytest

from .conftest import HEAD_OPTIONS, Cluster, _binary, wait_until
from .proxy import Proxy

pytestmark = pytest.mark.timeout(180)

# Bytes after which a connection is reset: long enough for a greeting, short enough for hundreds of cuts.
LIFE = (6_000, 60_000)


@pytest.fixture(params=["node", "head"])
def port(request, cluster):
    """The two ports that a driver may be given."""
    if request.param == "head":
        return cluster.port
    return int(cluster.announcement()["node_address"].rpartition(":")[2])


@pytest.fixture
def proxy(port):
    """A way to the cluster that breaks all the time."""
    made = Proxy("127.0.0.1", port, LIFE, seed=port)
    yield made
    made.close()


@pytest.fixture
def way(port):
    """A way to the cluster that breaks when the test says so."""
    made = Proxy("127.0.0.1", port)
    yield made
    made.close()


PROLOGUE = """
import os, sys, time, threading, random
import ray
ray.init("ray://" + os.environ["VIA"], log_to_driver=False)
"""


def drive(cluster, proxy, source, timeout=120, **env):
    import textwrap

    status, out, err = cluster.drive(
        PROLOGUE + textwrap.dedent(source), env={"VIA": proxy.address, **env}, timeout=timeout
    )
    assert status == 0, out + err
    return out


def cut_often(proxy, least=5):
    assert proxy.cuts >= least, f"the test has shown nothing: {proxy.cuts} cuts"


def test_puts_and_gets(cluster, proxy):
    drive(
        cluster,
        proxy,
        """
        dice = random.Random(1)
        values = [dice.randbytes(dice.randrange(1, 60_000)) if hasattr(dice, "randbytes")
                  else os.urandom(dice.randrange(1, 60_000)) for _ in range(60)]
        refs = [ray.put(value) for value in values]
        assert ray.get(refs) == values
        large = os.urandom(1_000_000)
        assert ray.get(ray.put(large)) == large
        ready, rest = ray.wait(refs, num_returns=len(refs), timeout=60)
        assert len(ready) == len(refs) and not rest
        # a reference inside of an object survives the object
        outer = ray.put([ray.put(b"inner" * 1000)])
        inner = ray.get(outer)[0]
        del outer
        assert ray.get(inner) == b"inner" * 1000
        """,
    )
    cut_often(proxy)


def test_every_task_runs_once(cluster, proxy, tmp_path):
    marks = tmp_path / "marks"
    drive(
        cluster,
        proxy,
        """
        @ray.remote(num_cpus=0.1, max_retries=0)
        def mark(i, ballast):
            with open(os.environ["MARKS"], "a") as file:
                file.write(f"{i}\\n")
            return i, ballast

        @ray.remote(num_cpus=0.1)
        def add(a, b):
            return a[0] + b[0]

        refs = [mark.options(runtime_env={"env_vars": {"MARKS": os.environ["MARKS"]}}).remote(i, os.urandom(500))
                for i in range(300)]
        sums = [add.remote(a, b) for a, b in zip(refs, refs[1:])]
        assert [i for i, _ in ray.get(refs)] == list(range(300))
        assert ray.get(sums) == [2 * i + 1 for i in range(299)]
        """,
        MARKS=str(marks),
    )
    cut_often(proxy)
    assert sorted(map(int, marks.read_text().split())) == list(range(300))


def test_actor_calls_keep_their_order(cluster, proxy):
    drive(
        cluster,
        proxy,
        """
        @ray.remote
        class Log:
            def __init__(self):
                self.seen = []
            def add(self, i, ballast):
                self.seen.append(i)
                return i
            def all(self):
                return self.seen

        log = Log.remote()
        refs = [log.add.remote(i, os.urandom(800)) for i in range(300)]
        assert ray.get(refs) == list(range(300))
        for i in range(300, 340):
            assert ray.get(log.add.remote(i, b"")) == i
        assert ray.get(log.all.remote()) == list(range(340))
        """,
    )
    cut_often(proxy)


def test_generators(cluster, proxy):
    drive(
        cluster,
        proxy,
        """
        @ray.remote(num_returns="streaming")
        def count(n):
            for i in range(n):
                yield i, os.urandom(2000)

        assert [ray.get(ref)[0] for ref in count.remote(150)] == list(range(150))
        slow = count.options(_generator_backpressure_num_objects=3).remote(60)
        assert [ray.get(ref)[0] for ref in slow] == list(range(60))
        """,
    )
    cut_often(proxy)


def test_threads_and_several_drivers(cluster, proxy):
    source = (
        PROLOGUE
        + """
def work(k):
    @ray.remote(num_cpus=0.1)
    def double(x, ballast):
        return 2 * x
    for i in range(30):
        assert ray.get(double.remote(i + k, os.urandom(3000))) == 2 * (i + k)
    done.append(k)

done = []
threads = [threading.Thread(target=work, args=(1000 * k,)) for k in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(done) == 4
"""
    )
    drivers = [cluster.spawn(source, env={"VIA": proxy.address}) for _ in range(3)]
    for driver in drivers:
        out, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, out + err
    cut_often(proxy)


def test_references_are_released(cluster, proxy):
    drive(
        cluster,
        proxy,
        """
        import gc
        from ray.util.state import list_objects

        def held():
            return {row.object_id for row in list_objects(limit=10_000)}

        before = held()
        echo = ray.remote(num_cpus=0.1)(lambda x: x)
        refs = [ray.put(os.urandom(9000)) for _ in range(40)] + [echo.remote(os.urandom(9000)) for _ in range(40)]
        ray.get(refs)
        del refs
        gc.collect()
        deadline = time.monotonic() + 30
        while len(held() - before) > 5:
            assert time.monotonic() < deadline, len(held() - before)
            time.sleep(0.1)
        """,
    )
    cut_often(proxy)


@pytest.mark.parametrize("harm", ["cut", "half_close", "pause"])
def test_one_loss_in_the_middle_of_a_call(cluster, way, harm, tmp_path):
    begun, go = tmp_path / "begun", tmp_path / "go"
    driver = cluster.spawn(
        PROLOGUE
        + """
@ray.remote
def wait(begun, go):
    open(begun, "a").write("x")
    while not os.path.exists(go):
        time.sleep(0.01)
    return 7
assert ray.get(wait.remote(os.environ["BEGUN"], os.environ["GO"])) == 7
assert len(open(os.environ["BEGUN"]).read()) == 1
""",
        env={"VIA": way.address, "BEGUN": str(begun), "GO": str(go)},
    )
    wait_until(begun.exists, 30, "the task to begin")
    made = way.made
    getattr(way, harm)()
    if harm != "pause":
        wait_until(lambda: way.made >= made + 2, 20, "both connections to come back")
    go.write_text("")
    time.sleep(0.3)
    way.resume()
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, out + err


def test_silence_is_noticed(cluster, way, tmp_path):
    """Nobody says that the connections are dead: the driver finds out and makes new ones."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    driver = cluster.spawn(
        PROLOGUE
        + """
ref = ray.put(b"kept")
open(os.environ["READY"], "w").close()
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.01)
assert ray.get(ray.remote(lambda x: x).remote(ref)) == b"kept"
""",
        env={"VIA": way.address, "READY": str(ready), "GO": str(go)},
    )
    wait_until(ready.exists, 30, "the driver to connect")
    made = way.made
    way.lose()
    go.write_text("")
    out, err = driver.communicate(timeout=90)
    assert driver.returncode == 0, out + err
    assert way.made >= made + 1


def test_another_patch_version(cluster, port):
    status, out, err = cluster.drive(
        f"""
        import ray, ray._version, ray._core.joining as joining
        ray._version.__version__ = joining.__version__ = "2.60.7"
        ray.init("ray://127.0.0.1:{port}")
        assert ray.get(ray.remote(lambda: 7).remote()) == 7
        """
    )
    assert status == 0, out + err


@pytest.fixture(scope="module")
def strict():
    """A cluster that gives a driver two seconds to come back."""
    os.environ["RAY_CLIENT_RECONNECT_GRACE_PERIOD"] = "2"
    made = None
    try:
        made = _Strict(_binary(), *HEAD_OPTIONS)
        yield made
    finally:
        del os.environ["RAY_CLIENT_RECONNECT_GRACE_PERIOD"]
        if made is not None:
            made.close()


class _Strict(Cluster):
    def ray(self, *words, env=None, timeout=60):
        return super().ray(*words, env={"RAY_CLIENT_RECONNECT_GRACE_PERIOD": "2", **(env or {})}, timeout=timeout)


ACTOR = (
    PROLOGUE
    + """
@ray.remote
class Holder:
    def pid(self):
        return os.getpid()

holder = Holder.remote()
print(ray.get(holder.pid.remote()), flush=True)
"""
)


def _job_states(cluster):
    done = cluster.ray("list", "jobs", "--format", "json", "--detail")
    assert done.returncode == 0, done.stderr
    return [row.get("status") for row in json.loads(done.stdout)]


def _gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def test_a_driver_that_does_not_come_back(strict):
    way = Proxy("127.0.0.1", strict.port)
    try:
        driver = strict.spawn(
            ACTOR
            + """
try:
    while True:
        ray.get(holder.pid.remote())
        time.sleep(0.05)
except ConnectionError as error:
    print(error, flush=True)
ray.shutdown()
ray.init("ray://" + os.environ["DIRECT"])
assert ray.get(ray.remote(lambda: 1).remote()) == 1
""",
            env={"VIA": way.address, "DIRECT": strict.address},
        )
        pid = int(driver.stdout.readline())
        way.refuse()
        way.cut()
        out, err = driver.communicate(timeout=60)
        assert driver.returncode == 0, out + err
        assert "no connection came back within 2 s" in out
        wait_until(lambda: _gone(pid), 20, "the actor of the lost driver to end")
    finally:
        way.close()


def test_a_driver_that_comes_back_too_late(strict):
    way = Proxy("127.0.0.1", strict.port)
    try:
        driver = strict.spawn(
            ACTOR
            + """
sys.stdin.readline()
try:
    ray.get(holder.pid.remote())
except ConnectionError as error:
    print(error, flush=True)
""",
            env={"VIA": way.address},
        )
        pid = int(driver.stdout.readline())
        os.kill(driver.pid, signal.SIGSTOP)
        way.cut()
        wait_until(lambda: _gone(pid), 20, "the actor of the lost driver to end")
        os.kill(driver.pid, signal.SIGCONT)
        out, err = driver.communicate(timeout=60)
        assert driver.returncode == 0, out + err
        assert "does not know this driver any more" in out
    finally:
        way.close()


def test_the_end_of_a_driver_is_told_or_found(strict):
    """One that ends in order is forgotten at once; one that is killed, after the grace."""
    way = Proxy("127.0.0.1", strict.port)
    try:
        for end in ("pass", "os._exit(0)", "os.kill(os.getpid(), 9)"):
            driver = strict.spawn(ACTOR + end, env={"VIA": way.address})
            pid = int(driver.stdout.readline())
            driver.wait(30)
            wait_until(lambda pid=pid: _gone(pid), 20, f"the actor to end after {end}")
    finally:
        way.close()


def test_a_fork_of_a_remote_driver(cluster, way):
    drive(
        cluster,
        way,
        """
        ref = ray.put(1)
        child = os.fork()
        if child == 0:
            try:
                ray.get(ref)
            except RuntimeError:
                os._exit(3)
            os._exit(4)
        assert os.waitpid(child, 0)[1] >> 8 == 3
        assert ray.get(ray.remote(lambda x: x + 1).remote(ref)) == 2
        """,
    )


def test_a_stopped_driver_keeps_its_connection(strict):
    way = Proxy("127.0.0.1", strict.port)
    try:
        driver = strict.spawn(
            ACTOR + 'assert sys.stdin.read() == ""\nprint(ray.get(holder.pid.remote()))', env={"VIA": way.address}
        )
        pid = driver.stdout.readline()
        os.kill(driver.pid, signal.SIGSTOP)
        time.sleep(5)  # longer than the grace: a stopped process is not a lost one
        os.kill(driver.pid, signal.SIGCONT)
        out, err = driver.communicate(timeout=60)
        assert (driver.returncode, out) == (0, pid), out + err
    finally:
        way.close()
