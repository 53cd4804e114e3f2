"""What users read when something failed: where, in whose code, and because of what."""

import os
import re
import signal
import sys
import threading

import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError, WorkerCrashedError
from ray.util.state import list_tasks

pytestmark = pytest.mark.usefixtures("cluster")


def text_of(call):
    """The class and the text of the error that call raises, without colours and carets."""
    with pytest.raises(Exception) as caught:
        call()
    text = re.sub(r"\x1b\[\d+m", "", str(caught.value))
    return caught.value, [line for line in text.splitlines() if not re.fullmatch(r"\s*[~^]+", line)]


@ray.remote
def spoil(kind="plain"):
    if kind == "crash":
        os._exit(3)
    raise KeyError("sour milk")


@ray.remote
def bake(*ingredients):
    return "cake"


@ray.remote
def order():
    return ray.get(spoil.remote())


@ray.remote
class Oven:
    def __init__(self, fuel):
        self.fuel = fuel
        if fuel == "wet wood":
            raise OSError("no fire")

    def heat(self, dish=None):
        return dish


def test_a_nested_error_shows_only_the_users_frames():
    error, lines = text_of(lambda: ray.get(order.remote()))
    assert isinstance(error, KeyError) and isinstance(error, RayTaskError)
    files = [line for line in lines if line.startswith("  File ")]
    assert len(files) == 2 and all(os.path.basename(__file__) in line for line in files)
    assert lines[0].startswith("ray::order() (pid=")
    assert lines[3].startswith("ray.exceptions.RayTaskError(KeyError): ray::spoil() (pid=")


def test_an_argument_that_failed_is_told_along_the_chain():
    error, lines = text_of(lambda: ray.get(bake.remote(1, bake.remote(spoil.remote()))))
    assert isinstance(error, KeyError) and isinstance(error.cause, KeyError)
    told = "  At least one of the input arguments for this task could not be computed:"
    assert [i for i, line in enumerate(lines) if line == told] == [1, 3]
    assert re.match(r"ray::bake\(\) \(pid=\d+, ip=[\d.]+\)$", lines[0])
    assert lines[2].startswith("ray.exceptions.RayTaskError: ray::bake() (pid=")
    assert lines[4].startswith("ray.exceptions.RayTaskError: ray::spoil() (pid=")
    assert lines[-1] == "KeyError: 'sour milk'"


def test_a_crash_reaches_the_consumer_as_both_kinds_of_error():
    error, _ = text_of(lambda: ray.get(bake.remote(spoil.options(max_retries=0).remote("crash"))))
    assert isinstance(error, RayTaskError) and isinstance(error, WorkerCrashedError)


def test_a_cancelled_argument_cancels_the_consumer():
    never = bake.options(resources={"unobtainable": 1}).remote()
    consumer = bake.remote(never)
    ray.cancel(never)
    error, _ = text_of(lambda: ray.get(consumer, timeout=20))
    assert isinstance(error, RayTaskError) and isinstance(error, TaskCancelledError)


def test_a_constructor_error_ends_with_the_users_line():
    error, lines = text_of(lambda: ray.get(Oven.remote("wet wood").heat.remote()))
    assert isinstance(error, ActorDiedError) and error.actor_init_failed
    assert lines[0].startswith(
        "The actor died because of an error raised in its creation task, ray::Oven.__init__() (pid="
    )
    assert f"repr=<{__name__}.Oven object at 0x" in lines[0]
    assert lines[-1] == "OSError: no fire"


def test_a_constructor_whose_argument_failed():
    error, lines = text_of(lambda: ray.get(Oven.remote(spoil.remote()).heat.remote()))
    assert isinstance(error, ActorDiedError) and error.actor_init_failed
    assert "ray::Oven.__init__()" in lines[0] and lines[-1] == "KeyError: 'sour milk'"


def test_what_cannot_be_pickled_is_named_with_what_it_was_for():
    lock = threading.Lock()

    @ray.remote
    def captures():
        return lock

    @ray.remote
    class Captures:
        def method(self):
            return lock

    here = f"{__name__}.test_what_cannot_be_pickled_is_named_with_what_it_was_for.<locals>"
    oven = Oven.remote("gas")
    for call, start in [
        (lambda: bake.remote(1, lock), f"Could not serialize the argument {lock!r} for a task or actor"),
        (lambda: oven.heat.remote(dish=lock), f"argument {lock!r} for a task or actor {__name__}.Oven.heat:"),
        (lambda: Oven.remote([lock]), f"argument {[lock]!r} for a task or actor {__name__}.Oven.__init__:"),
        (lambda: ray.put(lock), f"Could not serialize the put value {lock!r}:"),
        (captures.remote, f"Could not serialize the function {here}.captures:"),
        (Captures.remote, f"Could not serialize the actor class {here}.Captures"),
    ]:
        error, lines = text_of(call)
        assert isinstance(error, TypeError) and start in lines[0]
        assert any(line.startswith("Checking Serializability of ") for line in lines)


