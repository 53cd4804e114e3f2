#!/usr/bin/env python3
"""A tour of a cluster in one job.

    ray submit --env MY_VARIABLE=foo cluster.yaml examples/job.py -- --kwargs iterations=7
    python examples/job.py numpy cloudpickle --kwargs iterations=3 --only hello,counter

It asks for more than a small head has (4-CPU tasks, a GPU), so on a cluster
with an autoscaler machines join while it runs and leave after it. Without one,
start Ray with enough CPUs and GPUs, or choose parts with --only.
"""

import argparse
import os
import signal
import sys
import time
from importlib import metadata

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy


def key_value(text: str) -> "tuple[str, str]":
    """One k=v of --kwargs."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return key, value


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", help="packages whose versions to print")
    parser.add_argument(
        "--kwargs",
        nargs="*",
        type=key_value,
        default=[],
        metavar="NAME=VALUE",
        help="iterations (5): how often to count; megabytes (200): size of the shared array",
    )
    parser.add_argument("--only", help=f"parts to run, separated by commas: {','.join(PARTS)}")
    arguments = parser.parse_args()
    arguments.kwargs = dict(arguments.kwargs)
    return arguments


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def where() -> str:
    """Short name of the node that calls."""
    return f"node {ray.get_runtime_context().get_node_id()[:8]}"


# ---------------------------------------------------------------- the parts


def hello(arguments: argparse.Namespace) -> None:
    """What came with the submission: a variable, arguments, the environment's packages."""
    title("Hello")
    print("MY_VARIABLE is", os.environ.get("MY_VARIABLE", "(not set)"))
    print("arguments:", arguments.kwargs or "(none)")
    print("Python", sys.version.split()[0], "and Ray", ray.__version__)
    for package in arguments.packages:
        try:
            print(package, metadata.version(package))
        except metadata.PackageNotFoundError:
            print(package, "(not installed)")
    total = ray.cluster_resources()
    print("the cluster begins with", int(total.get("CPU", 0)), "CPUs and", int(total.get("GPU", 0)), "GPUs")


@ray.remote
class Counter:
    """An actor is an object that lives in a process of its own."""

    def __init__(self):
        self.value = 0

    def increment(self) -> int:
        self.value += 1
        print("counting:", self.value)  # what a worker prints appears on the driver's terminal
        return self.value


def count(arguments: argparse.Namespace) -> None:
    """Calls of one caller run in the order in which they were made."""
    title("An actor that counts")
    counter = Counter.remote()
    for _ in range(int(arguments.kwargs.get("iterations", 5))):
        print("the counter says", ray.get(counter.increment.remote()))


@ray.remote(num_cpus=4)
def large_task(number: int) -> "tuple[int, str]":
    print(f"large task {number} runs on {where()}")
    time.sleep(1)
    return number * number, where()


def scale(arguments: argparse.Namespace) -> None:
    """These tasks do not fit on a head with 2 CPUs: machines are started for them."""
    title("Tasks of 4 CPUs each: the cluster grows")
    start = time.monotonic()
    results = ray.get([large_task.remote(i) for i in range(4)])
    print("squares:", [square for square, _ in results])
    print(f"{len({node for _, node in results})} node(s), {time.monotonic() - start:.1f} s with their start")


@ray.remote(num_gpus=1)
def gpu_task() -> str:
    return f"GPU {ray.get_gpu_ids()} on {where()}, CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')}"


def gpu(arguments: argparse.Namespace) -> None:
    """A task with a GPU sees its own devices and no others."""
    title("A task that needs a GPU")
    print("it got", ray.get(gpu_task.remote()))


@ray.remote(num_cpus=1)
def member() -> str:
    return where()


def group(arguments: argparse.Namespace) -> None:
    """Reserves resources together: all bundles or none."""
    title("A placement group of two bundles")
    bundles = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="SPREAD")
    ray.get(bundles.ready())
    print("it is", placement_group_table(bundles)["state"].lower())
    places = [
        member.options(
            scheduling_strategy=PlacementGroupSchedulingStrategy(bundles, placement_group_bundle_index=index)
        ).remote()
        for index in range(2)
    ]
    for index, place in enumerate(ray.get(places)):
        print(f"bundle {index} is on {place}")
    remove_placement_group(bundles)


@ray.remote
def partial_sum(array, part: int, parts: int) -> float:
    # The array is read where it lies, in shared memory: nobody copies 200 MB.
    return float(array[part::parts].sum())


def share(arguments: argparse.Namespace) -> None:
    """An array stored once is read by many tasks."""
    import numpy as np  # of the environment that runs the job

    megabytes = int(arguments.kwargs.get("megabytes", 200))
    title(f"An array of {megabytes} MB, put once, used by 8 tasks")
    array = np.ones(megabytes * 1_000_000 // 8)
    reference = ray.put(array)
    total = sum(ray.get([partial_sum.remote(reference, part, 8) for part in range(8)]))
    print(f"the sum of its {array.size:,} ones is {total:,.0f}")
    assert total == array.size


@ray.remote(num_cpus=0)
class Attempts:
    """Remembers across retries how often a task has begun."""

    def __init__(self):
        self.count = 0

    def begin(self) -> int:
        self.count += 1
        return self.count


@ray.remote(max_retries=2)
def unlucky(attempts) -> int:
    attempt = ray.get(attempts.begin.remote())
    print(f"attempt {attempt} begins")
    if attempt == 1:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)  # as if the machine had run out of memory
    return attempt


def retry(arguments: argparse.Namespace) -> None:
    """The worker of this task is killed half-way; the task runs again."""
    title("A task whose worker is killed")
    attempt = ray.get(unlucky.remote(Attempts.remote()))
    print(f"it succeeded in attempt {attempt}")
    assert attempt == 2


PARTS = {
    "hello": hello,
    "counter": count,
    "scale": scale,
    "gpu": gpu,
    "group": group,
    "share": share,
    "retry": retry,
}


def main() -> int:
    arguments = parse()
    wanted = arguments.only.split(",") if arguments.only else list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"job.py: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    start = time.monotonic()
    # Inside a submitted job this joins the cluster; by itself it starts one.
    ray.init()
    for name in wanted:
        PARTS[name](arguments)
    print(f"\nAll done in {time.monotonic() - start:.1f} s.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
