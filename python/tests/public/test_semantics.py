"""Semantics that programs rely on and that are easy to get wrong, against a real cluster."""

import gc
import pickle
import threading
import time

import numpy as np
import pytest
import ray
import ray._private.worker
from ray._common.test_utils import wait_for_condition


@pytest.fixture(scope="module", autouse=True)
def cluster(connect):
    return connect(num_cpus=4)


@ray.remote
def same(value):
    return value


# ------------------------------------------------------------------- values


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right


def test_sharing_inside_a_value_survives_both_ways():
    inner = [1]
    found = ray.get(same.remote([inner, inner]))
    assert found[0] is found[1]
    loop = []
    loop.append(loop)
    found = ray.get(ray.put(loop))
    assert found[0] is found


def test_slots_survive_both_ways():
    found = ray.get(same.remote(Slotted(1, [2])))
    assert (found.left, found.right) == (1, [2])


@pytest.mark.parametrize("value", [bytearray(b"x"), bytearray(300000), b"x" * 1000, b"", memoryview(b"ab").tobytes()])
def test_bytes_keep_their_type(value):
    for found in (ray.get(same.remote(value)), ray.get(ray.put(value))):
        assert type(found) is type(value) and found == value


def test_a_reference_inside_a_value_stays_a_reference():
    ref = ray.put(1)
    [found] = ray.get(same.remote([ref]))
    assert found == ref and ray.get(found) == 1
    assert ray.get(same.remote(ref)) == 1


def test_a_captured_reference_lives_with_the_function():
    def make():
        ref = ray.put([7])
        return ray.remote(lambda: ray.get(ref))

    read = make()
    assert ray.get(read.remote()) == [7]
    gc.collect()
    assert ray.get(read.remote()) == [7]


# ------------------------------------------------------------------- errors


class Fault(Exception):
    def __init__(self, text, number):
        super().__init__(text, number)
        self.number = number


class CannotTravel(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class CannotBeRead(Exception):
    def __init__(self, text, more):
        super().__init__(f"{text} and {more}")


@ray.remote(max_retries=0)
def fail(error):
    raise error


def test_an_error_is_of_both_classes_through_several_tasks():
    @ray.remote
    def outer():
        return ray.get(fail.remote(Fault("deep", 3)))

    with pytest.raises(Fault) as caught:
        ray.get(outer.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert caught.value.cause.number == 3
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, Fault) and isinstance(again, ray.exceptions.RayTaskError)


def test_a_failed_argument_fails_the_task_with_its_own_error():
    ran = ray.put(0)
    with pytest.raises(Fault):
        ray.get(same.remote(fail.remote(Fault("first", 1))))
    del ran


def test_an_explicit_cause_is_kept():
    @ray.remote
    def chained():
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError) as caught:
        ray.get(chained.remote())
    assert isinstance(caught.value.cause.__cause__, KeyError)
    assert "direct cause" in str(caught.value)


def test_what_cannot_be_pickled_keeps_its_text():
    @ray.remote
    def locked():
        raise CannotTravel("the text of it")

    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(locked.remote())
    assert "the text of it" in str(caught.value)


def test_what_cannot_be_read_keeps_its_text():
    @ray.remote
    def unreadable():
        raise CannotBeRead("this", "that")

    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(unreadable.remote())
    assert "this and that" in str(caught.value)


def test_exception_groups():
    group = pytest.importorskip("builtins").__dict__.get("ExceptionGroup")
    if group is None:
        pytest.skip("Python has no exception groups here")
    with pytest.raises(group) as caught:
        ray.get(fail.remote(group("several", [ValueError(1), KeyError(2)])))
    assert [type(item) for item in caught.value.exceptions] == [ValueError, KeyError]


def test_get_fails_as_soon_as_one_has_failed():
    @ray.remote
    def slow():
        time.sleep(60)

    pending = slow.remote()
    began = time.monotonic()
    with pytest.raises(Fault):
        ray.get([pending, fail.remote(Fault("now", 0))])
    assert time.monotonic() - began < 20
    ray.cancel(pending, force=True)


