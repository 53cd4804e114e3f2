"""Fields of runtime environments that users define, in a cluster of its own."""

import asyncio
import json
import logging
from typing import List

import pytest
import ray
from ray._private.runtime_env.context import RuntimeEnvContext
from ray._private.runtime_env.plugin import RuntimeEnvPlugin
from ray._private.runtime_env.plugin_host import Shelf
from ray.exceptions import RuntimeEnvSetupError

PLUGINS = """
import asyncio, os
from ray._private.runtime_env.plugin import RuntimeEnvPlugin

class Nice(RuntimeEnvPlugin):
    name = "nice"
    priority = 5

    @staticmethod
    def validate(runtime_env):
        if runtime_env["nice"] == "fail":
            raise ValueError("not allowed")

    def modify_context(self, uris, runtime_env, context, logger):
        logger.info("being nice")
        context.env_vars["NICE"] = context.env_vars.get("BASE", "") + str(runtime_env["nice"])
        context.py_executable = f"nice -n {runtime_env['nice']} " + context.py_executable

class After(RuntimeEnvPlugin):
    name = "after"

    async def create(self, uri, runtime_env, context, logger):
        if runtime_env["after"] == "hang":
            await asyncio.sleep(3600)
        if runtime_env["after"] == "die":
            print("the plugin's last words", flush=True)
            os._exit(3)

    def modify_context(self, uris, runtime_env, context, logger):
        if str(runtime_env["after"]).startswith("/"):
            context.command_prefix += ["echo", "started", ">", runtime_env["after"], "&&"]
        context.env_vars["NICE"] = context.env_vars.get("NICE", "nothing") + " and after"

class Disk(RuntimeEnvPlugin):
    name = "disk"
    made, removed = [], []

    def get_uris(self, runtime_env):
        return ["disk://" + runtime_env["disk"]]

    async def create(self, uri, runtime_env, context, logger):
        self.made.append(uri)
        return 1024 ** 3

    def delete_uri(self, uri, logger):
        self.removed.append(uri)
        return 1024 ** 3

    def modify_context(self, uris, runtime_env, context, logger):
        context.env_vars["DISK"] = f"{len(self.made)} made, {len(self.removed)} removed"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "my_plugins.py").write_text(PLUGINS)
    names = [{"class": "my_plugins.After"}, {"class": "my_plugins.Nice"}, {"class": "my_plugins.Disk"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_RUNTIME_ENV_PLUGINS", json.dumps(names))
        patch.setenv("RAY_RUNTIME_ENV_DISK_CACHE_SIZE_GB", "1.5")
        patch.setenv("PYTHONPATH", str(folder))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield ray.init(num_cpus=2, include_dashboard=False)
        ray.shutdown()


@ray.remote(max_retries=0)
def variable(name):
    import os

    return os.environ.get(name), os.nice(0)


def value(name, **env):
    return ray.get(variable.options(runtime_env=env).remote(name), timeout=60)


def test_a_plugin_changes_how_workers_start(node, tmp_path):
    started = tmp_path / "started"
    before = value("NICE", env_vars={"A": "1"})[1]
    assert before < 19
    assert value("NICE", nice=19, env_vars={"BASE": "very "}) == ("very 19", 19)
    assert value("NICE", nice=19, after=1) == ("19 and after", 19)  # by priority
    assert value("NICE", after=1) == ("nothing and after", before)
    assert value("NICE", nice=19, after=str(started)) == ("19 and after", 19)
    assert started.read_text() == "started\n"


def test_errors_reach_the_task(node):
    with pytest.raises(RuntimeEnvSetupError, match="not allowed"):
        value("NICE", nice="fail")
    with pytest.raises(RuntimeEnvSetupError, match="no plugin .* is named other; there are nice, after, disk"):
        value("NICE", other=1)
    with pytest.raises(RuntimeEnvSetupError, match="setup_timeout_seconds"):
        value("NICE", after="hang", config={"setup_timeout_seconds": 1})
    with pytest.raises(ValueError, match="not supported yet"):
        variable.options(runtime_env={"mpi": {}})


def test_a_plugin_that_dies_takes_nothing_with_it(node):
    with pytest.raises(RuntimeEnvSetupError, match="(?s)exit status 3.*last words"):
        value("NICE", after="die")
    assert value("NICE", after="again")[0] == "nothing and after"


def test_what_a_plugin_made_is_counted_by_use(node):
    @ray.remote(num_cpus=0)
    class Holder:
        def disk(self):
            import os

            return os.environ["DISK"]

    first = Holder.options(runtime_env={"disk": "a"}).remote()
    assert ray.get(first.disk.remote(), timeout=60) == "1 made, 0 removed"
    second = Holder.options(runtime_env={"disk": "b"}).remote()  # the first is in use: over the bound
    assert ray.get(second.disk.remote(), timeout=60) == "2 made, 0 removed"


def test_what_nobody_uses_goes_when_it_is_too_much(monkeypatch):
    class Gigabyte(RuntimeEnvPlugin):
        name = "gigabyte"
        removed: List[str] = []

        async def create(self, uri, runtime_env, context, logger):
            return 1024**3

        def delete_uri(self, uri, logger):
            self.removed.append(uri)
            return 1024**3

    monkeypatch.setenv("RAY_RUNTIME_ENV_GIGABYTE_CACHE_SIZE_GB", "2")
    shelf, logger = Shelf(Gigabyte()), logging.getLogger("test")

    async def use(uri, holder):
        await shelf.get(uri, holder, {}, RuntimeEnvContext(), logger)

    async def story():
        await asyncio.gather(use("a", "one"), use("a", "two"), use("b", "two"))
        await use("c", "three")
        assert Gigabyte.removed == []  # over the bound, and all in use
        shelf.release("one")
        assert Gigabyte.removed == []
        shelf.release("two")
        assert Gigabyte.removed == ["a"]
        shelf.release("three")
        await use("a", "four")
        assert Gigabyte.removed == ["a", "b"]

    asyncio.run(story())


def test_the_driver_must_know_of_plugins(monkeypatch):
    monkeypatch.delenv("RAY_RUNTIME_ENV_PLUGINS", raising=False)
    with pytest.raises(ValueError, match="unknown field 'nice'.*RAY_RUNTIME_ENV_PLUGINS"):
        variable.options(runtime_env={"nice": 1})
