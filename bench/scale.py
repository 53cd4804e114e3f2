"""Many at once on one small node: a thousand actors, a hundred thousand queued tasks, and what they cost in memory.

    .venv/bin/python bench/scale.py [--actors 1000] [--tasks 100000]

Prints figures, asserts nothing. Memory is PSS in MB: pages that processes share count once.
"""

import argparse
import gc
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))
os.environ.setdefault("RAY_BINARY", str(ROOT / "bin" / "ray"))

import ray  # noqa: E402


def pss(pid):
    """Proportional set size of a process, in MB; 0 if it has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def tree():
    """pid → command line of this process and everything below it."""
    parents, lines = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            lines[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {os.getpid(): "driver"}
    grew = True
    while grew:
        grew = False
        for pid, parent in parents.items():
            if parent in found and pid not in found:
                found[pid], grew = lines.get(pid, ""), True
    return found


def memory():
    """MB of the driver, of the daemon, and of each further kind of process."""
    out = {"driver": 0.0, "daemon": 0.0, "head": 0.0, "workers": 0.0, "others": 0.0}
    for pid, line in tree().items():
        kind = "others"
        if line == "driver":
            kind = "driver"
        elif "__local" in line or "__node" in line:
            kind = "daemon"
        elif "__head" in line:
            kind = "head"
        elif line.startswith("ray::"):
            kind = "workers"
        out[kind] += pss(pid)
    return out


def show(what, figures):
    print(f"{what}: " + ", ".join(f"{name} {value:.0f}" for name, value in figures.items()), flush=True)


def actors(count):
    """Makes actors that all live at once, calls each, and ends them."""

    @ray.remote
    class Cell:
        def add(self, n):
            return n + 1

    begun = time.perf_counter()
    cells = [Cell.remote() for _ in range(count)]
    answers = ray.get([cell.add.remote(i) for i, cell in enumerate(cells)])
    took = time.perf_counter() - begun
    right = sum(answer == i + 1 for i, answer in enumerate(answers))
    print(f"{count} actors: {right} answered, {took:.1f} s until the last one, {count / took:.0f} a second")
    begun = time.perf_counter()
    ray.get([cell.add.remote(0) for cell in cells for _ in range(10)])
    print(f"{10 * count} calls to all of them: {10 * count / (time.perf_counter() - begun):.0f} a second")
    held = memory()
    show("MB with all alive", held)
    print(f"MB for each: {held['workers'] / count:.2f}")
    begun = time.perf_counter()
    del cells
    gc.collect()
    while sum(line.startswith("ray::") for line in tree().values()) > 10:
        time.sleep(0.1)
    print(f"gone {time.perf_counter() - begun:.1f} s after the last handle")
    show("MB after them", memory())


def queued(count):
    """Queues tasks behind two that wait, lets them run, and looks at memory before, meanwhile and after."""
    gate = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"scale-gate-{os.getpid()}")

    @ray.remote
    def wait(path):
        while not os.path.exists(path):
            time.sleep(0.05)

    @ray.remote
    def one(i):
        return i

    ray.get([one.remote(i) for i in range(1000)])
    gc.collect()
    before = memory()
    show("MB before", before)
    blockers = [wait.remote(gate) for _ in range(2)]
    begun = time.perf_counter()
    refs = [one.remote(i) for i in range(count)]
    took = time.perf_counter() - begun
    time.sleep(1)
    held = memory()
    show(f"MB with {count} tasks queued", held)
    print(f"driver and daemon together: {held['driver'] + held['daemon']:.0f} MB; submitted {count / took:.0f} a second")
    begun = time.perf_counter()
    open(gate, "w").close()
    assert ray.get(refs) == list(range(count))
    print(f"run in {time.perf_counter() - begun:.1f} s")
    show("MB with all results held", memory())
    del refs, blockers
    gc.collect()
    os.unlink(gate)
    for seconds in (1, 10, 30):
        time.sleep(seconds - (0 if seconds == 1 else seconds // 3))
        show(f"MB about {seconds} s after the last reference", memory())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actors", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=100_000)
    options = parser.parse_args()
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    if options.tasks:
        queued(options.tasks)
    if options.actors:
        actors(options.actors)
    ray.shutdown()


if __name__ == "__main__":
    main()
