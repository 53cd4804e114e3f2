"""Actors: classes whose instances live in worker processes of their own."""

from typing import Type, TypeVar, Union

from ray._core import state
from ray.actor.classes import ActorClass, ActorClassInheritanceException, ActorOptions
from ray.actor.descriptions import method
from ray.actor.handles import ActorHandle, ActorMethod, _load_handle, get_actor

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "ActorOptions",
    "ActorProxy",
    "exit_actor",
    "get_actor",
    "method",
]

T = TypeVar("T")

#: What type checkers may know of an actor: a handle whose ``@ray.method`` methods have types.
ActorProxy = Union["ActorHandle[T]", Type[T]]


def exit_actor() -> None:
    """Ends the actor whose method calls this, for good.

    Raises:
        TypeError: called outside of an actor.
    """
    if state.actor is None:
        raise TypeError("exit_actor API is called on a non-actor worker. It is only available in an actor's methods.")
    from ray._core.process import ActorExit
    from ray.exceptions import AsyncioActorExit

    if state.actor.is_async:
        raise AsyncioActorExit()
    raise ActorExit(0)


# They are of this module for those who print or pickle them: pickles name it in other patch versions too.
for _public in (
    ActorClass,
    ActorClassInheritanceException,
    ActorHandle,
    ActorMethod,
    ActorOptions,
    _load_handle,
    get_actor,
    method,
):
    _public.__module__ = __name__
