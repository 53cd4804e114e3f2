"""Drivers that were started by ``uv run``: their workers are started the same way.

The driver's packages are those that uv put together for it, from its options,
the script's own metadata or the project; a plain worker would have none of
them.
"""

import os
import platform
import shlex
from typing import Any, Dict, List, Optional, Tuple

#: "0" leaves environments of drivers under ``uv run`` as they are.
VARIABLE = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
#: Options that say where the driver runs, and how: not for workers.
_ONLY_DRIVER = ("--directory", "-m", "--module")


def applied(env: Dict[str, Any]) -> Dict[str, Any]:
    """The environment of a driver with the program that its workers run and the folder that they need.

    Raises:
        RuntimeError: the environment installs packages itself.
    """
    if os.environ.get(VARIABLE, "1") in ("0", "false", "False"):
        return env
    found = uv_run()
    command = found and worker_command(*found)
    if not command or "py_executable" in env:
        return env
    for field in ("pip", "uv", "conda"):
        if env.get(field):
            raise RuntimeError(
                f"runtime_env[{field!r}] and `uv run` exclude each other: workers of this driver get what uv puts "
                "together. Name the packages in pyproject.toml or by `uv run --with`, or set "
                f"{VARIABLE}=0 in the driver's environment."
            )
    return {"working_dir": os.getcwd(), **env, "py_executable": command}


def uv_run() -> Optional[Tuple[List[str], List[str]]]:
    """Command lines of the ``uv run`` above this process and of what it started; None without one."""
    pid, below = os.getpid(), _command_line(os.getpid())
    while pid > 1:
        try:
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        line = _command_line(pid)
        if len(line) > 2 and os.path.basename(line[0]) == "uv" and line[1] == "run":
            return line, below
        below = line
    return None


def _command_line(pid: int) -> List[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def worker_command(line: List[str], started: List[str]) -> Optional[str]:
    """What runs Python as ``uv run`` ran the driver; None if the options cannot be told from the command.

    Args:
        line: of uv: ``uv run [options] command [arguments]``.
        started: of the process that it started for the command.
    """
    first = next((n for n in range(2, len(line)) if started[-(len(line) - n) :] == line[n:]), len(line))
    before = started[: len(started) - (len(line) - first)]
    last = line[first - 1]
    name = os.path.basename(last)
    if (
        first > 2
        and not last.startswith("-")
        and before
        and (name == os.path.basename(before[-1]) or name.startswith("python"))
    ):
        first -= 1  # the program itself, which uv has replaced by its path
    elif first == len(line):
        return None
    options, skip = [], False
    for word in line[2:first]:
        if (
            not skip
            and word not in _ONLY_DRIVER
            and not word.startswith("--directory=")
            and word not in ("--", "-s", "--script")
        ):
            options.append(word)
        skip = word in _ONLY_DRIVER
    given = any(word in ("-p", "--python") or word.startswith("--python=") for word in options)
    if not given and not os.environ.get("UV_PYTHON"):
        options += ["--python", platform.python_version()]
    return shlex.join([*line[:2], *options, "python"])
