"""Whether calls go through a proxy of ``ray://``: never, they are the same calls here.

Programs and tests that switch the proxy on or off find that nothing changes.
"""

import os
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def is_client_mode_enabled_by_default() -> bool:
    """Whether RAY_CLIENT_MODE asks that ``ray.init()`` connects from outside."""
    return os.environ.get("RAY_CLIENT_MODE", "0") == "1"


is_client_mode_enabled = False


def client_mode_should_convert() -> bool:
    """Whether functions and classes are made anew for the proxy: there is none."""
    return False


def client_mode_hook(function: F) -> F:
    """The function itself."""
    return function


def client_mode_wrap(function: F) -> F:
    """The function itself."""
    return function


@contextmanager
def disable_client_hook() -> Iterator[None]:
    """A block in which calls go to the cluster, as they do outside of it."""
    yield


@contextmanager
def enable_client_mode() -> Iterator[None]:
    """A block in which calls go to the cluster, as they do outside of it."""
    yield
