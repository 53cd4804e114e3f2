"""Marks that say how stable a part of the API is. They change nothing else."""

from typing import Any, Callable, Optional, TypeVar

_T = TypeVar("_T")


class RayDeprecationWarning(DeprecationWarning):
    """Something is used that will go away."""


def _mark(args: tuple, kind: str) -> Any:
    """Supports both ``@Mark`` and ``@Mark(option=...)``."""
    if len(args) == 1 and callable(args[0]):
        return _annotate(args[0], kind)
    return lambda thing: _annotate(thing, kind)


def _annotate(thing: _T, kind: str) -> _T:
    try:
        thing._annotated = getattr(thing, "__name__", None)  # type: ignore[attr-defined]
        thing._annotated_type = kind  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        pass  # something that takes no attributes stays unmarked
    return thing


def PublicAPI(*args: Any, stability: str = "stable", api_group: str = "Others") -> Any:
    """Marks what users may rely on. ``stability`` is ``stable``, ``beta`` or ``alpha``."""
    if stability not in ("stable", "beta", "alpha"):
        raise ValueError(f"stability must be 'stable', 'beta' or 'alpha', got {stability!r}")
    return _mark(args, "public")


def DeveloperAPI(*args: Any, **options: Any) -> Any:
    """Marks what libraries may use and what may change between minor versions."""
    return _mark(args, "developer")


def Deprecated(*args: Any, message: Optional[str] = None, warning: bool = False) -> Any:
    """Marks what will go away; with ``warning`` its first use says so."""

    def wrap(thing: Callable[..., Any]) -> Callable[..., Any]:
        if not warning or isinstance(thing, type):
            return _annotate(thing, "deprecated")
        import functools
        import warnings

        @functools.wraps(thing)
        def warned(*inner: Any, **options: Any) -> Any:
            warnings.warn(message or f"{thing.__name__} is deprecated.", RayDeprecationWarning, stacklevel=2)
            return thing(*inner, **options)

        return _annotate(warned, "deprecated")

    if len(args) == 1 and callable(args[0]):
        return wrap(args[0])
    return wrap
