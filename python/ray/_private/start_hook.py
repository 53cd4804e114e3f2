"""Calls the function that RAY_START_HOOK names, for ``ray start``.

The options come as a JSON object on standard input; what they are once the
function has returned goes to file descriptor 3.
"""

import json
import os
import sys

from ray._private.hooks import RETURNED, hook_of


class RayParams:
    """The options of ``ray start``: attributes, None where nothing was given.

    An option that this system does not have is None as well.
    """

    def __init__(self, given):
        vars(self).update(given)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None

    def update(self, **kwargs):
        """Sets options."""
        vars(self).update(kwargs)

    def update_if_absent(self, **kwargs):
        """Sets options that are None."""
        self.update(**{name: value for name, value in kwargs.items() if getattr(self, name) is None})


def main() -> None:
    """Imports and calls the hook."""
    hook = hook_of("RAY_START_HOOK")
    start = json.load(sys.stdin)
    known = set(start["params"])
    params = RayParams(start["params"])
    hook(params, start["head"])
    sys.stdout.flush()
    with os.fdopen(RETURNED, "w") as out:
        json.dump({name: value for name, value in vars(params).items() if name in known}, out)


if __name__ == "__main__":
    main()
