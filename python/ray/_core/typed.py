"""Classes that type checkers see with a parameter: ``ActorHandle[Counter]``.

At run time the parameter is a remark, so the classes stay cheap and picklable.
"""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:

    class Of(Generic[T]):
        """Base of a class with one parameter."""
else:

    class Of:
        """Base of a class with one parameter."""

        __slots__ = ()

        def __class_getitem__(cls, item: Any) -> Any:
            from types import GenericAlias

            return GenericAlias(cls, item)
