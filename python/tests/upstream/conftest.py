"""One small local cluster for all tests of this folder."""

import os
import shutil

import pytest
import ray


@pytest.fixture(scope="session")
def cluster():
    """This process is the driver of a local cluster with three CPUs."""
    if not (os.environ.get("RAY_BINARY") or shutil.which("ray")):
        pytest.skip("needs the ray command: set RAY_BINARY")
    ray.init(num_cpus=3, resources={"spice": 2}, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