def test_wait_keeps_the_order_and_the_number():
    refs = [ray.put(i) for i in range(5)]
    ready, rest = ray.wait(refs, num_returns=3)
    assert ready == refs[:3] and rest == refs[3:]


# --------------------------------------------------- errors nobody looked at


@ray.remote
class Failing:
    def fail(self):
        raise Fault("nobody sees it", 0)


@pytest.fixture
def unseen(monkeypatch):
    found = []
    monkeypatch.setattr(ray._private.worker, "_unhandled_error_handler", found.append)
    return found


def settled(action):
    """Does it, and then something that ends later than what it started."""
    action()
    gc.collect()
    client = ray._core.state._client
    wait_for_condition(lambda: not client._orphans and not client._dead_refs and not client._unhandled, timeout=20)


def test_dropped_errors_are_reported_once(unseen):
    actor = Failing.remote()
    fail.remote(Fault("dropped at once", 0))
    actor.fail.remote()
    wait_for_condition(lambda: len(unseen) == 2, timeout=20)
    client, refs = ray._core.state._client, [fail.remote(Fault("dropped later", 0))]
    wait_for_condition(lambda: not client.poll() and not client.is_pending(refs[0]), timeout=20)
    refs.clear()
    wait_for_condition(lambda: len(unseen) == 3, timeout=20)
    assert all(isinstance(error, ray.exceptions.RayTaskError) for error in unseen)


def test_seen_errors_are_not_reported(unseen):
    def get_both():
        refs = [fail.remote(Fault("a", 0)), fail.remote(Fault("b", 0))]
        with pytest.raises(Fault):
            ray.get(refs)

    def pass_on():
        with pytest.raises(Fault):
            ray.get(same.remote(fail.remote(Fault("c", 0))))

    def look():
        ray.wait([fail.remote(Fault("d", 0))])

    def cancel():
        ref = fail.remote(Fault("e", 0))
        ray.cancel(ref)
        with pytest.raises((Fault, ray.exceptions.TaskCancelledError)):
            ray.get(ref)

    for action in (get_both, pass_on, look, cancel):
        settled(action)
    assert unseen == []


def test_reports_can_be_turned_off(unseen, monkeypatch):
    monkeypatch.setenv("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    settled(lambda: fail.remote(Fault("quiet", 0)))
    assert unseen == []


def test_a_dropped_handle_ends_the_actor_though_its_results_are_dropped():
    @ray.remote
    class Short:
        def name(self):
            return ray.get_runtime_context().get_actor_id()

    actor = Short.remote()
    found = ray.get(actor.name.remote())
    actor.name.remote()
    del actor
    gc.collect()

    def gone():
        from ray.util.state import get_actor

        row = get_actor(found)
        return row is None or row.state == "DEAD"

    wait_for_condition(gone, timeout=30)


@pytest.mark.filterwarnings("ignore:num_returns=")
def test_the_last_reference_of_a_broken_generator_is_its_error(tmp_path):
    """num_returns="dynamic": what was made before the error can be used."""
    tried = tmp_path / "tried"

    @ray.remote
    def broken(fails):
        with open(tried, "a") as file:
            file.write("x")
        yield 0
        yield np.ones(200_000)
        if len(tried.read_text()) <= fails:
            raise ValueError("no third")

    first, second, third = ray.get(broken.options(num_returns="dynamic").remote(9))
    assert ray.get(first) == 0 and ray.get(second).sum() == 200_000
    with pytest.raises(ValueError, match="no third"):
        ray.get(third)
    tried.write_text("")
    again = broken.options(num_returns="dynamic", retry_exceptions=True, max_retries=2).remote(1)
    assert len(ray.get(again)) == 2


def test_a_generator_that_raises_when_all_is_made_has_made_it():
    @ray.remote(num_returns=2, max_retries=0)
    def late():
        yield 1
        yield 2
        raise ValueError("too late")

    assert ray.get(list(late.remote())) == [1, 2]
