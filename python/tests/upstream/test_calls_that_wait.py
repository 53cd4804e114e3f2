"""Calls that wait: for their actor, in its queue, for a reader; and what runs beside an actor's other calls."""

import os
import signal
import sys
import time

import pytest
import ray
from ray.exceptions import TaskCancelledError
from ray.util.state import list_actors, list_tasks


def states(name):
    return sorted(row.state for row in list_tasks(filters=[("name", "=", name)]))


def test_a_call_of_an_actor_that_has_no_place_yet_is_cancelled(cluster):
    @ray.remote(num_cpus=1000)
    class Large:
        def call(self):
            return 1

    actor = Large.remote()
    first, second = actor.call.remote(), actor.call.remote()
    ray.cancel(first)
    with pytest.raises(TaskCancelledError):
        ray.get(first, timeout=30)
    assert ray.wait([second], timeout=0)[0] == []


def test_a_call_made_first_outlives_constructors_that_crash(cluster, tmp_path):
    @ray.remote(max_restarts=3)
    class Stumbles:
        def __init__(self, path, gate):
            while not os.path.exists(gate):
                time.sleep(0.01)
            with open(path, "a") as lives:
                lives.write("x")
            if os.path.getsize(path) < 3:
                os._exit(0)

        def call(self):
            return os.getpid()

    actor = Stumbles.remote(str(tmp_path / "lives"), str(tmp_path / "gate"))
    made = actor.call.remote()
    assert ray.wait([made], timeout=0)[0] == []  # and the call is known
    (tmp_path / "gate").touch()
    assert ray.get(made, timeout=60) > 0
    assert os.path.getsize(tmp_path / "lives") == 3


def test_a_call_whose_argument_comes_after_a_restart_is_made(cluster, tmp_path, until):
    @ray.remote(max_restarts=1)
    class Once:
        def pid(self, *args):
            return os.getpid()

    @ray.remote(num_cpus=0)
    def opened(path):
        while not os.path.exists(path):
            time.sleep(0.05)

    def alive_again():
        [row] = list_actors(filters=[("actor_id", "=", actor._actor_id.hex())], detail=True)
        return row.state == "ALIVE" and row.num_restarts == 1

    actor = Once.remote()
    first = ray.get(actor.pid.remote(), timeout=60)
    waits = actor.pid.remote(opened.remote(str(tmp_path / "gate")))
    assert ray.wait([waits], timeout=0)[0] == []  # and the call is known
    os.kill(first, signal.SIGKILL)
    until(alive_again)
    (tmp_path / "gate").touch()
    assert ray.get(waits, timeout=60) != first


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_what_waits_behind_other_calls_is_not_shown_as_running(cluster, until, kind):
    if kind == "loop":

        @ray.remote
        class Slow:
            async def slow(self):
                import asyncio

                await asyncio.sleep(600)

    else:

        @ray.remote
        class Slow:
            def slow(self):
                time.sleep(600)

    actor = Slow.options(max_concurrency=2).remote()
    calls = [actor.slow.options(name=kind).remote() for _ in range(5)]
    queued = "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
    until(lambda: states(kind) == [queued] * 3 + ["RUNNING"] * 2)
    ray.cancel(calls[4])
    with pytest.raises(TaskCancelledError):
        ray.get(calls[4], timeout=30)
    assert states(kind) == ["FAILED"] + [queued] * 2 + ["RUNNING"] * 2


def test_what_waits_behind_one_long_call_is_cancelled_at_once(cluster, tmp_path):
    @ray.remote
    class Slow:
        def slow(self, started, end):
            open(started, "w").close()
            while not os.path.exists(end):
                time.sleep(0.01)
            return "ended"

        def call(self, made):
            made.append(1)
            return len(made)

    started, end = str(tmp_path / "started"), str(tmp_path / "end")
    actor = Slow.remote()
    long = actor.slow.remote(started, end)
    calls = [actor.call.remote([]) for _ in range(4)]
    ray.cancel(calls[1])  # the actor's process may not have begun either
    while not os.path.exists(started):
        time.sleep(0.01)
    ray.cancel(calls[2])
    for call in calls[1:3]:
        with pytest.raises(TaskCancelledError):
            ray.get(call, timeout=30)
    assert ray.wait([long, calls[0], calls[3]], num_returns=3, timeout=0)[0] == []
    open(end, "w").close()
    assert ray.get([long, calls[0], calls[3]], timeout=30) == ["ended", 1, 1]
    assert ray.get(actor.call.remote([]), timeout=30) == 1


