"""Progress bars of workers. They are silent here: a worker's output is lines."""

from typing import Any, Iterable, Iterator, Optional


class tqdm:
    """A bar with the interface of the ``tqdm`` package that draws nothing."""

    def __init__(
        self,
        iterable: Optional[Iterable[Any]] = None,
        desc: Optional[str] = None,
        total: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        position: Optional[int] = None,
        flush_interval_s: Optional[float] = None,
        **_: Any,
    ) -> None:
        self._iterable = iterable
        self._desc = desc or ""
        self._total = total
        self._unit = unit or "it"
        self._x = 0

    def set_description(self, desc: str) -> None:
        """Replaces the text before the bar."""
        self._desc = desc

    def update(self, n: int = 1) -> None:
        """Counts n more."""
        self._x += n

    def refresh(self) -> None:
        """Draws nothing."""

    def close(self) -> None:
        """Ends the bar."""

    @property
    def total(self) -> Optional[int]:
        """How much there is to do, None if unknown."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._total = total

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable or ():
            self.update(1)
            yield item


def safe_print(*args: Any, **kwargs: Any) -> None:
    """``print``: no bar is in the way."""
    print(*args, **kwargs)
