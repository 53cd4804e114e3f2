"""Names of other languages, which this system does not run."""

from enum import Enum
from typing import Any


class Language(Enum):
    """Languages of workers."""

    PYTHON = 0
    JAVA = 1
    CPP = 2


def java_function(class_name: str, function_name: str) -> Any:
    """Not supported."""
    raise NotImplementedError("not supported yet: tasks in Java")


def java_actor_class(class_name: str) -> Any:
    """Not supported."""
    raise NotImplementedError("not supported yet: actors in Java")


def cpp_function(function_name: str) -> Any:
    """Not supported."""
    raise NotImplementedError("not supported yet: tasks in C++")


class _Config:
    """Settings by name; those of the environment (``RAY_<name>``), else the asked default."""

    def __getattr__(self, name: str) -> Any:
        import os

        if name.startswith("__"):
            raise AttributeError(name)
        return lambda default=None: os.environ.get(f"RAY_{name}", default)


_config = _Config()
