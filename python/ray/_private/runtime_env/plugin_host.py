"""The process of a node in which its plugins live. The node's daemon talks to it in lines of JSON.

In: ``{"id", "env", "holder", "context"}`` makes an environment for someone who
holds it, ``{"cancel": id}`` gives that up, ``{"release": holder}`` ends a use.
Out: ``{"id", "log"}`` while it is made; then ``{"id", "context"}`` or ``{"id", "error"}``.
"""

import asyncio
import importlib
import json
import logging
import os
import sys
import threading
import traceback
from typing import Any, Dict, List, Set, TextIO, Tuple

from ray._private.runtime_env.context import RuntimeEnvContext
from ray._private.runtime_env.plugin import RuntimeEnvPlugin
from ray.runtime_env import RuntimeEnv

VARIABLE = "RAY_RUNTIME_ENV_PLUGINS"
_DEFAULT_CACHE_GB = 10


def load(config: str) -> List[RuntimeEnvPlugin]:
    """The plugins of a node, in the order in which they are asked.

    Raises:
        ValueError: the text is no list of classes, a priority is out of range, or two have one name.
    """
    rows = json.loads(config)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "class" in row for row in rows):
        raise ValueError(f'{VARIABLE} must be a JSON list of {{"class": "module.Class"}}, got {config}')
    found: List[RuntimeEnvPlugin] = []
    for row in rows:
        module, _, name = row["class"].rpartition(".")
        plugin = getattr(importlib.import_module(module), name)()
        plugin.priority = row.get("priority", plugin.priority)
        if not plugin.name or not 0 <= plugin.priority <= 100:
            raise ValueError(f"the plugin {row['class']} must have a name, and a priority of 0 to 100")
        if plugin.name in [other.name for other in found]:
            raise ValueError(f"two plugins of {VARIABLE} have the name {plugin.name}")
        found.append(plugin)
    return sorted(found, key=lambda plugin: plugin.priority)


class Shelf:
    """What one plugin has made, by URI: counted by use, removed unused when it is too much."""

    def __init__(self, plugin: RuntimeEnvPlugin) -> None:
        self.plugin = plugin
        given = os.environ.get(f"RAY_RUNTIME_ENV_{plugin.name}_CACHE_SIZE_GB".upper(), _DEFAULT_CACHE_GB)
        self.bound = float(given) * 1024**3
        self.sizes: Dict[str, float] = {}
        self.users: Dict[str, Set[str]] = {}
        self.locks: Dict[str, asyncio.Lock] = {}

    async def get(self, uri: str, holder: str, env: Any, context: RuntimeEnvContext, logger: logging.Logger) -> None:
        self.users.setdefault(uri, set()).add(holder)
        async with self.locks.setdefault(uri, asyncio.Lock()):
            if uri not in self.sizes:
                self.sizes[uri] = await self.plugin.create(uri, env, context, logger) or 0
                self.trim(logger)

    def release(self, holder: str) -> None:
        for users in self.users.values():
            users.discard(holder)
        self.trim(logging.getLogger(__name__))

    def trim(self, logger: logging.Logger) -> None:
        for uri in list(self.sizes):  # the oldest first
            if sum(self.sizes.values()) <= self.bound:
                return
            if not self.users.get(uri):
                self.users.pop(uri, None)
                del self.sizes[uri]
                self.plugin.delete_uri(uri, logger)


class Host:
    """All plugins, and the environments that are being made."""

    def __init__(self, plugins: List[RuntimeEnvPlugin], out: TextIO) -> None:
        self.shelves = [Shelf(plugin) for plugin in plugins]
        self.out = out
        self.making: Dict[int, "asyncio.Task[None]"] = {}

    def send(self, **message: Any) -> None:
        self.out.write(json.dumps(message) + "\n")
        self.out.flush()

    def take(self, message: Dict[str, Any]) -> None:
        if "release" in message:
            for shelf in self.shelves:
                shelf.release(message["release"])
        elif "cancel" in message:
            task = self.making.get(message["cancel"])
            if task is not None:
                task.cancel()
        else:
            self.making[message["id"]] = asyncio.get_running_loop().create_task(self.make(message))

    async def make(self, message: Dict[str, Any]) -> None:
        number, holder = message["id"], message["holder"]
        logger = logging.Logger(f"plugins-{number}")
        logger.addHandler(_Lines(self, number))
        try:
            env = RuntimeEnv(_validate=False, **message["env"])
            context = RuntimeEnvContext(**message["context"])
            names = [str(shelf.plugin.name) for shelf in self.shelves]
            unknown = [name for name, _ in env.plugins() if name not in names]
            if unknown:
                raise ValueError(f"no plugin of {VARIABLE} is named {', '.join(unknown)}; there are {', '.join(names)}")
            for shelf in self.shelves:
                if shelf.plugin.name in env:
                    await _apply(shelf, holder, env, context, logger)
            if context.override_worker_entrypoint:
                raise ValueError("not supported yet: override_worker_entrypoint of a plugin")
            self.send(id=number, context=context.__dict__)
        except asyncio.CancelledError:
            pass  # nobody waits any more
        except Exception as error:
            logger.info(traceback.format_exc())
            self.send(id=number, error=f"{type(error).__name__}: {error}")
        finally:
            del self.making[number]


async def _apply(
    shelf: Shelf, holder: str, env: RuntimeEnv, context: RuntimeEnvContext, logger: logging.Logger
) -> None:
    plugin = shelf.plugin
    plugin.validate(env)
    uris = plugin.get_uris(env)
    if not uris:
        await plugin.create(None, env, context, logger)
    for uri in uris:
        await shelf.get(uri, holder, env, context, logger)
    plugin.modify_context(uris, env, context, logger)


class _Lines(logging.Handler):
    """Sends what a plugin logs to the setup log of the job."""

    def __init__(self, host: Host, number: int) -> None:
        super().__init__()
        self.where: Tuple[Host, int] = (host, number)

    def emit(self, record: logging.LogRecord) -> None:
        host, number = self.where
        host.send(id=number, log=self.format(record))


async def serve(host: Host) -> None:
    """Takes messages until the daemon is gone."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(host.take, json.loads(line))
        os._exit(0)  # also if a plugin is stuck

    threading.Thread(target=read, name="messages", daemon=True).start()
    await asyncio.Event().wait()


def main() -> None:
    """Loads the plugins and serves."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what plugins print is no message
    try:
        plugins = load(os.environ[VARIABLE])
    except Exception as error:
        sys.exit(f"{VARIABLE} cannot be used: {type(error).__name__}: {error}")
    asyncio.run(serve(Host(plugins, out)))


if __name__ == "__main__":
    main()
