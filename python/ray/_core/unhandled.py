"""Errors that nobody looked at: the program prints them when their references are dropped."""

import logging
import os
from typing import Any

from ray._core import serialization
from ray._core.entries import Inline
from ray._core.serialization import ErrorValue


def report(entry: Any) -> None:
    """Prints the error that a dropped result held; cancelled tasks and dead actors say it elsewhere.

    Args:
        entry: what the table of objects held.
    """
    if os.environ.get("RAY_IGNORE_UNHANDLED_ERRORS") == "1":
        return
    blob = entry.blob if isinstance(entry, Inline) else entry
    if type(blob) is not bytes:
        return
    from ray.exceptions import RayTaskError, WorkerCrashedError

    try:
        value = serialization.deserialize(blob)
    except Exception:
        return
    if type(value) is ErrorValue and isinstance(value.error, (RayTaskError, WorkerCrashedError)):
        from ray._private import worker

        worker._unhandled_error_handler(value.error)


def show(error: BaseException) -> None:
    """Writes the error to the log of this program."""
    logging.getLogger("ray").error("Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): %s", error)
