"""Parts that may change."""

import importlib
from typing import Any

from ray.experimental.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations"]


def __getattr__(name: str) -> Any:
    if name in ("internal_kv", "tqdm_ray"):
        return importlib.import_module(f"ray.experimental.{name}")
    raise AttributeError(f"module 'ray.experimental' has no attribute {name!r}")
