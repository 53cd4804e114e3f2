"""Small helpers that programs import from here."""

import asyncio

__all__ = ["get_or_create_event_loop"]


def get_or_create_event_loop() -> asyncio.AbstractEventLoop:
    """The running event loop, else this thread's, else a new one that becomes this thread's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = None
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop
