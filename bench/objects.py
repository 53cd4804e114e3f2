"""Large and small objects on one node, beside plain memory copies and plain disk accesses.

    .venv/bin/python bench/objects.py [--cases copy,small,spill,shuffle] [--against PYTHON]

Prints a line of JSON for each engine and case; rates are in GB/s (10^9 bytes), times in microseconds or seconds.
"""

import argparse
import glob
import itertools
import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

MB = 1_000_000
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def best(function, seconds=1.0, least=3):
    """The shortest of the times that function takes."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times), sorted(times)[len(times) // 2]


def shared_memory(np, size, count):
    """Buffers in one mapping of shared memory, their pages at hand."""
    step = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    descriptor = os.memfd_create("bench")
    os.ftruncate(descriptor, step * count)
    whole = np.frombuffer(mmap.mmap(descriptor, step * count), dtype=np.uint8)
    os.close(descriptor)
    whole[:] = 1
    return [whole[at : at + size] for at in range(0, step * count, step)]


def copy(ray, directory):
    """Puts and gets of 1 and 100 MB, beside a copy into memory that is there.

    A copy of 1 MB into one buffer again and again stays in the nearest cache, as no two objects can: so there is
    a second measure, copies into eight buffers in turn, in shared memory as the store's.
    """
    import numpy as np

    ray.init(num_cpus=1, object_store_memory=1500 * MB, include_dashboard=False, log_to_driver=False)
    out = {}
    for size in (1, 100):
        source = np.random.default_rng(1).integers(0, 255, size * MB, dtype=np.uint8)
        target = np.ones_like(source)
        turns = itertools.cycle(shared_memory(np, source.nbytes, 8 if size == 1 else 1))
        for _ in range(20):
            ray.put(source)  # warm pages
        plain = best(lambda source=source, target=target: np.copyto(target, source))[1]
        turn = best(lambda source=source, turns=turns: np.copyto(next(turns), source))[1]
        put = best(lambda source=source: ray.put(source))[1]
        ref = ray.put(source)
        ray.get(ref)
        get = best(lambda ref=ref: ray.get(ref))[1]
        out[f"copy_{size}MB"] = round(size * MB / plain / 1e9, 2)
        out[f"put_{size}MB"] = round(size * MB / put / 1e9, 2)
        out[f"put_{size}MB_of_copy"] = round(plain / put, 2)
        out[f"put_{size}MB_of_copies_in_turn"] = round(turn / put, 2)
        out[f"get_{size}MB_us"] = round(get * 1e6, 1)
    return out


def servers():
    """PSS in bytes of the processes of this cluster that are no workers: by what this process has started."""
    total = 0
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{path}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
            if not re.search(r"__local|__node|__head|gcs_server|raylet", words):
                continue
            with open(f"{path}/environ", "rb") as file:
                if f"OBJECTS_BENCH={os.getpid()}".encode() not in file.read():
                    continue
            with open(f"{path}/smaps_rollup") as file:
                total += int(re.search(r"Pss_Anon: *(\d+)", file.read()).group(1)) << 10
        except (OSError, AttributeError):
            continue
    return total


def small(ray, directory):
    """100,000 small objects: what the cluster's own processes hold for each."""
    os.environ["OBJECTS_BENCH"] = str(os.getpid())
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)

    @ray.remote
    def warm():
        return None

    ray.get([warm.remote() for _ in range(100)])
    before = servers()
    refs = [ray.put(n) for n in range(100_000)]
    ray.wait(refs[-1:])
    time.sleep(1)
    held = servers() - before
    assert ray.get(refs[::1000]) == list(range(0, 100_000, 1000))
    return {"bytes_each": round(held / len(refs))}


def dd(*words):
    """The rate of a dd."""
    done = subprocess.run(["dd", "bs=8M", *words], check=True, stderr=subprocess.PIPE, text=True, env={"LC_ALL": "C"})
    size, seconds = re.search(r"(\d+) bytes.*?([\d.e-]+) s", done.stderr).groups()
    return int(size) / float(seconds) / 1e9


