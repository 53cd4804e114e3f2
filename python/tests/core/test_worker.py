"""A worker process against a fake daemon: how it ends."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import atexit, os, signal, sys, threading
from fakedaemon import FakeDaemon
from ray._core import state
from ray._core.runner import Worker

first = [True]
kill = signal.pthread_kill

def lossy(thread, number):
    # A signal that comes just before a system call does not end it.
    if first:
        first.clear()
    else:
        kill(thread, number)

signal.pthread_kill = lossy
worker = Worker(FakeDaemon(sys.argv[1]).connect(), None)
signal.signal(signal.SIGUSR2, worker.on_exit_signal)
atexit.register(print, "exit handlers have run")
waits = worker.client._pump

def pump(timeout):
    worker.client._pump = waits
    threading.Timer(0.1, worker._exit_order, (True, "idle")).start()
    return waits(timeout)

worker.client._pump = pump
worker.run()
"""


@pytest.mark.timeout(60)
def test_an_idle_worker_hears_that_it_is_to_exit_whenever_it_is_told(tmp_path):
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([here, os.path.dirname(os.path.dirname(here))])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "exit handlers have run\n"), done.stderr
