"""The function that a worker calls before its first task."""

import base64
import importlib
import os
from typing import Any, Dict

#: Carries the function itself (base64 of its pickle), or its dotted name.
VARIABLE = "RAY_WORKER_SETUP_HOOK"
_PICKLED = "pickle:"
#: The function travels with every request for a worker.
MAX_BYTES = 96 * 1024


def export(env: Dict[str, Any]) -> None:
    """Replaces a function in ``worker_process_setup_hook`` by its name; ``env_vars`` carry the function itself.

    Raises:
        RuntimeEnvSetupError: it cannot be pickled, or is too large.
    """
    from ray import cloudpickle
    from ray.exceptions import RuntimeEnvSetupError

    function = env["worker_process_setup_hook"]
    name = getattr(function, "__qualname__", None) or type(function).__name__
    try:
        text = base64.b64encode(cloudpickle.dumps(function)).decode()
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to export the setup function. {name}: {error}") from error
    if len(text) > MAX_BYTES:
        raise RuntimeEnvSetupError(
            f"Failed to export the setup function. {name}: pickled it takes {len(text)} bytes, more than {MAX_BYTES}. "
            "Let it load what it needs instead of carrying it, or give the dotted name of a function in a module."
        )
    env["worker_process_setup_hook"] = name
    env["env_vars"] = {**(env.get("env_vars") or {}), VARIABLE: _PICKLED + text}


def run() -> None:
    """Calls the function that this process was given, if any.

    Raises:
        Exception: whatever the function raises, or the reason why there is none.
    """
    given = os.environ.pop(VARIABLE, "")
    if not given:
        return
    if given.startswith(_PICKLED):
        from ray import cloudpickle

        cloudpickle.loads(base64.b64decode(given[len(_PICKLED) :]))()
        return
    module, _, name = given.rpartition(".")
    if not module:
        raise ValueError(f"worker_process_setup_hook {given!r} is not the dotted name of a function in a module")
    getattr(importlib.import_module(module), name)()
