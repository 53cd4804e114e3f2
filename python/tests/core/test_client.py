"""The client against a fake daemon: results, references, waiting threads, ends."""

import gc
import threading

import pytest
from fakedaemon import NODE, blob_of, daemon_error
from ray import exceptions
from ray._core.client import Client
from ray._core.refs import ObjectRef


def submit(client):
    return client.submit_plain(client.template(b"{}"), b"")


def test_a_pushed_result_is_there_without_asking(daemon):
    daemon.on_submit = lambda task_id, payload: blob_of(41)
    client = daemon.connect()
    assert client.get([submit(client)]) == [41]
    assert 0x15 not in daemon.frames, "no GET was needed"


def test_many_results_keep_their_order(daemon):
    daemon.on_submit = lambda task_id, payload: blob_of(task_id)
    client = daemon.connect()
    refs = [submit(client) for _ in range(500)]
    assert client.get(refs) == [ref._bin[:24] for ref in refs]


def test_a_get_that_waits_asks_for_a_large_result_itself(daemon, monkeypatch):
    monkeypatch.setattr(Client, "_flush_loop", lambda self: None)  # the thread that sends what is left over sleeps
    client = daemon.connect()
    ref = submit(client)
    client.flush()
    daemon.wait_for(lambda: daemon.submitted)
    daemon.objects[ref._bin] = blob_of("large")
    daemon.push_elsewhere(ref._bin[:24])  # read by the get, to which the task has not ended before
    assert client.get([ref], 5) == ["large"]


def test_put_is_sent_and_read_locally(daemon):
    client = daemon.connect()
    ref = client.put({"a": 1})
    assert client.get([ref]) == [{"a": 1}]
    daemon.wait_for(lambda: ref._bin in daemon.objects)


def test_dropped_references_are_released_with_all_deliveries(daemon):
    client = daemon.connect()
    ref = client.put(1)
    oid = ref._bin
    client.hold(oid + NODE)
    client.hold(oid + NODE)
    del ref
    gc.collect()
    client.flush()
    assert oid not in daemon.released
    client.let_go(oid + NODE + oid + NODE)
    client.flush()
    daemon.wait_for(lambda: daemon.released.get(oid) == 3)
    assert not client._objects and not client._count


def test_a_borrowed_reference_is_asked_for(daemon):
    client = daemon.connect()
    oid = bytes(range(50, 78))
    client.hold(oid + NODE)
    ref = client.adopt(oid, NODE)
    daemon.set(oid, blob_of("theirs"))
    assert client.get([ref]) == ["theirs"]
    assert client.wait([ref], 1, None, True) == ([ref], [])


def test_timeouts(daemon):
    client = daemon.connect()
    ref = submit(client)
    with pytest.raises(exceptions.GetTimeoutError):
        client.get([ref], 0.05)
    with pytest.raises(TimeoutError):
        client.get([ref], 0)
    assert client.wait([ref], 1, 0.02, True) == ([], [ref])


def test_a_failed_reference_ends_a_get_that_waits_for_others(daemon):
    client = daemon.connect()
    never, failed = submit(client), submit(client)
    client.flush()
    daemon.wait_for(lambda: len(daemon.submitted) == 2)
    daemon.push(failed._bin[:24], daemon_error("WorkerCrashedError", "gone"))
    with pytest.raises(exceptions.WorkerCrashedError, match="gone"):
        client.get([never, failed], 10)


def test_threads_wait_for_different_results(daemon):
    client = daemon.connect()
    refs = [submit(client) for _ in range(8)]
    got = {}

    def wait(i):
        got[i] = client.get([refs[i]], 20)[0]

    threads = [threading.Thread(target=wait, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    daemon.wait_for(lambda: len(daemon.submitted) == 8)
    for i in reversed(range(8)):
        daemon.push(refs[i]._bin[:24], blob_of(i))
    for thread in threads:
        thread.join(20)
    assert got == {i: i for i in range(8)}
    assert not client._followers and not client._interest


def test_futures(daemon):
    client = daemon.connect()
    ref = submit(client)
    future = ref.future()
    assert not future.done()
    client.flush()
    daemon.wait_for(lambda: len(daemon.submitted) == 1)
    daemon.push(ref._bin[:24], blob_of("later"))
    assert future.result(10) == "later"


def test_calls_raise_what_the_daemon_names(daemon):
    daemon.calls["kv.get"] = lambda params: {"found": params["key"] == "a"}
    client = daemon.connect()
    assert client.call("kv.get", {"key": "a"})[0] == {"found": True}
    with pytest.raises(ValueError, match="no method nope"):
        client.call("nope")


def test_a_dead_daemon_ends_every_wait(daemon):
    client = daemon.connect()
    ref = submit(client)
    caught = []

    def wait():
        try:
            client.get([ref])
        except exceptions.LocalRayletDiedError as error:
            caught.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    daemon.wait_for(lambda: len(daemon.submitted) == 1)
    daemon.hang_up()
    for thread in threads:
        thread.join(10)
    assert len(caught) == 3
    with pytest.raises(exceptions.LocalRayletDiedError):
        client.put(1)


def test_items_of_a_stream(daemon):
    from ray._core import frames
    from ray._core.generators import ObjectRefGenerator, Stream

    client = daemon.connect()
    stream = Stream()
    task_id, refs = client.submit(frames.KIND_TASK, client.template(b"{}"), 1, (), {}, stream=stream)
    generator = ObjectRefGenerator(client, task_id, stream, refs[0], False)
    client.flush()
    daemon.wait_for(lambda: len(daemon.submitted) == 1)
    daemon.push(task_id, blob_of("a"), index=2, flags=1, items=1)
    daemon.push(task_id, blob_of("b"), index=3, flags=1, items=2)
    daemon.push(task_id, daemon_error("WorkerCrashedError", "gone"), items=2)
    assert client.get([next(generator), next(generator)]) == ["a", "b"]
    with pytest.raises(exceptions.WorkerCrashedError):
        client.get([next(generator)])
    with pytest.raises(StopIteration):
        next(generator)
    del generator, refs
    gc.collect()
    client.flush()
    daemon.wait_for(lambda: len(daemon.released) == 3)


def test_references_compare_by_object():
    a, b = ObjectRef(b"a" * 28), ObjectRef(b"a" * 28)
    assert a == b and hash(a) == hash(b) and a != ObjectRef(b"b" * 28)
    assert repr(a) == f"ObjectRef({(b'a' * 28).hex()})"
