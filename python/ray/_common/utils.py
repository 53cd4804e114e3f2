"""Small helpers that programs and tests of others import."""

import asyncio
import importlib
import os
import random
import string
import tempfile
from typing import Any, Coroutine, Optional, Set

from ray._private.ray_constants import (
    PLACEMENT_GROUP_BUNDLE_RESOURCE_NAME,
    RESOURCE_CONSTRAINT_PREFIX,
    env_bool,
    env_float,
    env_integer,
)
from ray._private.utils import binary_to_hex, get_ray_temp_dir, get_system_memory, hex_to_binary

__all__ = [
    "PLACEMENT_GROUP_BUNDLE_RESOURCE_NAME",
    "RESOURCE_CONSTRAINT_PREFIX",
    "binary_to_hex",
    "decode",
    "env_bool",
    "env_float",
    "env_integer",
    "get_default_system_temp_dir",
    "get_or_create_event_loop",
    "get_random_alphanumeric_string",
    "get_ray_temp_dir",
    "get_system_memory",
    "hex_to_binary",
    "import_attr",
    "load_class",
    "run_background_task",
    "try_to_create_directory",
]

_background: Set["asyncio.Task[Any]"] = set()


def get_or_create_event_loop() -> asyncio.AbstractEventLoop:
    """The loop that runs in this thread, or the one set for it, or a new one that is set for it."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
        if not loop.is_closed():
            return loop
    except RuntimeError:
        pass
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def run_background_task(coroutine: "Coroutine[Any, Any, Any]") -> "asyncio.Task[Any]":
    """Starts the coroutine in the running loop, and keeps it from being collected until it ends."""
    task = get_or_create_event_loop().create_task(coroutine)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


def import_attr(full_path: str, *, reload_module: bool = False) -> Any:
    """What ``module.name`` or ``module:name`` names.

    Raises:
        TypeError: full_path is None.
        ValueError: it has more than one colon.
    """
    if full_path is None:
        raise TypeError("import path cannot be None")
    if ":" in full_path:
        if full_path.count(":") > 1:
            raise ValueError(f"the import path {full_path!r} may have one ':' at most, as in module.sub:name")
        module_name, _, name = full_path.partition(":")
    else:
        module_name, _, name = full_path.rpartition(".")
    module = importlib.import_module(module_name)
    if reload_module:
        importlib.reload(module)
    return getattr(module, name)


def load_class(path: str) -> Any:
    """The class that ``module.Name`` names.

    Raises:
        ValueError: there is no module in the path.
    """
    if "." not in path:
        raise ValueError(f"{path!r} names no class: write module.Name")
    return import_attr(path)


def decode(value: Any, allow_none: bool = False, encode_type: str = "utf-8") -> str:
    """Bytes as text; text stays as it is.

    Raises:
        ValueError: value is None and allow_none is not set, or it is neither bytes nor text.
    """
    if value is None and allow_none:
        return ""
    if isinstance(value, bytes):
        return value.decode(encode_type)
    if isinstance(value, str):
        return value
    raise ValueError(f"bytes or text can be decoded, got {type(value).__name__}")


def get_random_alphanumeric_string(length: int) -> str:
    """Letters and digits, drawn apart from the seed of ``random``."""
    return "".join(random.SystemRandom().choice(string.ascii_letters + string.digits) for _ in range(length))


def get_default_system_temp_dir() -> str:
    """Where this machine keeps temporary files."""
    return os.environ.get("TMPDIR") or tempfile.gettempdir()


def try_to_create_directory(directory_path: Optional[str]) -> None:
    """Makes the folder and those above it, where they are missing."""
    os.makedirs(os.path.expanduser(directory_path or ""), exist_ok=True)


def reset_ray_address(temp_dir: Optional[str] = None) -> None:
    """Forgets the cluster of this machine that a program may still take for a running one.

    There is none: the announcement of a cluster counts only while its process lives.
    """
