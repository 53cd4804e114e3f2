#!/usr/bin/env python3
"""How long things take to begin, and what they cost while idle.

    python bench/startup.py [--rounds 5] [--json FILE]

Measures, each round in fresh processes:

* `ray start --head` until the command returns, and until a driver that is
  started then has the result of a task;
* in that driver: `import ray`, `ray.init(address)`, the first task, a second one;
* `ray.init()` without a cluster, the first task, and the start of a worker
  (an actor's creation and its first call, with the fork server warm);
* memory (PSS: shared pages are divided among those who share them) of an idle
  head machine, two seconds after its last work, and of one idle worker.

Prints medians. The `ray` program is the one beside this Python, or on PATH.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DRIVER = """
import json, sys, time
t0 = time.perf_counter()
import ray
t1 = time.perf_counter()
ray.init(**json.loads(sys.argv[1]))
t2 = time.perf_counter()
@ray.remote
def pid():
    import os
    return os.getpid()
ray.get(pid.remote())
t3 = time.perf_counter()
worker = ray.get(pid.remote())
t4 = time.perf_counter()
@ray.remote(num_cpus=0)
class Actor:
    def ping(self):
        return 1
actors = []
starts = []
for _ in range(5):
    before = time.perf_counter()
    actors.append(Actor.remote())
    ray.get(actors[-1].ping.remote())
    starts.append(time.perf_counter() - before)
time.sleep(0.5)
pss = 0
with open(f"/proc/{worker}/smaps_rollup") as file:
    for line in file:
        if line.startswith("Pss:"):
            pss = int(line.split()[1]) / 1024
print(json.dumps({
    "import_s": t1 - t0, "init_s": t2 - t1, "first_task_s": t3 - t2, "second_task_s": t4 - t3,
    "worker_start_s": sorted(starts)[2], "worker_pss_mb": pss,
}))
sys.stdout.flush()
ray.shutdown()
"""


def ray_program() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "ray")
    found = beside if os.path.exists(beside) else shutil.which("ray")
    if not found:
        sys.exit("startup.py: no program 'ray' beside this Python or on PATH: run scripts/build first")
    return found


def drive(options: dict, env: dict) -> "tuple[dict, float]":
    """Figures of one driver, and how long its process took in all."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(options)], stdout=subprocess.PIPE, text=True, env=env, timeout=120
    )
    took = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"startup.py: a driver failed with status {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1]), took


def descendants(pid: int) -> "list[int]":
    """pid and all processes that it has begun, directly or not."""
    children: "dict[int, list[int]]" = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        todo += children.get(current, [])
    return found


def pss_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def one_round() -> "dict[str, float]":
    folder = tempfile.mkdtemp(prefix="rb")
    env = {**os.environ, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"}
    env.pop("RAY_ADDRESS", None)
    figures: "dict[str, float]" = {}
    ray = ray_program()
    command = [
        ray,
        "start",
        "--head",
        "--port=0",
        "--num-cpus=2",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
        "--object-store-memory=268435456",
    ]
    try:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env, timeout=120)
        figures["ray start --head (s)"] = time.perf_counter() - start
        with open(os.path.join(folder, "session.json")) as file:
            announced = json.load(file)
        driver, _ = drive({"address": announced["address"], "log_to_driver": False}, env)
        ready = sum(driver[name] for name in ("import_s", "init_s", "first_task_s"))
        figures["ray start --head until a task is done (s)"] = figures["ray start --head (s)"] + ready
        figures["import ray (s)"] = driver["import_s"]
        figures["ray.init(address) (s)"] = driver["init_s"]
        figures["first task (s)"] = driver["first_task_s"]
        figures["second task (s)"] = driver["second_task_s"]
        time.sleep(2)  # the memory of an idle machine is asked for: let it become idle
        processes = descendants(announced["pid"])
        figures["idle head machine, PSS (MB)"] = sum(pss_mb(pid) for pid in processes)
        figures["idle head machine, processes"] = len(processes)
    finally:
        subprocess.run([ray, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
    alone, _ = drive({"num_cpus": 2, "object_store_memory": 268435456, "log_to_driver": False}, env)
    figures["ray.init() with a new cluster (s)"] = alone["init_s"]
    figures["first task after it (s)"] = alone["first_task_s"]
    figures["start of a worker (s)"] = alone["worker_start_s"]
    figures["idle worker, PSS (MB)"] = alone["worker_pss_mb"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="also write the medians to this file")
    arguments = parser.parse_args()
    rounds = [one_round() for _ in range(arguments.rounds)]
    medians = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    for name, value in medians.items():
        spread = [figures[name] for figures in rounds]
        print(f"{name:46}{value:10.3f}   ({min(spread):.3f} to {max(spread):.3f})")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(medians, file, indent=2)


if __name__ == "__main__":
    main()
