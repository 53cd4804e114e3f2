"""Values to blobs and back; errors; printed lines; options."""

import pickle
import threading

import pytest
from ray import _options, exceptions
from ray._core import serialization
from ray._core.logs import Deduplicator, Printer
from ray._core.signature import Signature


def round_trip(value):
    return serialization.deserialize(serialization.serialize(value).to_bytes())


@pytest.mark.parametrize(
    "value",
    [None, 0, 2**80, "é", b"", b"x" * 5000, bytearray(b"ab"), [1, [2]], {"a": (1, {2})}, range(3), 1j, lambda: 1],
    ids=repr,
)
def test_round_trip(value):
    got = round_trip(value)
    assert type(got) is type(value)
    assert got() == 1 if callable(value) else got == value


def test_large_buffers_are_aligned_and_read_only():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(10000)
    blob = serialization.serialize(array).to_bytes()
    (offset, length) = serialization.BUFFER.unpack_from(blob, 8)
    assert offset % 64 == 0 and length == array.nbytes
    got = serialization.deserialize(blob)
    assert (got == array).all() and not got.flags.writeable


def test_the_pickle_of_an_array_is_that_of_its_kind_only():
    """What stands for arrays of one kind is made once, and must not be taken for another."""
    numpy = pytest.importorskip("numpy")
    square = numpy.arange(9).reshape(3, 3)
    frozen = square.copy()
    frozen.flags.writeable = False
    noted = numpy.dtype("i8", metadata={"unit": "m"})
    kinds = [
        square,
        square.T,
        frozen,
        square[::2],
        square[:, 1:],
        square[:0],
        square.astype(">i8"),
        square.astype("i4"),
        square.ravel(),
        square.astype("S3"),
        square.astype("U3"),
        square.astype(complex),
        numpy.array(7),
        numpy.array(7.0),
        square.astype(noted),
        square.view("m8[s]"),
        numpy.array([(1, 2.0)], "i4,f4"),
        numpy.array([None, {}]),
    ]
    for array in kinds:
        turned = array.copy("A")
        turned.flat = array.ravel()[::-1]
        for value in (array, turned, array):
            got, want = round_trip(value), pickle.loads(pickle.dumps(value, 5))
            assert (got == value).all() and got.strides == want.strides
            assert got.dtype == value.dtype and got.dtype.metadata == want.dtype.metadata


def test_sharing_inside_a_value_is_kept():
    shared = [1]
    got = round_trip([shared, shared])
    assert got[0] is got[1]


def test_slots_by_value():
    class Slotted:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

    assert round_trip(Slotted(3)).x == 3


def test_the_error_names_the_place():
    with pytest.raises(TypeError, match=r"\['a'\]\[1\]\.lock"):
        thing = type("Thing", (), {})()
        thing.lock = threading.Lock()
        serialization.serialize({"a": [1, thing]})


def test_custom_serializers():
    class Odd:
        def __init__(self, x):
            self.x, self.lock = x, threading.Lock()

    serialization.register_serializer(Odd, serializer=lambda o: o.x, deserializer=lambda x: Odd(x + 1))
    try:
        assert round_trip([Odd(1)])[0].x == 2
    finally:
        serialization.deregister_serializer(Odd)
    with pytest.raises(TypeError):
        serialization.serialize(Odd(1))


def error_of(cause):
    return exceptions.RayTaskError("f", "ray::f()\nboom", cause)


def test_task_errors_are_of_both_classes_and_survive_pickling():
    class Refused(Exception):
        def __init__(self, code, *, why):
            super().__init__(code)
            self.code, self.why = code, why

    for cause in (ValueError("a", 1), KeyError("k"), Refused(4, why="x"), OSError(2, "no")):
        raised = error_of(cause).as_instanceof_cause()
        assert isinstance(raised, exceptions.RayTaskError) and isinstance(raised, type(cause))
        assert type(raised).__name__ == f"RayTaskError({type(cause).__name__})"
        assert raised.cause is cause and raised.args == (cause,)
        assert "boom" in str(raised)
    assert error_of(Refused(4, why="x")).as_instanceof_cause().why == "x"
    raised = pickle.loads(pickle.dumps(error_of(ValueError("a")).as_instanceof_cause()))
    assert isinstance(raised, ValueError) and raised.cause.args == ("a",)


