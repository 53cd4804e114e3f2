"""What workers print, on the driver's terminal."""

import os
import re
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ray._private.ray_constants import TESTING_NEVER_DEDUP_TOKEN

# Tried at the beginning of a word only: else a long word without digits costs the square of its length.
_NUMBERED_WORD = re.compile(r"(?<!\S)[^\s\d]*\d\S*")
_CYAN = "\033[36m"
_YELLOW = "\033[33m"
_RESET = "\033[0m"


class Deduplicator:
    """Holds back lines that several processes print alike, and counts them.

    Two lines are alike if they are equal without the words that have digits.
    The first is printed at once; the same from another source within the
    window is counted and printed once when the window ends.
    """

    def __init__(self, window_s: float = 5.0, allow: Optional[str] = None, skip: Optional[str] = None) -> None:
        self._window = window_s
        self._allow = re.compile(allow) if allow else None
        self._skip = re.compile(skip) if skip else None
        # key → (source of the first, end of the window, held batch, its line, count)
        self._seen: Dict[str, List[Any]] = {}
        self._hinted = False

    def add(self, batch: Dict[str, Any], line: str, now: float) -> List[Tuple[Dict[str, Any], str]]:
        """The lines to print now that this one has come, each with its batch."""
        if (self._allow is not None and self._allow.search(line)) or not line:
            return [(batch, line)]
        if self._skip is not None and self._skip.search(line):
            return []
        key = _NUMBERED_WORD.sub("", line).strip()
        if not key:
            return [(batch, line)]
        source = (batch.get("ip"), batch.get("pid"))
        entry = self._seen.get(key)
        out = self.expire(now)
        if entry is None or now > entry[1]:
            self._seen[key] = [source, now + self._window, None, "", 0]
            return out + [(batch, line)]
        if entry[0] == source and batch.get("kind", "worker") == "worker":
            return out + [(batch, line)]
        entry[2], entry[3], entry[4] = batch, line, entry[4] + 1
        return out

    def expire(self, now: float, everything: bool = False) -> List[Tuple[Dict[str, Any], str]]:
        """The counted lines whose windows have ended."""
        out = []
        for key, entry in list(self._seen.items()):
            if not everything and now <= entry[1]:
                continue
            del self._seen[key]
            if entry[4] == 1:
                out.append((entry[2], entry[3]))
            elif entry[4]:
                text = f"{entry[3]} [repeated {entry[4]}x across cluster]"
                if not self._hinted:
                    self._hinted = True
                    text += " (Lines that several processes print alike are counted; RAY_DEDUP_LOGS=0 shows them all.)"
                out.append((entry[2], text))
        return out


class Printer:
    """Prints batches of lines with the prefix that tells who printed them."""

    def __init__(self, own_ip: str, write: Optional[Callable[[str, str], None]] = None) -> None:
        self._own_ip = own_ip
        self._write = write or _write
        dedup = os.environ.get("RAY_DEDUP_LOGS", "1") != "0"
        self._dedup = (
            Deduplicator(
                float(os.environ.get("RAY_DEDUP_LOGS_AGG_WINDOW_S", "5")),
                os.environ.get("RAY_DEDUP_LOGS_ALLOW_REGEX", TESTING_NEVER_DEDUP_TOKEN),
                os.environ.get("RAY_DEDUP_LOGS_SKIP_REGEX"),
            )
            if dedup
            else None
        )
        self._prefixes = os.environ.get("RAY_DISABLE_WORKER_LOG_PREFIX", "0") != "1"
        self._colors = os.environ.get("RAY_COLOR_PREFIX", "")
        self._lock = threading.Lock()
        self._started = time.time()
        self.last = 0.0

    def show(self, batches: List[Dict[str, Any]]) -> None:
        """Prints the batches of a LOG frame."""
        with self._lock:
            self.last = time.monotonic()
            for batch in batches:
                for line in batch.get("lines") or ():
                    if self._dedup is None:
                        self._print(batch, line)
                        continue
                    for owner, text in self._dedup.add(batch, line, time.monotonic()):
                        self._print(owner, text)

    def tick(self, everything: bool = False) -> None:
        """Prints the counted lines that are due."""
        if self._dedup is None:
            return
        with self._lock:
            for owner, text in self._dedup.expire(time.monotonic(), everything):
                self._print(owner, text)

    def _print(self, batch: Dict[str, Any], line: str) -> None:
        stream = "err" if batch.get("stream") == "err" else "out"
        self._write(stream, self.prefix(batch, stream) + line.rstrip("\r") + "\n")

    def prefix(self, batch: Dict[str, Any], stream: str = "out") -> str:
        """``(name pid=1, ip=…) `` as users know it."""
        if not self._prefixes:
            return ""
        kind = batch.get("kind") or "worker"
        if kind == "error":
            return ""
        if kind == "autoscaler":
            seconds = int(time.time() - self._started)
            since = f"{seconds // 60}m{seconds % 60}s" if seconds >= 60 else f"{seconds}s"
            text = f"(autoscaler +{since})"
        else:
            words = []
            name = batch.get("name")
            if kind == "raylet":
                words.append("raylet")
            elif name:
                words.append(str(name))
            if batch.get("pid") and kind == "worker":
                words.append(f"pid={batch['pid']}")
            text = "(" + " ".join(words)
            if batch.get("ip") and batch["ip"] != self._own_ip:
                text += f", ip={batch['ip']}"
            text += ")"
        return self._paint(text, kind, stream) + " "

    def _paint(self, text: str, kind: str, stream: str) -> str:
        if self._colors == "0":
            return text
        file = sys.stderr if stream == "err" else sys.stdout
        if self._colors != "1":
            try:
                if not file.isatty():
                    return text
            except (AttributeError, ValueError):
                return text
        return f"{_YELLOW if kind == 'raylet' else _CYAN}{text}{_RESET}"


def _write(stream: str, text: str) -> None:
    file = sys.stderr if stream == "err" else sys.stdout
    try:
        file.write(text)
        file.flush()
    except (OSError, ValueError, AttributeError):
        pass