@pytest.mark.parametrize("end", ["returns", "raises", "exits"])
def test_a_generator_whose_reader_is_gone_runs_to_its_end(cluster, until, end):
    @ray.remote(num_cpus=0, _generator_backpressure_num_objects=1)
    def numbers():
        yield from range(5)

    @ray.remote(num_cpus=0)
    class Reader:
        def read(self, end):
            stream = numbers.options(name=f"numbers-{end}").remote()
            assert ray.get(next(stream)) == 0
            if end == "raises":
                raise ValueError(end)
            if end == "exits":
                sys.exit(1)

    reader = Reader.remote()
    ray.wait([reader.read.remote(end)])
    until(lambda: states(f"numbers-{end}") == ["FINISHED"])


@pytest.mark.parametrize("kind", ["plain", "threads", "loop"])
def test_the_systems_group_runs_beside_other_calls(cluster, kind):
    @ray.remote(num_cpus=0)
    class Plain:
        def wait(self, refs):
            return ray.get(refs[0])

        def ping(self):
            return "pong"

    @ray.remote(num_cpus=0)
    class Loop:
        async def wait(self, refs):
            return await refs[0]

        async def ping(self):
            return "pong"

    @ray.remote(num_cpus=0)
    class Gate:
        def __init__(self):
            self.open = False

        async def passed(self):
            import asyncio

            while not self.open:
                await asyncio.sleep(0.01)
            return "passed"

        async def unlock(self):
            self.open = True

    gate = Gate.remote()
    actor = Loop.remote() if kind == "loop" else Plain.options(max_concurrency=2 if kind == "threads" else 1).remote()
    waiting = actor.wait.options(concurrency_group="_ray_system").remote([gate.passed.remote()])
    assert ray.get([actor.ping.remote() for _ in range(10)], timeout=30) == ["pong"] * 10
    assert ray.wait([waiting], timeout=0)[0] == []
    ray.get(gate.unlock.remote())
    assert ray.get(waiting, timeout=30) == "passed"
    if kind != "plain":
        with pytest.raises(ValueError, match="no concurrency group 'other'"):
            ray.get(actor.ping.options(concurrency_group="other").remote(), timeout=30)


def test_a_callback_is_let_go_when_it_has_run(cluster, until):
    def callback(_):
        raise ValueError("for the log")

    @ray.remote(num_cpus=0)
    def one():
        return 1

    before = sys.getrefcount(callback)
    ref = one.remote()
    ref._on_completed(callback)
    until(lambda: sys.getrefcount(callback) == before)


def test_a_decorator_of_the_invocation_sees_arguments_and_result(cluster):
    def around(submit):
        def submitted(args, kwargs):
            return submit([args[0], args[0]], {}), kwargs

        return submitted

    def summed(function):
        def run(self, b, c):
            return function(self, b + c)

        run.__ray_invocation_decorator__ = around
        return run

    @ray.remote(num_cpus=0)
    class Actor:
        @summed
        def plus_one(self, x):
            return x + 1

    def total(a, b):
        return a + b

    total.__ray_invocation_decorator__ = around

    @ray.remote(num_cpus=0)
    def through(actor):
        ref, rest = actor.plus_one.remote(5, more=1)
        return ray.get(ref), rest

    actor = Actor.remote()
    ref, rest = actor.plus_one.remote(3, more=4)
    assert (ray.get(ref), rest) == (7, {"more": 4})
    ref, rest = ray.remote(total).remote(4, left=1)
    assert (ray.get(ref), rest) == (8, {"left": 1})
    assert ray.get(through.remote(actor)) == (11, {"more": 1})


@pytest.mark.parametrize("children", ["tasks", "actors"])
def test_children_end_with_the_process_that_waited_for_them(cluster, until, children):
    @ray.remote(num_cpus=0, max_retries=0)
    def sleep():
        time.sleep(600)

    @ray.remote(num_cpus=0)
    class Parent:
        def pid(self):
            return os.getpid()

        def sleep(self):
            time.sleep(600)

        def wait(self, children):
            if children == "actors":
                child = Parent.options(name="child", resources={"spice": 2}).remote()
                ray.get(child.sleep.remote())
            else:
                ray.get(sleep.options(resources={"spice": 2}).remote())

    def free():
        return ray.available_resources().get("spice", 0) == 2

    until(free)
    parent = Parent.remote()
    pid = ray.get(parent.pid.remote())
    waiting = parent.wait.remote(children)
    until(lambda: not free())
    os.kill(pid, signal.SIGKILL)
    until(free)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(waiting, timeout=30)


def test_an_actor_whose_last_handle_goes_while_it_is_made_ends_then(cluster, until, tmp_path):
    begun = tmp_path / "begun"

    @ray.remote(num_cpus=0)
    class Endless:
        def __init__(self):
            (tmp_path / "new").write_text(str(os.getpid()))
            os.rename(tmp_path / "new", begun)
            time.sleep(600)

    actor = Endless.remote()
    until(begun.exists)
    pid = int(begun.read_text())
    id = actor._actor_id.hex()
    del actor
    until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert ray.util.state.get_actor(id).state == "DEAD"
