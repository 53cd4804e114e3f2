"""Telling async code from other code."""

import asyncio
import inspect
from typing import Any, Callable


def get_new_event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop; nobody's current one."""
    return asyncio.new_event_loop()


def is_async_func(function: Any) -> bool:
    """Whether the function is a coroutine function or an async generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def has_async_methods(cls: type) -> bool:
    """Whether a method of the class is async, which makes its actors async."""
    return any(is_async_func(member) for _, member in inspect.getmembers(cls, inspect.isfunction))


def sync_to_async(function: Callable[..., Any]) -> Callable[..., Any]:
    """An async function that calls function; an async one is given back as it is."""
    if is_async_func(function):
        return function

    if inspect.isgeneratorfunction(function):

        async def items(*args: Any, **kwargs: Any) -> Any:
            for item in function(*args, **kwargs):
                yield item

        return items

    async def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call
