"""Clusters of several node processes whose nodes come, drain and go."""

import os
import subprocess
import sys

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "disabled")

BINARY = os.environ.get("RAY_BINARY") or os.path.join(os.path.dirname(sys.executable), "ray")


@pytest.fixture
def cli():
    """``cli(cluster, *words)`` runs the command line against a cluster."""

    def run(cluster, *words):
        env = dict(os.environ, RAY_ADDRESS=cluster.address)
        return subprocess.run([BINARY, *words], env=env, capture_output=True, text=True, timeout=60)

    return run
