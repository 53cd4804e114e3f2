"""Which files of a folder are left out of a package: gitignore patterns.

A pattern list is ordered and its last match decides; ``!`` takes a file back
in. A folder that is left out is not entered, so nothing below it can be taken
back in.
"""

import re
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Pattern, Tuple

#: Takes an absolute path and tells whether it is left out.
Excluder = Callable[[Path], bool]


class PatternList:
    """Compiled gitignore lines.

    Args:
        lines: lines of an ignore file; blank ones and comments are skipped.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: List[Tuple[bool, Pattern[str]]] = []
        for line in lines:
            rule = _compile(line)
            if rule is not None:
                self._rules.append(rule)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def matches(self, relative: str) -> bool:
        """Whether the path (relative, with forward slashes) is left out."""
        verdict = False
        for excluded, pattern in self._rules:
            if excluded != verdict and pattern.match(relative):
                verdict = excluded
        return verdict


def _compile(line: str) -> Optional[Tuple[bool, Pattern[str]]]:
    """One line as (leaves out?, pattern); None for a comment or a blank line."""
    if not isinstance(line, str):
        raise TypeError(f"an exclude pattern must be a string, got {type(line).__name__}")
    text = line.rstrip("\n")
    if not text.endswith("\\ "):
        text = text.strip()
    if not text or text.startswith("#"):
        return None
    excluded = True
    if text.startswith("!"):
        excluded, text = False, text[1:]
    elif text.startswith(("\\!", "\\#")):
        text = text[1:]
    folder_only = text.endswith("/")
    text = text.rstrip("/") if text != "/" else text
    if not text or text == "/":
        return None
    anchored = "/" in text
    parts = [part for part in text.split("/") if part != ""]
    return excluded, re.compile(_regex(parts, anchored, folder_only))


def _regex(parts: List[str], anchored: bool, folder_only: bool) -> str:
    out = "" if anchored else "(?:.+/)?"
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            # "a/**" is everything below a; elsewhere "**" is any number of folders.
            out += ".+" if last else "(?:.+/)?"
            continue
        out += _glob(part) + ("" if last else "/")
    return "^" + out + ("/.+$" if folder_only else "(?:/.*)?$")


def _glob(part: str) -> str:
    """The wildcards of one path component as a regular expression."""
    out, i = "", 0
    while i < len(part):
        char = part[i]
        i += 1
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and i < len(part):
            out += re.escape(part[i])
            i += 1
        elif char == "[" and "]" in part[i + 1 :]:
            end = part.index("]", i + 1)
            body = part[i:end]
            i = end + 1
            if body[0] in "!^":
                body = "^" + body[1:]
            out += "[" + body.replace("\\", "\\\\") + "]"
        else:
            out += re.escape(char)
    return out


def from_lines(root: Path, lines: Iterable[str]) -> Optional[Excluder]:
    """An excluder for what lies under root, or None where no line says anything."""
    patterns = PatternList(lines)
    if not patterns:
        return None
    base = root.absolute()

    def excluded(path: Path) -> bool:
        try:
            relative = path.absolute().relative_to(base)
        except ValueError:
            return False
        return patterns.matches(relative.as_posix())

    return excluded


def from_files(folder: Path, use_gitignore: bool) -> Optional[Excluder]:
    """The excluder of the ignore files that lie in folder itself.

    ``.gitignore`` (unless ``use_gitignore`` is false) and ``.rayignore`` count
    as one list, in this order.
    """
    lines: List[str] = []
    for name in ([".gitignore"] if use_gitignore else []) + [".rayignore"]:
        path = folder / name
        if path.is_file():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return from_lines(folder, lines) if lines else None
