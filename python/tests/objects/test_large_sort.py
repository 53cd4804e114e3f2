"""A sort of several times what the store holds: it ends, it is right, and no process grows with the data."""

import os
import re
import threading

import numpy as np
import ray

MIB = 1 << 20
STORE = 80 * MIB
PARTS = 25
RECORDS = 130_000  # of 100 bytes in each part: 13 MB; four times the store in all


def keys(block):
    return block[:, :8].copy().view(">u8").ravel()


def records(seed):
    return np.frombuffer(np.random.default_rng(seed).bytes(RECORDS * 100), dtype=np.uint8).reshape(RECORDS, 100)


@ray.remote(num_returns=PARTS + 1)
def divide(seed):
    block = records(seed)
    where = (keys(block) >> 32).astype(np.uint64) * PARTS >> 32
    return (*(block[where == part] for part in range(PARTS)), int(block.sum(dtype=np.uint64)))


@ray.remote(num_returns=2)
def merge(*blocks):
    block = np.concatenate(blocks)
    block = block[np.argsort(keys(block), kind="stable")]
    k = keys(block)
    ordered = bool((k[1:] >= k[:-1]).all())
    return block, (len(k), int(k[0]), int(k[-1]), int(block.sum(dtype=np.uint64)), ordered)


@ray.remote
def look(block):
    k = keys(block)
    return len(block), int(k[0]), int(k[-1])


class Peaks(threading.Thread):
    """Watches the processes below this one: the most memory that each has had to itself, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.own = {}

    def below(self):
        children = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat") as file:
                        parent = int(file.read().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(name))
        found = [os.getpid()]
        for pid in found:
            found += children.get(pid, [])
        return found[1:]

    def run(self):
        while not self.over.wait(0.05):
            for pid in self.below():
                try:
                    with open(f"/proc/{pid}/status") as file:
                        text = file.read()
                except OSError:
                    continue
                own = re.search(r"RssAnon:\s*(\d+)", text)
                name = re.search(r"Name:\s*(.*)", text).group(1)
                if own:
                    key = name, pid
                    self.own[key] = max(self.own.get(key, 0), int(own.group(1)) << 10)

    def __enter__(self):
        self.start()
        return self.own

    def __exit__(self, *_):
        self.over.set()
        self.join()


def test_a_sort_of_four_times_the_store(start, tmp_path):
    start(object_store_memory=STORE, object_spilling_directory=str(tmp_path))
    with Peaks() as own:
        divided = [divide.remote(seed) for seed in range(PARTS)]
        merged = [merge.remote(*[blocks[part] for blocks in divided]) for part in range(PARTS)]
        sums = [blocks[PARTS] for blocks in divided]
        del divided
        facts = ray.get([fact for _, fact in merged], timeout=120)
        again = ray.get([look.remote(block) for block, _ in merged], timeout=120)
        sums = sum(ray.get(sums))
    assert sum(fact[0] for fact in facts) == PARTS * RECORDS
    assert all(fact[4] for fact in facts)
    assert all(a[2] <= b[1] for a, b in zip(facts, facts[1:]))
    assert sum(fact[3] for fact in facts) == sums
    assert again == [fact[:3] for fact in facts]
    # 325 MB were put, twice; a task has its 13 MB in hand a few times over.
    assert {"ray", "python"} <= {name for name, _ in own}
    assert max(own.values()) < 160 * MIB, own
