"""The name under which tools like ps show this process (Linux)."""

import os
from typing import Optional, Tuple

_place: Optional[Tuple[int, int]] = None
_tried = False
_beyond = 0  # bytes behind the command line that the library fills too


def _find() -> Optional[Tuple[int, int]]:
    """Where the kernel reads the command line of this process: address and length."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rsplit(b")", 1)[1].split()
    start, end = int(fields[45]), int(fields[46])
    return (start, end - start) if start and end - start > 16 else None


def make_known() -> None:
    """Before the first title: lets the library setproctitle, if the user has it, find the command line.

    It looks for the words with which the process was started, and does nothing for good where they are changed. It
    wipes the environment behind them as far as that is where the process found it: only the first variable, as the
    second is moved away here. Others know by the rest whose process this is.
    """
    global _beyond
    try:
        import setproctitle
    except Exception:  # whatever the user's own module of that name may raise
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            first, second = file.read().split(b"\0", 2)[:2]
        name, _, value = second.partition(b"=")
        if not name or os.environb.get(name) != value:
            return
        os.putenv(name, value)
        with open("/proc/self/comm", "r+") as file:
            comm = file.read()
            setproctitle.getproctitle()  # this looks, and renames the thread too
            file.seek(0)
            file.write(comm.rstrip("\n"))
        _beyond = len(first) + 1
    except (OSError, AttributeError, ValueError):
        pass


def set_title(text: str) -> None:
    """Shows text as the command line; silently does nothing where that cannot be done."""
    global _place, _tried
    if not _tried:
        _tried = True
        try:
            _place = _find()
        except (OSError, IndexError, ValueError):
            _place = None
    if _place is None:
        return
    import ctypes

    address, size = _place
    data = text.encode()[: size - 1]
    ctypes.memmove(address, data + b"\0" * (size + _beyond - len(data)), size + _beyond)


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent ends (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
        if os.getppid() == 1:
            os._exit(1)
    except (OSError, AttributeError):
        pass
