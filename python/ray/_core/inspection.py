"""Finding the part of a value that cannot be pickled."""

import inspect
import io
from typing import Any, Dict, Iterator, Optional, Set, Tuple

_MAX_NODES = 2000
_MAX_DEPTH = 8


def _picklable(value: Any) -> bool:
    from ray._core import serialization

    try:
        serialization._pickler_class(io.BytesIO(), [], None).dump(value)  # type: ignore[misc]
        return True
    except Exception:
        return False


def _parts(value: Any) -> Iterator[Tuple[str, Any]]:
    """The things inside value, each with the text that leads to it."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{key!r}]", item
        return
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield f"[{i}]", item
        return
    if isinstance(value, (set, frozenset)):
        for item in value:
            yield f" item {item!r}", item
        return
    if inspect.isfunction(value):
        found = inspect.getclosurevars(value)
        for name, item in found.nonlocals.items():
            yield f" variable {name!r}", item
        for name, item in found.globals.items():
            yield f" global {name!r}", item
        for i, item in enumerate(value.__defaults__ or ()):
            yield f" default {i}", item
        return
    if inspect.isclass(value):
        for name, item in list(vars(value).items()):
            if name not in ("__dict__", "__weakref__"):
                yield f".{name}", getattr(item, "__func__", item)
        return
    if inspect.ismethod(value):
        yield ".__self__", value.__self__
        return
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        for name, item in list(state.items()):
            yield f".{name}", item


def find_culprit(value: Any) -> Tuple[str, Any]:
    """The path to, and the innermost part of value that does not pickle by itself."""
    seen: Set[int] = set()
    budget = [_MAX_NODES]

    def search(item: Any, path: str, depth: int) -> Optional[Tuple[str, Any]]:
        if id(item) in seen or budget[0] <= 0 or depth > _MAX_DEPTH:
            return None
        seen.add(id(item))
        for step, part in _parts(item):
            budget[0] -= 1
            if budget[0] <= 0:
                return None
            if id(part) in seen or _picklable(part):
                continue
            return search(part, path + step, depth + 1) or (path + step, part)
        return None

    name = getattr(value, "__name__", None) or "value"
    return search(value, name, 0) or (name, value)


class UnpicklableArguments(TypeError):
    """The arguments of a call cannot be pickled; who knows what was called tells it with :func:`bad_argument`."""


def bad_argument(error: TypeError, name: str, args: tuple, kwargs: Dict[str, Any]) -> TypeError:
    """The error that names the argument which cannot be pickled, and the function or method it was for."""
    for value in (*args, *kwargs.values()):
        if not _picklable(value):
            return explained(f"Could not serialize the argument {value!r} for a task or actor {name}", value, error)
    return TypeError(f"Could not serialize the arguments for a task or actor {name}: {error}")


def explained(what: str, value: Any, error: BaseException) -> TypeError:
    """A TypeError that begins with what failed and goes on with a report of the search for the part at fault."""
    from ray.util.check_serialize import inspect_serializability

    report = io.StringIO()
    try:
        inspect_serializability(value, print_file=report)
    except Exception:  # the search must never hide the error itself
        report.write(str(error))
    advice = (
        "Check https://docs.ray.io/en/master/ray-core/objects/serialization.html#troubleshooting for more information."
    )
    text = f"{report.getvalue()}{error}\n{advice}"
    return TypeError(f"{what}:\n{text}\n{'=' * 80}")
