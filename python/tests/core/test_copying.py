"""Copies that several threads share."""

import threading

import pytest
from ray._core import copying

numpy = pytest.importorskip("numpy")


@pytest.fixture(autouse=True)
def four(monkeypatch):
    monkeypatch.setattr(copying, "_THREADS", 4)
    monkeypatch.setattr(copying, "_PART", 1000)


def arrays(size):
    return numpy.zeros(size, "u1"), numpy.random.default_rng(size).integers(0, 256, size, dtype="u1")


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 123_456])
def test_all_of_it_is_copied(size):
    target, source = arrays(size)
    copying.copy_shared(numpy.copyto, target, source)
    assert (target == source).all()


def test_several_threads_take_part():
    """Each part waits until four are under way at once: by fewer threads it would never end."""
    target, source = arrays(4000)
    together = threading.Barrier(4, timeout=30)

    def copy(to, what):
        together.wait()
        numpy.copyto(to, what)

    copying.copy_shared(copy, target, source)
    assert (target == source).all()


def test_nobody_writes_after_an_interrupt():
    target, source = arrays(100_000)
    caller, writing, go = threading.current_thread(), threading.Event(), threading.Event()

    def copy(to, what):
        if threading.current_thread() is caller:
            writing.wait(30)
            threading.Timer(0.05, go.set).start()
            raise KeyboardInterrupt
        writing.set()
        go.wait(30)
        numpy.copyto(to, what)

    with pytest.raises(KeyboardInterrupt):
        copying.copy_shared(copy, target, source)
    assert go.is_set() and not [t for t in threading.enumerate() if t.name == "ray-copy"]
    written = (target == source).mean()
    assert 0 < written < 0.1, "what had begun was waited for, nothing new was begun"


def test_without_threads_the_caller_does_it(monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    target, source = arrays(50_000)
    copying.copy_shared(numpy.copyto, target, source)
    assert (target == source).all()
