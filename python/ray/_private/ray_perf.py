"""``ray microbenchmark``: how many tasks, calls and objects a second.

The cases have upstream's names, so that figures of two installations can be
laid side by side. Each is run for ``ROUNDS`` rounds of ``SECONDS`` after a
warm-up; what is printed is the mean and the standard deviation of the rounds.
"""

import os
import statistics
import time
from typing import Any, Callable, Dict, Iterator, List, Tuple

import ray
from ray.util.placement_group import placement_group, remove_placement_group

SECONDS = float(os.environ.get("RAY_PERF_SECONDS", "2"))
ROUNDS = 4
BATCH = 1000

# A case: its name, what is timed, and how many operations that is.
Case = Tuple[str, Callable[[], Any], float]


@ray.remote
def small_value() -> bytes:
    return b"ok"


@ray.remote
def put_many(value: Any, times: int) -> None:
    for _ in range(times):
        ray.put(value)


@ray.remote
def put_zeros(megabytes: int, times: int) -> None:
    for _ in range(times):
        ray.put(zeros(megabytes))


def zeros(megabytes: int) -> Any:
    """Bytes that pickle can hand over as they are: a numpy array, or without numpy a bytearray, which it copies."""
    try:
        import numpy
    except ImportError:
        return bytearray(megabytes << 20)
    return numpy.zeros(megabytes << 20, dtype=numpy.uint8)


@ray.remote
def many_refs(count: int) -> List[Any]:
    return [ray.put(1) for _ in range(count)]


class _Target:
    def small_value(self) -> bytes:
        return b"ok"

    def with_arg(self, _: Any) -> bytes:
        return b"ok"

    def call_all(self, targets: List[Any], each: int, with_arg: bool = False) -> None:
        argument = ray.put(0) if with_arg else None
        if with_arg:
            ray.get([t.with_arg.remote(argument) for t in targets for _ in range(each)])
        else:
            ray.get([t.small_value.remote() for t in targets for _ in range(each)])

    def tasks(self, count: int) -> None:
        ray.get([small_value.remote() for _ in range(count)])


class _AsyncTarget:
    async def small_value(self) -> bytes:
        return b"ok"

    async def with_arg(self, _: Any) -> bytes:
        return b"ok"


def object_cases() -> Iterator[Case]:
    small, large = ray.put(0), zeros(800)
    refs = many_refs.remote(10_000)
    gigabyte = 1.024**3  # of 1024**3 bytes
    clients = range(10)

    def wait_one_by_one() -> None:
        left = [small_value.remote() for _ in range(BATCH)]
        while left:
            _, left = ray.wait(left)

    yield "single client get calls (Plasma Store)", lambda: ray.get(small), 1
    yield "single client put calls (Plasma Store)", lambda: ray.put(0), 1
    yield "multi client put calls (Plasma Store)", lambda: ray.get([put_many.remote(0, 100) for _ in clients]), 1000
    yield "single client put gigabytes", lambda: ray.put(large), 0.78125 * gigabyte
    yield "multi client put gigabytes", lambda: ray.get([put_zeros.remote(80, 10) for _ in clients]), 7.8125 * gigabyte
    yield "single client get object containing 10k refs", lambda: ray.get(refs), 1
    yield "single client wait 1k refs", wait_one_by_one, 1


def task_cases() -> Iterator[Case]:
    clients = [_actor().remote() for _ in range(4)]
    each = 10 * BATCH
    yield "single client tasks and get batch", lambda: ray.get([small_value.remote() for _ in range(BATCH)]), 1
    yield "single client tasks sync", lambda: ray.get(small_value.remote()), 1
    yield "single client tasks async", lambda: ray.get([small_value.remote() for _ in range(BATCH)]), BATCH
    yield "multi client tasks async", lambda: ray.get([c.tasks.remote(each) for c in clients]), each * len(clients)


def _actor() -> Any:
    return ray.remote(num_cpus=0)(_Target)


def actor_cases(kind: str, make: Callable[[], Any]) -> Iterator[Case]:
    one, count = make(), max(1, (os.cpu_count() or 2) // 2)
    targets = [make() for _ in range(count)]
    clients = [_actor().remote() for _ in range(4)]
    yield f"1:1 {kind} calls sync", lambda: ray.get(one.small_value.remote()), 1
    yield f"1:1 {kind} calls async", lambda: ray.get([one.small_value.remote() for _ in range(BATCH)]), BATCH
    yield f"1:1 {kind} calls with args async", lambda: ray.get([one.with_arg.remote(i) for i in range(BATCH)]), BATCH
    yield f"1:n {kind} calls async", lambda: ray.get(clients[0].call_all.remote(targets, 5 * BATCH)), 5 * BATCH * count
    yield (
        f"n:n {kind} calls async",
        lambda: ray.get([c.call_all.remote(targets, 5 * BATCH // count) for c in clients]),
        5 * BATCH // count * count * len(clients),
    )
    yield (
        f"n:n {kind} calls with arg async",
        lambda: ray.get([c.call_all.remote(targets, BATCH // count, True) for c in clients]),
        BATCH // count * count * len(clients),
    )


def concurrent_cases() -> Iterator[Case]:
    actor = _actor().options(max_concurrency=16).remote()
    yield "1:1 actor calls concurrent", lambda: ray.get([actor.small_value.remote() for _ in range(BATCH)]), BATCH


def group_cases() -> Iterator[Case]:
    def cycle() -> None:
        groups = [placement_group([{"CPU": 0.001}]) for _ in range(100)]
        for group in groups:
            group.wait(30)
        for group in groups:
            remove_placement_group(group)

    yield "placement group create/removal", cycle, 100


def wanted(name: str) -> bool:
    """Whether TESTS_TO_RUN and TESTS_TO_SKIP leave the case in."""
    only, skip = os.environ.get("TESTS_TO_RUN", ""), os.environ.get("TESTS_TO_SKIP", "")
    return only in name and not (skip and skip in name)


def rate(work: Callable[[], Any], seconds: float, times: int) -> float:
    """Calls a second of ``work``, called ``times`` between two looks at the clock."""
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(times):
            work()
        count += times
    return count / (time.perf_counter() - begun)


def main() -> Dict[str, float]:
    """Runs the cases in a cluster of their own, prints them, and gives the means by name."""
    print("TESTS_TO_RUN='part of a name' runs some of these only.", flush=True)
    results = {}
    ray.init(include_dashboard=False)
    try:
        actors, coroutines = (lambda: _actor().remote()), (lambda: ray.remote(num_cpus=0)(_AsyncTarget).remote())
        for cases in (
            object_cases, task_cases, lambda: actor_cases("actor", actors), concurrent_cases,
            lambda: actor_cases("async-actor", coroutines), group_cases,
        ):  # fmt: skip
            for name, work, amount in cases():
                if not wanted(name):
                    continue
                per_look = int(rate(work, SECONDS / 2, 1) * SECONDS / 10) + 1  # the warm-up
                rounds = [amount * rate(work, SECONDS, per_look) for _ in range(ROUNDS)]
                results[name] = statistics.mean(rounds)
                print(name, "per second", round(results[name], 2), "+-", round(statistics.stdev(rounds), 2), flush=True)
    finally:
        ray.shutdown()
    return results


if __name__ == "__main__":
    main()