def test_actor_errors_as_causes():
    cause = exceptions.ActorDiedError("ab" * 16, "it is gone")
    raised = error_of(cause).as_instanceof_cause()
    assert isinstance(raised, exceptions.ActorDiedError) and isinstance(raised, exceptions.RayTaskError)


@pytest.mark.parametrize("name", [cls.__name__ for cls in exceptions.RAY_EXCEPTION_TYPES])
def test_exceptions_pickle(name):
    cls = getattr(exceptions, name)
    error = error_of(ValueError("x")) if cls is exceptions.RayTaskError else cls("a1")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_printed_prefixes():
    printed = []
    printer = Printer("10.0.0.1", lambda stream, text: printed.append((stream, text)))
    line = {"stream": "out", "pid": 5, "ip": "10.0.0.1", "name": "f", "kind": "worker", "lines": ["hello"]}
    printer.show([line, dict(line, ip="10.0.0.2", lines=["bye"]), dict(line, name="", stream="err", lines=["no name"])])
    assert printed == [
        ("out", "(f pid=5) hello\n"),
        ("out", "(f pid=5, ip=10.0.0.2) bye\n"),
        ("err", "(pid=5) no name\n"),
    ]


def test_equal_lines_of_several_processes_are_counted():
    dedup = Deduplicator(5.0)
    a, b, c = ({"pid": pid, "ip": "x"} for pid in (1, 2, 3))
    assert dedup.add(a, "step 1 of 9", 0.0) == [(a, "step 1 of 9")]
    assert dedup.add(a, "step 2 of 9", 1.0) == [(a, "step 2 of 9")], "one source repeats itself freely"
    assert dedup.add(b, "step 1 of 9", 2.0) == []
    assert dedup.add(c, "step 1 of 9", 3.0) == []
    ((_, text),) = dedup.expire(6.0)
    assert "[repeated 2x across cluster]" in text


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"nope": 1}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"num_cpus": "1"}, TypeError),
        ({"num_gpus": 1.5}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"num_returns": "all"}, ValueError),
        ({"num_returns": -1}, ValueError),
        ({"max_retries": -2}, ValueError),
        ({"retry_exceptions": [int]}, ValueError),
        ({"scheduling_strategy": "NEAR"}, ValueError),
        ({"_generator_backpressure_num_objects": 0}, ValueError),
    ],
    ids=str,
)
def test_bad_task_options(options, error):
    with pytest.raises(error):
        _options.check_task(options)


@pytest.mark.parametrize(
    "options",
    [{"lifetime": "long"}, {"namespace": ""}, {"name": ""}, {"get_if_exists": True}, {"max_concurrency": -1}],
    ids=str,
)
def test_bad_actor_options(options):
    with pytest.raises(ValueError):
        _options.check_actor(options)


@pytest.mark.parametrize("name, value", [("bundle_index", 0), ("capture_child_tasks", True)])
def test_a_place_in_a_group_outside_of_a_strategy_is_deprecated(name, value):
    with pytest.warns(DeprecationWarning, match=f"placement_group_{name} parameter is deprecated.*scheduling_strategy"):
        _options.check_task({f"placement_group_{name}": value})


def test_resources_of_options():
    assert _options.resources_of({}, 1.0) == {"CPU": 1.0}
    assert _options.actor_resources({}) == ({}, {"CPU": 1.0})
    assert _options.actor_resources({"num_gpus": 1}) == ({"CPU": 1.0, "GPU": 1.0}, None)
    assert _options.actor_resources({"num_cpus": 0}) == ({}, None)


def test_signatures_travel():
    def f(a, b=2, *rest, c, d=4, **extra):
        pass

    signature = Signature.from_list(Signature.of(f).to_list())
    signature.check((1,), {"c": 3})
    for args, kwargs in (((), {"c": 1}), ((1,), {}), ((1, 2), {"b": 3, "c": 1})):
        with pytest.raises(TypeError):
            signature.check(args, kwargs)