def spill(ray, directory):
    """Objects that go to disk and come back, beside dd past the page cache on the same directory."""
    import numpy as np

    system = {"object_spilling_config": json.dumps({"type": "filesystem", "params": {"directory_path": directory}})}
    ray.init(
        num_cpus=1, object_store_memory=400 * MB, include_dashboard=False, log_to_driver=False, _system_config=system
    )
    plain = f"{directory}/plain"
    count, size = 40, 50 * MB
    write = dd("if=/dev/zero", f"of={plain}", "count=250", "oflag=direct")
    read = dd(f"if={plain}", "of=/dev/null", "iflag=direct")
    os.remove(plain)
    values = [np.random.default_rng(n).integers(0, 255, size, dtype=np.uint8) for n in range(4)]
    for n in range(8):
        ray.put(values[n % 4])
    began = time.perf_counter()
    refs = [ray.put(values[n % 4]) for n in range(count)]
    spilled = (count * size - 400 * MB) / (time.perf_counter() - began) / 1e9
    began = time.perf_counter()
    for n, ref in enumerate(refs[:30]):
        assert ray.get(ref)[-1] == values[n % 4][-1]
    restored = 30 * size / (time.perf_counter() - began) / 1e9
    return {
        "spill": round(spilled, 2),
        "spill_of_dd": round(spilled / write, 2),
        "restore": round(restored, 2),
        "restore_of_dd": round(restored / read, 2),
        "dd_write": round(write, 2),
        "dd_read": round(read, 2),
    }


def shuffle(ray, directory):
    """A sort of random records, twice the store's size, checked."""
    import numpy as np

    ray.init(num_cpus=2, object_store_memory=200 * MB, include_dashboard=False, log_to_driver=False)
    parts, records = 20, 200_000  # of 100 bytes

    def keys(block):
        return block[:, :8].copy().view(">u8").ravel()

    @ray.remote(num_returns=parts)
    def divide(seed):
        block = np.random.default_rng(seed).integers(0, 256, (records, 100), dtype=np.uint8)
        where = (keys(block) >> 32).astype(np.uint64) * parts >> 32
        return tuple(block[where == part] for part in range(parts))

    @ray.remote(num_returns=2)
    def merge(part, *blocks):
        block = np.concatenate(blocks)
        block = block[np.argsort(keys(block), kind="stable")]
        k = keys(block)
        assert (k[1:] >= k[:-1]).all()
        return block, (len(k), int(k[0]), int(k[-1]), int(block.sum(dtype=np.uint64)))

    @ray.remote
    def total(seed):
        return int(np.random.default_rng(seed).integers(0, 256, (records, 100), dtype=np.uint8).sum(dtype=np.uint64))

    began = time.perf_counter()
    divided = [divide.remote(seed) for seed in range(parts)]
    merged = [merge.remote(part, *[blocks[part] for blocks in divided]) for part in range(parts)]
    del divided
    facts = ray.get([fact for _, fact in merged])
    seconds = time.perf_counter() - began
    assert sum(fact[0] for fact in facts) == parts * records
    assert all(a[2] <= b[1] for a, b in zip(facts, facts[1:]))
    assert sum(fact[3] for fact in facts) == sum(ray.get([total.remote(seed) for seed in range(parts)]))
    return {"sorted_MB": parts * records * 100 // MB, "store_MB": 200, "seconds": round(seconds, 2)}


CASES = {"copy": copy, "small": small, "spill": spill, "shuffle": shuffle}


def one(name):
    """Runs a case in this process."""
    if os.environ.get("OBJECTS_OURS"):
        sys.path.insert(0, os.path.join(HERE, "python"))
    import ray

    directory = tempfile.mkdtemp(prefix="objects-", dir=os.environ.get("TMPDIR") or "/tmp")
    try:
        print(json.dumps(CASES[name](ray, directory)))
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--against", help="the Python of another engine")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.one)
    for case in args.cases.split(","):
        for engine, python in (("ours", sys.executable), ("other", args.against)):
            if python:
                env = dict(os.environ, OBJECTS_OURS="1" if engine == "ours" else "", RAY_DEDUP_LOGS="0")
                command = [python, __file__, "--one", case]
                done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
                line = done.stdout.strip().splitlines()[-1:] or ["{}"]
                print(json.dumps({"engine": engine, "case": case, **json.loads(line[0])}), flush=True)


if __name__ == "__main__":
    main()
