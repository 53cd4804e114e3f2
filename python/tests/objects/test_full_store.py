"""A store that is too small: what goes to disk, what waits, what fails."""

import json
import os
import subprocess
import threading
import time

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError, ObjectStoreFullError, OutOfDiskError
from ray.util.state import list_cluster_events, list_objects

MIB = 1 << 20


def blob(n, mib):
    """An array of so many MiB that tells its number."""
    array = np.full(mib * MIB, n % 251, dtype=np.uint8)
    array[:8] = np.frombuffer(np.int64(n).tobytes(), dtype=np.uint8)
    return array


def test_object_larger_than_the_store(start):
    start(object_store_memory=80 * MIB)
    data = np.random.default_rng(1).integers(0, 255, 150 * MIB, dtype=np.uint8)
    ref = ray.put(data)
    assert np.array_equal(ray.get(ref), data)

    @ray.remote
    def back(array):
        return array[::-1].copy()

    assert np.array_equal(ray.get(back.remote(ref)), data[::-1])


def test_pinned_store_goes_to_disk(start):
    start(object_store_memory=80 * MIB)
    refs = [ray.put(blob(n, 20)) for n in range(10)]
    values = [ray.get(ref) for ref in refs]
    assert [int(value[:8].view(np.int64)[0]) for value in values] == list(range(10))
    values.append(ray.get(ray.put(blob(10, 30))))
    assert int(values[-1][-1]) == 10


def test_several_directories_take_turns_and_are_removed(start, tmp_path, spilled):
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    config = {"type": "filesystem", "params": {"directory_path": paths, "buffer_size": 1 << 20}}
    start(
        object_store_memory=80 * MIB,
        _system_config={"object_spilling_config": json.dumps(config), "min_spilling_size": 1},
    )
    refs = [ray.put(blob(n, 10)) for n in range(20)]
    counts = [len(spilled(path)) for path in paths]
    assert min(counts) >= 4 and abs(counts[0] - counts[1]) <= 2  # one may be in the making
    for n, ref in enumerate(refs):
        assert int(ray.get(ref)[:8].view(np.int64)[0]) == n
    del refs
    ray.shutdown()
    assert [os.listdir(path) for path in paths] == [[], []]


FOLDER = {"type": "filesystem", "params": {"directory_path": "/tmp"}}


@pytest.mark.parametrize(
    "config, says",
    [
        ({"type": "smoke", "params": {}}, "not supported yet"),
        ({"type": "smart_open", "params": {"uri": "gs://bucket/x"}}, "not supported yet.*gs://"),
        ({"type": "smart_open", "params": {"uri": []}}, "no params.uri"),
        ({"type": "filesystem", "params": {"directory_path": []}}, "no params.directory_path"),
        (dict(FOLDER, params=dict(FOLDER["params"], buffer_size=0)), "buffer_size must be"),
        (dict(FOLDER, params=dict(FOLDER["params"], bufer_size=1)), "bufer_size"),
        ("smoke", "not valid"),
    ],
)
def test_wrong_spilling_config_is_refused(start, config, says):
    text = config if isinstance(config, str) else json.dumps(config)
    with pytest.raises(ValueError, match=says):
        start(_system_config={"object_spilling_config": text})
    assert not ray.is_initialized()


def test_small_objects_share_files(start, tmp_path, spilled, until):
    system = {"min_spilling_size": 20 * MIB}
    start(object_store_memory=80 * MIB, object_spilling_directory=str(tmp_path), _system_config=system)
    refs = [ray.put(blob(n, 1)) for n in range(150)]
    until(lambda: max(os.path.getsize(path) for path in spilled(tmp_path)) >= 20 * MIB)
    assert len(spilled(tmp_path)) <= 8  # of 70 objects or more
    for n, ref in enumerate(refs):
        assert int(ray.get(ref)[:8].view(np.int64)[0]) == n
    del refs[1:], ref
    until(lambda: len(spilled(tmp_path)) <= 1)
    assert int(ray.get(refs[0])[:8].view(np.int64)[0]) == 0
    del refs
    until(lambda: not spilled(tmp_path))


def test_freed_objects_leave_no_files(start, tmp_path, spilled, until):
    start(object_store_memory=80 * MIB, object_spilling_directory=str(tmp_path))
    refs = [ray.put(blob(n, 10)) for n in range(16)]
    assert spilled(tmp_path)
    del refs
    until(lambda: not spilled(tmp_path))


def test_full_disk(start, tmp_path, until):
    start(
        object_store_memory=80 * MIB,
        _system_config={"local_fs_capacity_threshold": 0},
        object_spilling_directory=str(tmp_path),
    )
    refs = [ray.put(blob(n, 20)) for n in range(3)]
    with pytest.raises(OutOfDiskError, match="no disk space") as caught:
        ray.put(blob(3, 60))
    assert refs[0].hex() in str(caught.value)
    del refs
    assert ray.get(ray.put(blob(4, 60)))[-1] == 4
    told = until(lambda: [row for row in list_cluster_events() if "Object creation will fail" in row["message"]])
    assert [row["severity"] for row in told] == ["ERROR"] and str(tmp_path) in told[0]["message"]


