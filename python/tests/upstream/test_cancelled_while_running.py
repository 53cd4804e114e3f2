"""What becomes of a task or call that is cancelled while it runs, by how it takes the order."""

import asyncio
import os
import time

import pytest
import ray
from ray.exceptions import RayTaskError, TaskCancelledError, WorkerCrashedError
from ray.util.state import list_tasks
from ray.util.state.exception import RayStateApiException


def go_on(seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@ray.remote(max_retries=0)
def plain(begun):
    open(begun, "w").close()
    go_on()


@ray.remote(max_retries=0)
def items(begun):
    open(begun, "w").close()
    go_on()
    yield 1


@ray.remote
class Loop:
    async def lets_it_pass(self, begun):
        open(begun, "w").close()
        await asyncio.sleep(60)

    async def catches(self, begun):
        try:
            await self.lets_it_pass(begun)
        except asyncio.CancelledError:
            return "caught"

    async def raises(self, begun):
        try:
            await self.lets_it_pass(begun)
        except asyncio.CancelledError:
            raise ValueError("mine") from None


@ray.remote
class Polite:
    def returns(self, begun):
        open(begun, "w").close()
        while not ray.get_runtime_context().is_canceled():
            time.sleep(0.01)
        return "seen"

    def raises(self, begun):
        self.returns(begun)
        raise ValueError("mine")


def cancelled(ref, begun, until, **options):
    """The error of what has begun and is cancelled then."""
    until(lambda: os.path.exists(begun))
    ray.cancel(ref, **options)
    with pytest.raises(Exception) as caught:
        ray.get(next(ref) if isinstance(ref, ray.ObjectRefGenerator) else ref, timeout=30)
    return caught.value


@pytest.mark.parametrize("kind", ["task", "generator", "lets_it_pass", "catches", "raises"])
def test_who_is_interrupted_raised_that_at_a_place(cluster, until, tmp_path, kind):
    begun = str(tmp_path / "begun")
    if kind == "task":
        ref, place = plain.remote(begun), "in go_on"
    elif kind == "generator":
        ref, place = items.remote(begun), "in go_on"
    else:
        ref, place = getattr(Loop.remote(), kind).remote(begun), f"Loop.{kind}()"
    error = cancelled(ref, begun, until)
    assert isinstance(error, RayTaskError) and isinstance(error, TaskCancelledError)
    assert isinstance(error.cause, TaskCancelledError) and error.cause.task_id == ref.task_id()
    assert place in str(error) and f"TaskCancelledError: Task: {ref.task_id()!r} was cancelled" in str(error)


def test_a_task_that_was_interrupted_has_finished_in_the_state_api(cluster, until, tmp_path):
    begun = str(tmp_path / "begun")
    cancelled(plain.options(name="interrupted").remote(begun), begun, until)
    (row,) = list_tasks(filters=[("NAME", "=", "interrupted")])
    assert (row.state, row.error_type) == ("FINISHED", "TASK_CANCELLED")
    with pytest.raises(RayStateApiException, match="filter column nothing is not supported"):
        list_tasks(filters=[("nothing", "=", True)])


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 2}])
def test_a_call_that_heeds_the_order_is_cancelled_and_its_own_error_stays(cluster, until, tmp_path, options):
    actor = Polite.options(**options).remote()
    error = cancelled(actor.returns.remote(str(tmp_path / "1")), str(tmp_path / "1"), until)
    assert type(error) is TaskCancelledError
    error = cancelled(actor.raises.remote(str(tmp_path / "2")), str(tmp_path / "2"), until)
    assert isinstance(error, ValueError) and not isinstance(error, TaskCancelledError)


def test_with_force_it_is_cancelled_and_its_worker_is_lost(cluster, until, tmp_path):
    begun = str(tmp_path / "begun")
    error = cancelled(plain.options(name="forced").remote(begun), begun, until, force=True)
    assert isinstance(error, TaskCancelledError) and isinstance(error, WorkerCrashedError)
    assert "cancelled with force=True" in str(error)
    (row,) = list_tasks(filters=[("name", "=", "forced")])
    assert (row.state, row.error_type) == ("FAILED", "TASK_CANCELLED")


@ray.remote(num_cpus=0)
class Parent:
    async def both(self, begun, other):
        self.children = [waits.remote(), other.wait.remote()]
        open(begun, "w").close()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.after = finds.remote()
            raise

    def all(self):
        return self.children, self.after


@ray.remote(num_cpus=0)
class Other:
    async def wait(self):
        await asyncio.sleep(60)


@ray.remote(num_cpus=0)
def waits():
    go_on()


@ray.remote(num_cpus=0)
def finds():
    return "tidied up"


def test_children_that_are_just_being_submitted_are_cancelled_with_their_parent(cluster, until, tmp_path):
    parent, other = Parent.remote(), Other.remote()
    for i in range(10):
        begun = str(tmp_path / str(i))
        ref = parent.both.remote(begun, other)
        while not os.path.exists(begun):
            pass
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=30)
        children, after = ray.get(parent.all.remote(), timeout=30)
        for child in children:
            with pytest.raises(TaskCancelledError):
                ray.get(child, timeout=30)
        assert ray.get(after, timeout=30) == "tidied up"


@pytest.mark.parametrize("limit", [-1, 1])
def test_a_call_that_yields_is_cancelled_at_its_next_item(cluster, until, limit):
    @ray.remote(num_cpus=0)
    class Source:
        def items(self):
            while True:
                time.sleep(0.01)
                yield 1

        def after(self):
            return "free"

    source = Source.remote()
    items = source.items.options(_generator_backpressure_num_objects=limit).remote()
    assert ray.get(next(items), timeout=30) == 1
    ray.cancel(items)
    with pytest.raises(TaskCancelledError):
        while True:
            ray.get(next(items), timeout=30)
    assert ray.get(source.after.remote(), timeout=30) == "free"


def test_calls_that_their_actor_did_not_live_to_answer_are_listed(cluster, until):
    @ray.remote(num_cpus=0)
    class Dies:
        def leave(self, code):
            os._exit(code)

    actor = Dies.remote()
    refs = [actor.leave.options(name="unanswered").remote(4), actor.leave.options(name="behind").remote(0)]
    for ref in refs:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref, timeout=60)
    for name in ("unanswered", "behind"):
        (row,) = list_tasks(filters=[("name", "=", name)], detail=True)
        assert (row.state, row.error_type) == ("FAILED", "ACTOR_DIED")
        assert "exit code 4" in row.error_message
