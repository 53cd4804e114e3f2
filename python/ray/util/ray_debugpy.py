"""Debugging of remote tasks: not there yet."""

from typing import Any


def set_trace(*args: Any, **options: Any) -> None:
    """Always raises: breakpoints in remote tasks are not supported yet."""
    raise NotImplementedError("not supported yet: breakpoints in remote tasks (ray.util.ray_debugpy.set_trace)")


def post_mortem(*args: Any, **options: Any) -> None:
    """Always raises: see :func:`set_trace`."""
    raise NotImplementedError("not supported yet: debugging of failed tasks (ray.util.ray_debugpy.post_mortem)")
