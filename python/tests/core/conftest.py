"""Makes the package of this repository, and the helpers beside the tests, importable."""

import os
import sys

import pytest

_here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(_here)))
sys.path.insert(0, _here)


@pytest.fixture
def daemon(tmp_path):
    """A fake daemon that ends with the test."""
    from fakedaemon import FakeDaemon

    made = FakeDaemon(str(tmp_path))
    yield made
    made.close()
