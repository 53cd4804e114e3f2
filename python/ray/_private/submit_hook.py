"""Calls the function that RAY_JOB_SUBMIT_HOOK names, for ``ray job submit``.

The options come as a JSON object on standard input. That the function has
returned is told on file descriptor 3: one that ends the process, with whatever
status, ends the submission.
"""

import json
import os
import sys

from ray._private.hooks import RETURNED, hook_of


def main() -> None:
    """Imports and calls the hook."""
    hook = hook_of("RAY_JOB_SUBMIT_HOOK")
    options = json.load(sys.stdin)
    options["entrypoint"] = tuple(options["entrypoint"])
    hook(**options)
    sys.stdout.flush()
    os.write(RETURNED, b"1")


if __name__ == "__main__":
    main()
