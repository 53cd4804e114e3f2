"""Cancelling a task that still reads its arguments, and the helpers that tests of others import."""

import asyncio
import os
import time

import pytest
import ray
from ray._common import network_utils, utils
from ray._common.test_utils import wait_for_condition
from ray._private import async_compat, state, test_utils
from ray._private import utils as private_utils
from ray._private import worker as private_worker
from ray.exceptions import TaskCancelledError


class Slow:
    """Is unpickled only when the file ``go`` is there; says in the file ``reading`` that it has begun."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, fields):
        folder = fields["folder"]
        open(os.path.join(folder, "reading"), "w").close()
        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.01)
        self.__dict__.update(fields)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_task_cancelled_while_it_reads_its_arguments_never_runs(cluster, tmp_path, streaming):
    @ray.remote(max_retries=0)
    def run(_, mark):
        open(mark, "w").close()

    @ray.remote(max_retries=0)
    def stream(_, mark):
        open(mark, "w").close()
        yield 1

    mark = str(tmp_path / "ran")
    task = (stream if streaming else run).remote(Slow(str(tmp_path)), mark)
    wait_for_condition((tmp_path / "reading").exists, timeout=30)
    ray.cancel(task)

    @ray.remote
    def reached():
        return True

    # The order goes to the worker by way of the daemon; what is asked after it is answered after it.
    assert ray.get(reached.remote())
    (tmp_path / "go").touch()
    with pytest.raises(TaskCancelledError):
        ray.get(next(task) if streaming else task)
    assert not os.path.exists(mark)


def test_tables_of_nodes(cluster):
    node = ray.get_runtime_context().get_node_id()
    assert state.total_resources_per_node() == {node: ray.cluster_resources()}
    assert state.available_resources_per_node()[node]["spice"] == 2
    assert state.current_node_id() in state.node_ids()


def test_a_process_tells_of_its_node(cluster):
    @ray.remote
    def where():
        node = private_worker.global_worker.node
        return node.unique_id, node.get_session_dir_path()

    node = private_worker._global_node
    assert node.unique_id == ray.get_runtime_context().get_node_id()
    assert ray.get(where.remote()) == (node.unique_id, node.get_session_dir_path())
    assert node.address_info["session_dir"] == node.get_session_dir_path()
    assert os.path.isdir(node.get_logs_dir_path())


def test_an_actor_id_is_none_outside_of_actors(cluster):
    @ray.remote
    def task():
        return ray.get_runtime_context().actor_id

    assert ray.get(task.remote()) is None


def test_objects_put_and_made(cluster):
    for use_put in (True, False):
        assert ray.get(test_utils.put_object("egg", use_put)) == "egg"


def test_node_of_an_actor(cluster):
    @ray.remote
    class Cook:
        pass

    assert test_utils.get_actor_node_id(Cook.remote()) == ray.get_runtime_context().get_node_id()


def test_what_cannot_be_pickled_is_reported_between_rules(cluster):
    import threading

    with pytest.raises(TypeError) as caught:
        ray.put(threading.Lock())
    first, rest = str(caught.value).split("\n", 1)
    assert first.startswith("Could not serialize the put value <unlocked _thread.lock")
    assert rest.startswith("====") and rest.endswith("====")
    assert "Checking Serializability of" in rest


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.1:80", ("10.0.0.1", "80")),
        ("[::1]:80", ("::1", "80")),
        ("host", None),
        ("::1", None),
    ],
)
def test_addresses(text, parts):
    assert network_utils.parse_address(text) == parts
    if parts:
        assert network_utils.build_address(*parts) == text


def test_kinds_of_hosts():
    assert network_utils.is_ipv6("::1")
    assert not network_utils.is_ipv6("127.0.0.1")
    assert network_utils.is_localhost("localhost") and not network_utils.is_localhost("10.0.0.1")
    port = network_utils.find_free_port()
    assert test_utils.wait_until_server_available(f"127.0.0.1:{port}", timeout_ms=1) is False


def test_names_are_imported():
    assert utils.import_attr("os.path.join") is os.path.join
    assert utils.import_attr("os.path:join") is os.path.join
    assert utils.load_class("collections.OrderedDict").__name__ == "OrderedDict"
    with pytest.raises(TypeError):
        utils.import_attr(None)
    with pytest.raises(ValueError):
        utils.import_attr("a:b:c")
    with pytest.raises(ValueError):
        utils.load_class("OrderedDict")


def test_text_and_bytes():
    assert utils.decode(b"salt") == utils.decode("salt") == "salt"
    assert utils.decode(None, allow_none=True) == ""
    with pytest.raises(ValueError):
        utils.decode(None)


def test_event_loops():
    async def outer():
        assert utils.get_or_create_event_loop() is asyncio.get_running_loop()
        return await utils.run_background_task(asyncio.sleep(0, "done"))

    assert asyncio.run(outer()) == "done"


def test_async_and_other_code():
    async def coroutine():
        return 1

    async def items():
        yield 1

    class Mixed:
        def plain(self):
            pass

        async def late(self):
            pass

    assert async_compat.is_async_func(coroutine) and async_compat.is_async_func(items)
    assert not async_compat.is_async_func(len)
    assert async_compat.has_async_methods(Mixed) and not async_compat.has_async_methods(Slow)
    assert async_compat.sync_to_async(coroutine) is coroutine
    assert asyncio.run(async_compat.sync_to_async(lambda x: x + 1)(1)) == 2


def test_size_of_a_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"123")
    os.symlink(tmp_path / "a", tmp_path / "link")
    assert private_utils.get_directory_size_bytes(tmp_path) == 8


def test_module_addresses():
    assert private_utils.split_address("ray://host:1") == ("ray", "host:1")
    with pytest.raises(ValueError):
        private_utils.split_address("host:1")


def test_assertions_are_tried_again():
    tries = []

    def third():
        tries.append(1)
        assert len(tries) == 3

    test_utils.wait_for_assertion(third, retry_interval_ms=1)
    assert len(tries) == 3
    with pytest.raises(RuntimeError, match="did not hold"):
        test_utils.wait_for_assertion(lambda: 1 / 0, timeout=0)
    with pytest.raises(ZeroDivisionError):
        test_utils.wait_for_assertion(lambda: 1 / 0, raise_exceptions=True)
