"""The functions that users name in environment variables, for the command line to call."""

import importlib
import os
import sys
from typing import Any

#: The file descriptor on which a hook's process tells the ``ray`` program that the function has returned.
RETURNED = 3


def hook_of(variable: str) -> Any:
    """The function that the variable names as ``module.function``; one that is not there ends the process."""
    name = os.environ[variable]
    module, _, function = name.rpartition(".")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        sys.exit(f"{variable}={name} names no function of a module: {error}")
