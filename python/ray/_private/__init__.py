"""Helpers that tests and libraries of others import from this place."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Modules of this package, imported when they are first looked at."""
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
