"""Calls the function that RAY_JOB_SUBMIT_HOOK names, for ``ray job submit``.

The options come as a JSON object on standard input. That the function has
returned is told on file descriptor 3: one that ends the process, with whatever
status, ends the submission.
"""

import importlib
import json
import os
import sys

_RETURNED = 3


def main() -> None:
    """Imports and calls the hook."""
    name = os.environ["RAY_JOB_SUBMIT_HOOK"]
    module, _, function = name.rpartition(".")
    sys.path.insert(0, "")
    try:
        hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        sys.exit(f"RAY_JOB_SUBMIT_HOOK={name} names no function of a module: {error}")
    options = json.load(sys.stdin)
    options["entrypoint"] = tuple(options["entrypoint"])
    hook(**options)
    sys.stdout.flush()
    os.write(_RETURNED, b"1")


if __name__ == "__main__":
    main()
