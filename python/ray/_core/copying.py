"""Copies into shared memory by several threads: one core alone does not use what the machine's memory can do."""

import os
import threading
from collections import deque
from typing import Any, Deque, Tuple

#: Copies from this size on are shared; for less, threads cost more than they save.
SHARED_FROM = 16 << 20
# What a thread takes at a time: a thread that gets no processor keeps the others waiting for no more than this.
_PART = 4 << 20
# Two already have most of what there is to gain; more than four gain nothing.
_THREADS = max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def copy_shared(copy: Any, target: Any, source: Any) -> None:
    """Runs ``copy(target[a:b], source[a:b])`` for all of target; copy is one that lets other threads run.

    When it returns nobody writes any more, also if it was interrupted: target may be somebody else's from then on.
    """
    parts: Deque[Tuple[Any, Any]] = deque(
        (target[at : at + _PART], source[at : at + _PART]) for at in range(0, len(target), _PART)
    )
    threads = []
    try:
        for _ in range(_THREADS - 1):
            threads.append(threading.Thread(target=_copy_parts, args=(copy, parts), name="ray-copy", daemon=True))
            try:
                threads[-1].start()
            except RuntimeError:  # no thread is to be had, or the interpreter ends
                break
        _copy_parts(copy, parts)
    finally:
        parts.clear()  # a thread that has not begun finds nothing to do
        _wait_for_all(threads)


def _copy_parts(copy: Any, parts: Deque[Tuple[Any, Any]]) -> None:
    while True:
        try:
            target, source = parts.popleft()
        except IndexError:
            return
        copy(target, source)


def _wait_for_all(threads: Any) -> None:
    interrupted = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as error:  # a Ctrl-C; the memory is in use until the thread is done
                interrupted = error
    if interrupted is not None:
        raise interrupted
