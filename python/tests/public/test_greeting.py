"""What ray.init says on stderr."""

import subprocess
import sys

import pytest


@pytest.fixture
def driver(monkeypatch):
    """``driver(code)``: stderr of a process of its own that runs code."""
    for name in ("RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    def run(code):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def test_a_new_cluster_is_told_with_its_dashboard_and_a_found_one_with_its_address(driver):
    said = driver(
        """
import subprocess, sys, ray
context = ray.init("local", num_cpus=1)
code = "import ray; ray.init('" + context.address_info["gcs_address"] + "')"
found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
assert "Connecting to existing Ray cluster at address: " + context.address_info["gcs_address"] in found.stderr, found
assert "Connected to Ray cluster." in found.stderr and "Started" not in found.stderr, found.stderr
"""
    )
    assert "INFO" in said and "Started a local Ray instance. View the dashboard at http://" in said


def test_nothing_is_said_below_the_level_and_no_handler_is_replaced(driver):
    assert "Started" not in driver("import ray; ray.init('local', num_cpus=1, logging_level='warning')")
    code = """
import logging, ray
own = logging.StreamHandler()
own.setFormatter(logging.Formatter("mine: %(message)s"))
logging.getLogger("ray").addHandler(own)
ray.init("local", num_cpus=1, include_dashboard=False)
"""
    assert "mine: Started a local Ray instance.\n" in driver(code)
