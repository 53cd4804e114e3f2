"""Results that a generator makes one by one, groups of async calls, and options that were taken amiss."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time

import pytest
import ray
from ray._common.test_utils import wait_for_condition
from ray._private.test_utils import wait_for_pid_to_exit
from ray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote(max_retries=0)
def make(count, fail=False):
    for i in range(count):
        yield [i]
    if fail:
        raise KeyError("no more flour")


@ray.remote
class Maker:
    def make(self, count, fail=False):
        yield from range(count)
        if fail:
            raise KeyError("no more flour")


def outcomes(refs):
    found = []
    for ref in refs:
        try:
            found.append(ray.get(ref, timeout=60))
        except (KeyError, ValueError) as error:
            assert isinstance(error, RayTaskError)
            found.append(type(error.cause))
    return found


@pytest.mark.parametrize(
    ("count", "fail", "expected"),
    [
        (3, False, [[0], [1], [2]]),
        (4, False, [[0], [1], [2]]),  # one too many is dropped
        (2, False, [[0], [1], ValueError]),
        (1, True, [[0], KeyError, KeyError]),
        (0, True, [KeyError, KeyError, KeyError]),
    ],
)
def test_a_generator_fills_the_results_in_turn(cluster, count, fail, expected):
    assert outcomes(make.options(num_returns=3).remote(count, fail)) == expected


def test_a_method_fills_the_results_in_turn(cluster):
    assert outcomes(Maker.remote().make.options(num_returns=2).remote(1, True)) == [0, KeyError]


def test_a_generator_makes_one_result(cluster):
    assert ray.get(make.options(num_returns=1).remote(1)) == [0]


def test_a_generator_is_tried_again_as_a_whole(cluster, tmp_path):
    @ray.remote(num_returns=2, max_retries=1, retry_exceptions=[KeyError])
    def once():
        yield "first"
        if not os.path.exists(tmp_path / "again"):
            open(tmp_path / "again", "w").close()
            raise KeyError
        yield "second"

    assert ray.get(once.remote()) == ["first", "second"]


def test_a_generator_that_fills_results_can_be_cancelled(cluster, tmp_path):
    @ray.remote(num_returns=2, max_retries=0)
    def endless():
        yield 1
        open(tmp_path / "on", "w").close()
        while True:
            threading.Event().wait(0.01)

    first, second = endless.remote()
    wait_for_condition((tmp_path / "on").exists, timeout=30)
    ray.cancel(second)
    with pytest.raises(TaskCancelledError):
        ray.get(second, timeout=60)


def test_each_group_of_async_calls_has_a_loop_of_its_own(cluster, tmp_path):
    @ray.remote(num_cpus=0, concurrency_groups={"quick": 1, "other": 1})
    class Kitchen:
        def __init__(self):
            self.loops = {"": id(asyncio.get_running_loop())}

        async def block(self):
            assert id(asyncio.get_running_loop()) == self.loops[""]
            while not os.path.exists(tmp_path / "go"):
                threading.Event().wait(0.01)
            return "unblocked"

        @ray.method(concurrency_group="quick")
        async def answer(self):
            return id(asyncio.get_running_loop()) != self.loops[""]

        @ray.method(concurrency_group="other")
        def plain(self):
            return "ok"

    kitchen = Kitchen.remote()
    blocked = kitchen.block.remote()
    assert ray.get([kitchen.answer.remote(), kitchen.plain.remote()], timeout=60) == [True, "ok"]
    (tmp_path / "go").touch()
    assert ray.get(blocked, timeout=60) == "unblocked"


def test_an_async_actor_exits_while_a_call_never_ends(cluster):
    @ray.remote(num_cpus=0, concurrency_groups={"side": 2})
    class Kitchen:
        async def pid(self):
            return os.getpid()

        async def leave(self):
            ray.actor.exit_actor()

        @ray.method(concurrency_group="side")
        async def simmer(self):
            await asyncio.Event().wait()

    kitchen = Kitchen.remote()
    simmering = kitchen.simmer.remote()
    pid = ray.get(kitchen.pid.remote())
    with pytest.raises(ActorDiedError):
        ray.get(kitchen.leave.remote(), timeout=60)
    with pytest.raises(ActorDiedError):
        ray.get(simmering, timeout=60)
    wait_for_pid_to_exit(pid)


def test_threads_of_numeric_libraries_follow_the_cpus(cluster):
    @ray.remote(num_cpus=2)
    def threads():
        return os.environ["OMP_NUM_THREADS"]

    assert ray.get(threads.remote()) == "2"
    group = ray.util.placement_group([{"CPU": 2}])
    assert group.wait(60)
    try:
        for index in (-1, 0):
            strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
            assert ray.get(threads.options(scheduling_strategy=strategy).remote(), timeout=60) == "2"
        bad = threads.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, -2))
        with pytest.raises(ValueError, match="placement group bundle index -2 is invalid"):
            bad.remote()
    finally:
        ray.util.remove_placement_group(group)


def test_bundles_cannot_ask_for_bundles():
    with pytest.raises(ValueError, match="marks the bundles"):
        ray.util.placement_group([{"bundle": 1}])


def test_what_completion_of_a_shell_shows(cluster):
    @ray.remote
    class Kitchen:
        def cook(self):
            return "soup"

    assert [name for name in dir(Kitchen) if not name.startswith("_")] == ["bind", "cook", "options", "remote"]
    assert dir(Kitchen.options(num_cpus=0).remote()) == [
        "__init__",
        "__ray_call__",
        "__ray_ready__",
        "__ray_terminate__",
        "cook",
    ]


def test_an_empty_namespace_is_refused(cluster):
    with pytest.raises(ValueError, match='"" is not a valid namespace'):
        ray.get_actor("anyone", namespace="")
    script = "import ray\ntry:\n    ray.init('local', namespace='')\nexcept ValueError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert '"" is not a valid namespace' in done.stdout, done.stderr


def test_a_driver_submits_jobs_to_the_dashboard_of_its_own_cluster():
    script = """
import json, ray
from ray.job_submission import JobSubmissionClient
with ray.init("local", num_cpus=1) as context:
    client = JobSubmissionClient("http://" + context.dashboard_url)
    job = client.submit_job(entrypoint="true")
    print(json.dumps([context.dashboard_url, context.address_info["webui_url"], client.get_job_info(job).entrypoint]))
with ray.init("local", num_cpus=1, include_dashboard=False) as context:
    print(json.dumps(context.dashboard_url))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    first, second = done.stdout.splitlines()[-2:]
    url, same, entrypoint = json.loads(first)
    assert url.startswith("127.0.0.1:") and url == same and entrypoint == "true", done.stderr
    assert json.loads(second) is None


def test_locations_are_not_asked_for_without_a_cluster():
    script = """
import ray
for ask in (ray.experimental.get_object_locations, ray.experimental.get_local_object_locations):
    try:
        ask([])
    except RuntimeError as error:
        print(error, ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["Ray hasn't been initialized. False"] * 2, done.stderr


@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_stream_whose_process_dies_gives_one_error_and_ends(cluster, how):
    @ray.remote(num_cpus=0)
    class Items:
        def some(self):
            yield 0
            if how == "crash":
                os._exit(1)
            time.sleep(600)

    actor = Items.remote()
    items = actor.some.remote()
    assert ray.get(next(items), timeout=60) == 0
    if how == "kill":
        ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(next(items), timeout=60)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(items)
