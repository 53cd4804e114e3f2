"""What a cluster of one node makes of its surroundings: devices that it may use, lines that do not end."""

import time

import pytest
import ray


@pytest.fixture
def alone():
    ray.shutdown()
    yield
    ray.shutdown()


def test_gpus_are_those_that_this_process_may_use(alone, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(Exception, match="CUDA_VISIBLE_DEVICES names 2"):
        ray.init(num_cpus=1, num_gpus=3, include_dashboard=False)
    ray.init(num_cpus=1, num_gpus=2, include_dashboard=False)

    @ray.remote(num_cpus=0, num_gpus=1)
    class Holder:
        def ids(self):
            import os

            return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"]

    holders = [Holder.remote() for _ in range(2)]
    found = sorted(ray.get([holder.ids.remote() for holder in holders]), key=lambda row: row[1])
    assert [env for _, env in found] == ["4", "GPU-5"]
    assert [ids for ids, _ in found] == [[4], ["GPU-5"]]


def test_a_line_without_an_end_reaches_the_driver(alone, monkeypatch, capfd, until):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(num_cpus=1, include_dashboard=False)

    @ray.remote
    def ask():
        print("and now?", end=" ", flush=True)
        time.sleep(600)

    ref = ask.remote()
    shown = []

    def asked():
        shown.append(capfd.readouterr().out)
        return "and now?" in "".join(shown)

    until(asked)
    ray.cancel(ref, force=True)
