"""Serialisers of a user's own for single classes."""

from typing import Any, Callable


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Uses these functions for instances of cls, in this process and where its objects are read.

    Args:
        cls: the class (not its subclasses).
        serializer: takes an instance, gives something that can be pickled.
        deserializer: takes that, gives an instance.
    """
    from ray._core import serialization

    serialization.register_serializer(cls, serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Forgets the serialiser of cls; nothing happens if there is none."""
    from ray._core import serialization

    serialization.deregister_serializer(cls)


class StandaloneSerializationContext:
    """Kept for programs that enter it; serialisation needs no context here."""

    def __enter__(self) -> "StandaloneSerializationContext":
        return self

    def __exit__(self, *exc: Any) -> None:
        return None
