"""What ``ray.init`` tells its user: that it started or found a cluster, and where to look at it."""

import logging
import sys
from typing import Any, Optional

_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"

_logger = logging.getLogger("ray")


class _Stderr(logging.StreamHandler):
    """Writes to what is sys.stderr when the message comes, which tests and notebooks replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


def configure(level: Any, format: Optional[str]) -> None:
    """Makes the package's logger write to stderr, unless the program has given it handlers of its own.

    Args:
        level: as logging has it, a number or a name in any case.
        format: of a line; None for time, level, place and message.
    """
    _logger.setLevel(level.upper() if isinstance(level, str) else level)
    handler = next((found for found in _logger.handlers if isinstance(found, _Stderr)), None)
    if handler is None:
        if _logger.handlers:
            return
        handler = _Stderr()
        _logger.addHandler(handler)
        _logger.propagate = False
    handler.setFormatter(logging.Formatter(format or _FORMAT))


def connecting(address: str) -> None:
    """Before the connection to a cluster that exists."""
    _logger.info("Connecting to existing Ray cluster at address: %s...", address)


def connected(started: bool, dashboard_url: Optional[str]) -> None:
    """After it, or after the start of a new cluster."""
    text = "Started a local Ray instance." if started else "Connected to Ray cluster."
    if dashboard_url:
        url = dashboard_url if "://" in dashboard_url else f"http://{dashboard_url}"
        text += f" View the dashboard at {url}"
    _logger.info(text)
