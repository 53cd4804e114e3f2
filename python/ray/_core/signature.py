"""Signatures of remote functions: checked at the call, not on the worker."""

import inspect
from typing import Any, Dict, List, Optional, Tuple

_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)


class Signature:
    """The parameters of a callable, without what ``self`` takes.

    Attributes:
        least: fewest positional arguments, with no keyword argument.
        most: most of them; -1 where the fast check cannot tell.
    """

    __slots__ = ("_signature", "least", "most")

    def __init__(self, signature: Optional[inspect.Signature]) -> None:
        self._signature = signature
        self.least, self.most = _range(signature)

    @classmethod
    def of(cls, function: Any, skip_first: bool = False) -> "Signature":
        """The signature of a function; one that accepts everything if it has none."""
        try:
            found = inspect.signature(function)
        except (ValueError, TypeError):
            return cls(None)
        if skip_first:
            rest = list(found.parameters.values())
            if rest and rest[0].kind in (rest[0].POSITIONAL_ONLY, rest[0].POSITIONAL_OR_KEYWORD):
                found = found.replace(parameters=rest[1:])
        return cls(found)

    def check(self, args: tuple, kwargs: Dict[str, Any]) -> None:
        """Raises TypeError if the arguments do not fit."""
        if not kwargs and self.least <= len(args) <= self.most:
            return
        if self._signature is not None:
            self._signature.bind(*args, **kwargs)

    def to_list(self) -> Optional[List[Tuple[str, int, bool]]]:
        """Name, kind and whether there is a default, for each parameter."""
        if self._signature is None:
            return None
        return [(p.name, _KINDS.index(p.kind), p.default is not p.empty) for p in self._signature.parameters.values()]

    @classmethod
    def from_list(cls, items: Optional[List[Any]]) -> "Signature":
        """The inverse of :meth:`to_list`."""
        if items is None:
            return cls(None)
        parameters = [
            inspect.Parameter(name, _KINDS[kind], default=None if has_default else inspect.Parameter.empty)
            for name, kind, has_default in items
        ]
        return cls(inspect.Signature(parameters))


def _range(signature: Optional[inspect.Signature]) -> Tuple[int, int]:
    if signature is None:
        return 0, 1 << 30
    least = most = 0
    for p in signature.parameters.values():
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            most += 1
            if p.default is p.empty:
                least += 1
        elif p.kind == p.VAR_POSITIONAL:
            most = 1 << 30
        elif p.kind == p.KEYWORD_ONLY and p.default is p.empty:
            return 0, -1
    return least, most
