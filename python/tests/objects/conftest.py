"""Clusters whose nodes and workers may be killed."""

import contextlib
import gc
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def without_token():
    """No token between the processes here; the tests of other directories want theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture
def start():
    """``start(**options)`` is ray.init for one test."""
    import ray

    def begin(**options):
        return ray.init(**dict(dict(num_cpus=2, include_dashboard=False, log_to_driver=False), **options))

    yield begin
    gc.collect()
    ray.shutdown()


@pytest.fixture
def tally(tmp_path):
    """``tally()`` gives hit() and count(), which work from every process."""

    class Tally:
        def __init__(self, path):
            self.path = path

        def hit(self):
            with open(self.path, "ab", buffering=0) as file:
                file.write(b"x")

        def count(self):
            with contextlib.suppress(FileNotFoundError):
                return os.path.getsize(self.path)
            return 0

    numbers = iter(range(100))
    return lambda: Tally(str(tmp_path / f"tally{next(numbers)}"))


def spill_files(directory):
    """The spilled objects below a directory."""
    found = []
    for folder, _, names in os.walk(directory):
        if "ray_spilled_objects_" in folder:
            found += [os.path.join(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


@pytest.fixture
def spilled():
    """``spilled(directory)`` lists the files of spilled objects."""
    return spill_files