def test_put_waits_for_others_to_let_go(start):
    start(
        object_store_memory=80 * MIB,
        _system_config={"local_fs_capacity_threshold": 0},
    )
    held = [ray.get(ray.put(blob(0, 70)))]
    begun = time.monotonic()
    threading.Timer(0.5, held.clear).start()
    ref = ray.put(blob(1, 70))
    assert time.monotonic() - begun > 0.4
    assert ray.get(ref)[-1] == 1


def test_full_store_without_a_disk(start, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    start(object_store_memory=80 * MIB, object_spilling_directory=str(file))
    held = ray.get(ray.put(blob(0, 50)))
    with pytest.raises(ObjectStoreFullError, match="in use by 1 process"):
        ray.put(blob(1, 50))
    assert held[-1] == 0


ONE_A_FILE = {"max_fused_object_count": 1}


def first_object(path):
    """The object that a spill file begins with; its name tells."""
    return os.path.basename(path).split("-")[0]


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "directory"])
def test_damaged_spill_file(start, tmp_path, spilled, damage):
    start(object_store_memory=80 * MIB, object_spilling_directory=str(tmp_path), _system_config=ONE_A_FILE)

    @ray.remote
    def make():
        return blob(7, 30)

    made, put = make.remote(), ray.put(blob(8, 30))
    ray.wait([made], fetch_local=False)
    fillers = [ray.put(blob(n, 30)) for n in range(4)]
    names = {first_object(path): path for path in spilled(tmp_path)}
    assert made.hex() in names and put.hex() in names
    for ref in (made, put):
        path = names[ref.hex()]
        if damage == "cut":
            os.truncate(path, 1000)
        elif damage == "flip":
            with open(path, "r+b") as file:
                file.seek(15 * MIB)
                file.write(b"\xff" * 5)
        elif damage == "remove":
            os.remove(path)
        elif os.path.exists(path):
            import shutil

            shutil.rmtree(os.path.dirname(path))
    array = ray.get(made, timeout=60)  # made again
    assert array[-1] == 7 and array.nbytes == 30 * MIB
    with pytest.raises(ObjectLostError, match="ray.put"):
        ray.get(put, timeout=60)
    if damage != "directory":
        assert ray.get(fillers[0])[-1] == 0
    del fillers, array
    assert ray.get(ray.put(blob(9, 60)))[-1] == 9


def test_damaged_argument_is_made_again(start, tmp_path, spilled):
    start(object_store_memory=80 * MIB, object_spilling_directory=str(tmp_path), _system_config=ONE_A_FILE)

    @ray.remote
    def make():
        return blob(7, 30)

    @ray.remote
    def last(array):
        return int(array[-1])

    made = make.remote()
    ray.wait([made], fetch_local=False)
    fillers = [ray.put(blob(n, 30)) for n in range(3)]
    for path in spilled(tmp_path):
        if first_object(path) == made.hex():
            os.truncate(path, 0)
    assert ray.get(last.remote(made), timeout=60) == 7
    del fillers


def test_killed_worker_gives_its_memory_back(start, tmp_path):
    start(object_store_memory=80 * MIB, _system_config={"local_fs_capacity_threshold": 0})
    ref = ray.put(blob(1, 30))

    @ray.remote(max_restarts=0)
    class Holder:
        def hold(self, refs):
            self.array = ray.get(refs[0])
            self.mine = ray.get(ray.put(blob(2, 30)))
            return os.getpid()

    holder = Holder.remote()
    os.kill(ray.get(holder.hold.remote([ref])), 9)
    del ref
    assert ray.get(ray.put(blob(3, 70)))[-1] == 3


def test_references_in_cycles_are_let_go_when_the_store_fills(start, until):
    """Nothing but the collector of Python frees them, and a process that is idle never runs it."""
    start(object_store_memory=100 * MIB)

    @ray.remote(num_cpus=0)
    class Tangler:
        def __init__(self):
            import gc

            gc.disable()

        def tangle(self):
            knot = [ray.put(np.zeros(20 * MIB, np.uint8))]
            knot.append(knot)

    tangler = Tangler.remote()
    for _ in range(3):
        ray.get(tangler.tangle.remote())
    assert len(large()) == 3
    ray.get(tangler.tangle.remote())
    until(lambda: not large())


def collect_by_call():
    ray._private.internal_api.global_gc()


def collect_by_verb():
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(["ray", "global-gc", "--address", address], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "Triggered gc.collect() on all workers.\n"), done.stderr


@pytest.mark.parametrize("collect", [collect_by_call, collect_by_verb])
def test_garbage_is_collected_at_a_users_wish(start, until, collect):
    start(object_store_memory=100 * MIB)

    @ray.remote(num_cpus=0)
    class Tangler:
        def __init__(self):
            import gc

            gc.disable()

        def tangle(self):
            knot = [ray.put(np.zeros(20 * MIB, np.uint8))]
            knot.append(knot)

    tangler = Tangler.remote()
    ray.get(tangler.tangle.remote())
    assert len(large()) == 1
    collect()
    until(lambda: not large())


def large():
    """The objects of more than a megabyte that anything refers to."""
    return [row for row in list_objects() if row.object_size and row.object_size > MIB]
