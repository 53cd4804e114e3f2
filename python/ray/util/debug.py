"""Messages that are worth saying once."""

import time
from typing import Set

_seen: Set[str] = set()
_disabled = False
_periodic = False
_last_reset = 0.0
_PERIOD_S = 60.0


def log_once(key: str) -> bool:
    """True the first time it is asked for this key in this process.

    After :func:`enable_periodic_logging` it is true again each minute, after
    :func:`disable_log_once_globally` never.
    """
    global _last_reset
    if _disabled:
        return False
    if _periodic and time.monotonic() - _last_reset > _PERIOD_S:
        _seen.clear()
        _last_reset = time.monotonic()
    if key in _seen:
        return False
    _seen.add(key)
    return True


def disable_log_once_globally() -> None:
    """From now on :func:`log_once` says no."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """From now on :func:`log_once` says yes once a minute for each key."""
    global _periodic, _last_reset
    _periodic = True
    _last_reset = time.monotonic()


def reset_log_once(key: str) -> None:
    """Forgets that key has been asked for."""
    _seen.discard(key)
