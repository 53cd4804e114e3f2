"""Helpers that tests and libraries of others import from this place."""

from typing import Any

_LAZY = {"ray_constants", "state", "utils", "worker"}


def __getattr__(name: str) -> Any:
    # Programs reach for these by ``import ray`` alone.
    if name in _LAZY:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
