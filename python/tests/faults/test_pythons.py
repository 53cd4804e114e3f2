"""The package under every interpreter of this machine, with nothing but its standard library."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.timeout(240)

SUPPORTED = [(3, minor) for minor in range(9, 15)]


def interpreters():
    """(major, minor) → an interpreter: on PATH, or where pyenv and distributions put them."""
    found = {}
    places = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    places += sorted(pathlib.Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")).glob("versions/*/bin"))
    places += [pathlib.Path("/usr/bin"), pathlib.Path("/usr/local/bin")]
    for major, minor in SUPPORTED:
        for place in places:
            program = place / f"python{major}.{minor}"
            try:
                if not os.access(program, os.X_OK):
                    continue
                # A shim of pyenv is there for versions that are not chosen: it must run.
                done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20)
            except (OSError, subprocess.TimeoutExpired):
                continue
            if done.returncode == 0 and re.match(rf"Python {major}\.{minor}\.", done.stdout):
                found[major, minor] = str(program)
                break
    return found


FOUND = interpreters()


@pytest.fixture(params=SUPPORTED, ids=lambda version: "%d.%d" % version)
def python(request):
    if request.param not in FOUND:
        pytest.skip("this machine has no Python %d.%d" % request.param)
    return FOUND[request.param]


DRIVER = """
import asyncio, os, sys
import ray

version = sys.version_info[:2]
third_parties = {"numpy", "cloudpickle", "yaml", "google.protobuf", "grpc"} & set(sys.modules)
assert not third_parties, third_parties
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20)

@ray.remote
def where(*args, **kwargs):
    return sys.version_info[:2], args, kwargs

assert ray.get(where.remote(1, b"x" * 200_000, k=[None])) == (version, (1, b"x" * 200_000), {"k": [None]})

@ray.remote
def fails():
    raise KeyError("by the task")

try:
    ray.get(fails.remote())
except KeyError as error:
    assert isinstance(error, ray.exceptions.RayTaskError)
else:
    raise AssertionError

@ray.remote(num_returns="streaming")
def items(n):
    for i in range(n):
        yield i

assert [ray.get(ref) for ref in items.remote(5)] == [0, 1, 2, 3, 4]

@ray.remote
class Counter:
    def __init__(self, n=0):
        self.n = n
    @ray.method(num_returns=2)
    def add(self, n):
        self.n += n
        return self.n, ray.get_runtime_context().get_actor_id()

counter = Counter.options(name="c").remote(1)
first, _ = counter.add.remote(2)
assert ray.get(first) == 3
assert ray.get(ray.get_actor("c").add.remote(1)[0]) == 4

@ray.remote
class Waits:
    async def both(self, refs):
        return await asyncio.gather(*refs)

assert ray.get(Waits.remote().both.remote([ray.put(1), ray.put("a")])) == [1, "a"]
ready, rest = ray.wait([where.remote(i) for i in range(4)], num_returns=4, timeout=30)
assert (len(ready), rest) == (4, [])
slow = ray.remote(lambda: __import__("time").sleep(600)).remote()
ray.cancel(slow, force=True)
try:
    ray.get(slow, timeout=30)
except (ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError):
    pass
else:
    raise AssertionError
from ray.util.multiprocessing import Pool
with Pool(2) as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]
from ray.util import ActorPool
from ray.util.queue import Queue
queue = Queue()
queue.put(5)
assert queue.get() == 5
ray.shutdown()
print("fine on %d.%d" % version)
"""


def test_every_module_compiles(python, tmp_path):
    package = pathlib.Path(__file__).resolve().parents[2] / "ray"
    copy = tmp_path / "ray"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [python, "-W", "error::SyntaxWarning", "-m", "compileall", "-q", str(copy)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_tasks_actors_and_the_rest(python, place):
    path = place.root / "work" / "driver.py"
    path.write_text(DRIVER)
    env = {name: text for name, text in place.env.items() if name != "VIRTUAL_ENV"}
    # No site-packages: what is needed comes with the package.
    done = subprocess.run(
        [python, "-S", str(path)], env=env, cwd=place.root / "work", capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fine on" in done.stdout
    place.nothing_runs()
