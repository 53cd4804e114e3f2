"""Finding out why something cannot be pickled."""

import inspect
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Set, Tuple


class FailureTuple:
    """One thing that cannot be pickled.

    Attributes:
        obj: the thing.
        name: name of the variable that holds it, "" if unknown.
        path: names on the way from what was inspected to it.
        parent: what holds it, None for the inspected thing itself.
    """

    def __init__(self, obj: Any, path: Tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = tuple(path)
        self.parent = parent

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path[-1] if self.path else ""

    def __repr__(self) -> str:
        path = " -> ".join(self.path)
        return f"FailTuple({self.name or 'unknown'} [path={path}, obj={self.obj}, parent={self.parent}])"


class _Printer:
    """Indented lines to a file or to stdout."""

    def __init__(self, file: Optional[Any]) -> None:
        self._file = file
        self._level = 0

    @contextmanager
    def indent(self) -> Iterator[None]:
        self._level += 1
        try:
            yield
        finally:
            self._level -= 1

    def print(self, text: str) -> None:
        print("    " * self._level + text, file=self._file)


def _error(thing: Any) -> Optional[Exception]:
    """Why thing cannot be pickled, None if it can."""
    import ray.cloudpickle as pickle

    try:
        pickle.dumps(thing)
    except Exception as error:
        return error
    return None


def inspect_serializability(
    base_obj: Any, name: Optional[str] = None, depth: int = 3, print_file: Optional[Any] = None
) -> Tuple[bool, Set[FailureTuple]]:
    """Tells which part of an object or function cannot be pickled.

    Args:
        base_obj: what shall be pickled.
        name: what to call it in the report.
        depth: how many levels to go down.
        print_file: where the report goes, stdout by default.

    Returns:
        (whether it can be pickled, the parts that cannot).

    Raises:
        ValueError: depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    printer = _Printer(print_file)
    title = f"Checking Serializability of {base_obj}"
    rule = "=" * min(len(title), 80)
    printer.print(f"{rule}\n{title}\n{rule}")
    failures: List[FailureTuple] = []
    shown = name or getattr(base_obj, "__name__", "")
    good = _inspect(base_obj, (shown,) if shown else (), None, depth, failures, printer)
    if failures:
        printer.print(rule)
        for failure in failures:
            printer.print(f"Variable: {failure}")
        printer.print(
            "cannot be pickled; there may be more that was not found. Make such things inside the "
            "function or class that needs them, or give their class __reduce__ or a serializer "
            "(ray.util.register_serializer)."
        )
        printer.print(rule)
    return good, set(failures)


def _inspect(
    thing: Any, path: Tuple[str, ...], parent: Any, depth: int, failures: List[FailureTuple], printer: _Printer
) -> bool:
    error = _error(thing)
    if error is None:
        return True
    printer.print(f"!!! FAIL serialization: {error}")
    if depth <= 1:
        failures.append(FailureTuple(thing, path, parent))
        return False
    found = False
    with printer.indent():
        for name, part in _parts(thing):
            if _error(part) is not None:
                printer.print(f"Serializing {name!r} {part}...")
                _inspect(part, path + (name,), thing, depth - 1, failures, printer)
                found = True
    if not found:
        failures.append(FailureTuple(thing, path, parent))
    return False


def _parts(thing: Any) -> Iterator[Tuple[str, Any]]:
    """What thing is made of, with names."""
    if inspect.isfunction(thing):
        closure = inspect.getclosurevars(thing)
        yield from closure.nonlocals.items()
        yield from closure.globals.items()
        return
    if isinstance(thing, dict):
        yield from ((str(key), value) for key, value in thing.items())
        return
    if isinstance(thing, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", value) for index, value in enumerate(thing))
        return
    if inspect.isclass(thing):
        yield from (item for item in vars(thing).items() if not item[0].startswith("__") or item[0] == "__init__")
        return
    yield from getattr(thing, "__dict__", {}).items()
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name) and name not in ("__dict__", "__weakref__"):
                yield name, getattr(thing, name)