def test_code_that_is_too_large_says_of_what_kind():
    ballast = bytes(96 << 20)

    @ray.remote
    def heavy():
        return len(ballast)

    @ray.remote
    class Heavy:
        size = ballast

    for call, kind in [(heavy.remote, r"The remote function .*heavy"), (Heavy.remote, r"The actor .*Heavy")]:
        with pytest.raises(ValueError, match=kind + r" is too large \(96 MiB > FUNCTION_SIZE_ERROR_THRESHOLD=95 MiB\)"):
            call()


def test_a_task_bound_to_a_node_that_never_has_room(cluster, until):
    here = ray.get_runtime_context().get_node_id()
    bound = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=here, soft=False)
    ref = ray.remote(lambda: 1).options(scheduling_strategy=bound, name="bound-to-here", num_cpus=1000).remote()
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="never has"):
        ray.get(ref, timeout=30)

    def row():
        rows = list_tasks(filters=[("name", "=", "bound-to-here"), ("state", "=", "FAILED")], detail=True)
        return rows[0] if rows else None

    found = until(row)
    assert found.error_type == "TASK_UNSCHEDULABLE_ERROR"
    assert "The node specified via NodeAffinitySchedulingStrategy doesn't exist any more" in found.error_message


def test_an_empty_name_of_an_actor():
    with pytest.raises(ValueError, match="Actor name cannot be an empty string"):
        Oven.options(name="")
    with pytest.raises(ValueError, match="Actor name cannot be an empty string"):
        Oven.options(name="", get_if_exists=True).remote("coal")


def test_arguments_for_a_class_without_a_constructor():
    @ray.remote
    class Plain:
        pass

    with pytest.raises(TypeError, match="too many positional arguments"):
        Plain.remote(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'x'"):
        Plain.remote(x=1)


def test_a_name_that_is_no_text():
    with pytest.raises(TypeError, match="name of an actor must be a string"):
        ray.get_actor(3)


def test_zero_is_the_default_concurrency():
    assert ray.get(Oven.options(max_concurrency=0).remote("coal").heat.remote("soup"), timeout=60) == "soup"
    with pytest.raises(ValueError, match="'max_concurrency' only accepts None, 0 or a positive integer"):
        Oven.options(max_concurrency=-1)


def leave():
    ray.actor.exit_actor()


ENDS = {
    "killed": (lambda pid: os.kill(pid, signal.SIGKILL), "because its worker process has died.*killed by signal 9"),
    "left": (leave, "because its worker process has died.*INTENDED_USER_EXIT.*exit_actor"),
    "ended": (lambda: sys.exit(0), "because its worker process has died.*INTENDED_USER_EXIT.*exit code 0"),
    "group": (None, "because its worker process has died.*INTENDED_SYSTEM_EXIT.*placement group was removed"),
}


@pytest.mark.parametrize("end", sorted(ENDS))
def test_an_actors_error_says_how_its_process_ended(end, until):
    class Actor:
        def call(self, function=os.getpid):
            return function()

    group = ray.util.placement_group([{"CPU": 1}]) if end == "group" else None
    actor = ray.remote(Actor).options(num_cpus=1 if group else 0, placement_group=group or "default").remote()
    pid = ray.get(actor.call.remote(), timeout=60)
    function, text = ENDS[end]
    if group:
        ray.util.remove_placement_group(group)
    elif end == "killed":
        function(pid)
    else:
        with pytest.raises(ActorDiedError, match=text):
            ray.get(actor.call.remote(function), timeout=60)

    def refused():
        try:
            ray.get(actor.call.remote(), timeout=60)  # its end takes a moment to come here
        except ActorDiedError as error:
            return error

    error = until(refused)
    assert re.search(text, str(error), re.DOTALL), error
    assert error.actor_id == actor._actor_id.hex()


@pytest.mark.parametrize("code, told", [(0, 0), (None, 0), (3, 3), ("in words", 1)])
def test_the_code_that_a_task_gave_to_exit(code, told):
    @ray.remote(max_retries=0)
    def leave():
        sys.exit(code)

    with pytest.raises(WorkerCrashedError, match=f"ended with exit code {told}\\."):
        ray.get(leave.remote(), timeout=60)


def test_a_task_that_interrupts_itself():
    @ray.remote
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(TaskCancelledError) as caught:
        ray.get(stop.remote(), timeout=60)
    assert isinstance(caught.value, RayTaskError) and "in stop" in str(caught.value)


@pytest.mark.parametrize("value", [None, 5])
def test_one_value_for_several_returns(value):
    @ray.remote(num_returns=2)
    def one():
        return value

    with pytest.raises(TypeError, match="but num_returns=2"):
        ray.get(one.remote(), timeout=60)


def test_an_error_that_cannot_be_rebuilt():
    class Picky(OSError):
        def __init__(self, arg):
            pass

    @ray.remote
    def fail():
        raise Picky("seed")

    with pytest.raises(ray.exceptions.UnserializableException) as caught:
        ray.get(fail.remote(), timeout=60)
    text = str(caught.value)
    assert "Original exception:\nray.exceptions.RayTaskError: " in text and text.endswith("Picky")
