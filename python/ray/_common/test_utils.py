"""Helpers for tests of programs that use a cluster."""

import asyncio
import inspect
import os
import subprocess
import sys
import tempfile
import time
import traceback
from typing import Any, Callable, Dict, List, Optional

import ray

DEFAULT_DRIVER_TIMEOUT_SECONDS = 300


@ray.remote(num_cpus=0)
class SignalActor:
    """Lets tasks wait until a test says go."""

    def __init__(self) -> None:
        self.ready_event = asyncio.Event()
        self.num_waiters = 0

    async def send(self, clear: bool = False) -> None:
        """Lets all waiters go on; with clear later ones wait again."""
        self.ready_event.set()
        if clear:
            self.ready_event.clear()

    async def wait(self, should_wait: bool = True) -> None:
        """Returns after :meth:`send`."""
        if should_wait:
            self.num_waiters += 1
            try:
                await self.ready_event.wait()
            finally:
                self.num_waiters -= 1

    async def cur_num_waiters(self) -> int:
        """How many wait now."""
        return self.num_waiters


@ray.remote(num_cpus=0)
class Semaphore:
    """A semaphore that tasks share.

    Args:
        value: how many may hold it at a time.
    """

    def __init__(self, value: int = 1) -> None:
        self._semaphore = asyncio.Semaphore(value=value)

    async def acquire(self) -> bool:
        """Takes one, waiting for it if need be."""
        return await self._semaphore.acquire()

    async def release(self) -> None:
        """Gives one back."""
        self._semaphore.release()

    async def locked(self) -> bool:
        """Whether all are taken."""
        return self._semaphore.locked()


def wait_for_condition(
    condition_predictor: Callable[..., bool],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Waits until a condition holds.

    Args:
        condition_predictor: called with kwargs.
        timeout: most seconds.
        retry_interval_ms: milliseconds between two tries.
        raise_exceptions: let an exception of the condition end the waiting.

    Raises:
        RuntimeError: it does not hold in time; the message holds the last exception.
    """
    deadline = time.monotonic() + timeout
    last: Optional[str] = None
    while True:
        try:
            if condition_predictor(**kwargs):
                return
            last = None
        except Exception:
            if raise_exceptions:
                raise
            last = traceback.format_exc()
        if time.monotonic() > deadline:
            raise RuntimeError(_missed(timeout, last))
        time.sleep(retry_interval_ms / 1000)


async def async_wait_for_condition(
    condition_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    **kwargs: Any,
) -> None:
    """:func:`wait_for_condition` for coroutines; the condition may be one itself."""
    deadline = time.monotonic() + timeout
    last: Optional[str] = None
    while True:
        try:
            found = condition_predictor(**kwargs)
            if inspect.isawaitable(found):
                found = await found
            if found:
                return
            last = None
        except Exception:
            last = traceback.format_exc()
        if time.monotonic() > deadline:
            raise RuntimeError(_missed(timeout, last))
        await asyncio.sleep(retry_interval_ms / 1000)


def _missed(timeout: float, last: Optional[str]) -> str:
    text = f"The condition wasn't met before the timeout expired ({timeout} s)."
    return f"{text} Last exception: {last}" if last else text


def _start_driver(env: Optional[Dict[str, str]], stderr: int) -> "subprocess.Popen[bytes]":
    """A Python process that runs what it is sent."""
    return subprocess.Popen(
        [sys.executable, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, **(env or {})},
    )


def run_string_as_driver(
    driver_script: str,
    env: Optional[Dict[str, str]] = None,
    encode: str = "utf-8",
    timeout: Optional[float] = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> str:
    """Runs a script in a Python process of its own.

    Returns:
        What it printed to stdout and stderr.

    Raises:
        subprocess.CalledProcessError: it did not end with status 0.
        subprocess.TimeoutExpired: it took longer than timeout seconds.
    """
    process = _start_driver(env, subprocess.STDOUT)
    try:
        out, _ = process.communicate(driver_script.encode(encode), timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        print(out.decode(encode, "replace"))
        raise subprocess.CalledProcessError(process.returncode, process.args, out)
    return out.decode(encode)


def run_string_as_driver_stdout_stderr(
    driver_script: str,
    env: Optional[Dict[str, str]] = None,
    encode: str = "utf-8",
    timeout: Optional[float] = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> "tuple[str, str]":
    """As :func:`run_string_as_driver`; gives (stdout, stderr)."""
    process = _start_driver(env, subprocess.PIPE)
    out, err = process.communicate(driver_script.encode(encode), timeout=timeout)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, out, err)
    return out.decode(encode), err.decode(encode)


def run_string_as_driver_nonblocking(
    driver_script: str, env: Optional[Dict[str, str]] = None
) -> "subprocess.Popen[bytes]":
    """Starts a script in a Python process of its own; gives the process."""
    with tempfile.NamedTemporaryFile("w", suffix=".py", prefix="driver-", delete=False) as file:
        file.write("import os, sys\nos.unlink(__file__)\n" + driver_script)
    return subprocess.Popen(
        [sys.executable, file.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )


def fetch_prometheus(prom_addresses: List[str], timeout: Optional[float] = None) -> "tuple[dict, dict, list]":
    """Reads metrics endpoints.

    Args:
        prom_addresses: host:port of each.

    Returns:
        (names by address, {} , samples as (name, labels, value)).
    """
    import re
    import urllib.request

    names: Dict[str, set] = {}
    samples = []
    for address in prom_addresses:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=timeout or 10) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
            if found and not line.startswith("#"):
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
                samples.append((found.group(1), labels, float(found.group(3))))
                names.setdefault(address, set()).add(found.group(1))
    return names, {}, samples
