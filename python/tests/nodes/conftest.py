"""Clusters of several node processes whose nodes come, drain and go."""

import os
import subprocess
import sys

import pytest

BINARY = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")


@pytest.fixture(scope="module", autouse=True)
def without_token():
    """No token between the processes here; the tests of other directories want theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture
def cli():
    """``cli(cluster, *words)`` runs the command line against a cluster."""

    def run(cluster, *words):
        env = dict(os.environ, RAY_ADDRESS=cluster.address)
        return subprocess.run([BINARY, *words], env=env, capture_output=True, text=True, timeout=60)

    return run
