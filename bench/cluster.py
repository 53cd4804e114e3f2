"""Placement groups, actors and spilling tasks on clusters of several node processes on this machine.

    .venv/bin/python bench/cluster.py                       this checkout's engine
    .venv/bin/python bench/cluster.py --against PYTHON      another one too, in turn

Prints a line of JSON for each run: seconds, or operations a second where the name says so.
"""

import argparse
import json
import subprocess
import sys
import time


def cluster(nodes, cpus, head_cpus=0):
    """A connected cluster of node processes besides the head's; the Cluster of the engine's test utilities."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": head_cpus, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    for _ in range(nodes):
        made.add_node(num_cpus=cpus, object_store_memory=80 << 20)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    return made


def groups(count):
    """Makes count groups of two bundles, awaits all, and removes them."""
    import ray
    from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

    began = time.perf_counter()
    made = [placement_group([{"CPU": 0.01}, {"CPU": 0.01}], strategy="PACK") for _ in range(count)]
    assert all(group.wait(120) for group in made)
    created = time.perf_counter() - began
    began = time.perf_counter()
    for group in made:
        remove_placement_group(group)
    while any(row["state"] != "REMOVED" for row in placement_group_table().values()):
        time.sleep(0.01)
    total = ray.cluster_resources()["CPU"]
    while ray.available_resources().get("CPU", 0) < total - 1e-6:
        time.sleep(0.01)
    return {
        "groups_created_per_second": count / created,
        "groups_removed_per_second": count / (time.perf_counter() - began),
    }


def actors(count):
    """Creates count actors and awaits a call of each."""
    import ray

    @ray.remote(num_cpus=0.01)
    class Small:
        def where(self):
            return ray.get_runtime_context().get_node_id()

    began = time.perf_counter()
    made = [Small.remote() for _ in range(count)]
    places = ray.get([actor.where.remote() for actor in made])
    took = time.perf_counter() - began
    shares = sorted(places.count(node) for node in set(places))
    return {
        "actors": count,
        "actors_per_second": count / took,
        "nodes_used": len(shares),
        "least_and_most_on_a_node": [shares[0], shares[-1]],
    }


def spill(count):
    """Tasks of 20 ms from a node with one CPU, while another has four: seconds, and the least that is possible."""
    import ray

    @ray.remote
    def short():
        time.sleep(0.02)
        return ray.get_runtime_context().get_node_id()

    ray.get([short.remote() for _ in range(50)])
    began = time.perf_counter()
    places = ray.get([short.remote() for _ in range(count)])
    took = time.perf_counter() - began
    return {
        "spill_seconds": took,
        "least_possible_seconds": count * 0.02 / 5,
        "run_elsewhere": sum(p != places[0] for p in places),
    }


def measure(args):
    import ray

    out = {"engine": "another" if args.other else "this one"}
    for name, make, run in (
        ("groups", lambda: cluster(args.nodes, 4), lambda: groups(args.groups)),
        ("actors", lambda: cluster(args.nodes, 4), lambda: actors(args.actors)),
        ("spill", lambda: cluster(1, 4, 1), lambda: spill(args.tasks)),
    ):
        if name not in args.cases.split(","):
            continue
        made = make()
        try:
            out.update(run())
        finally:
            ray.shutdown()
            made.shutdown()
    print(
        json.dumps({key: round(value, 2) if isinstance(value, float) else value for key, value in out.items()}),
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="groups,actors,spill")
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--actors", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--against", metavar="PYTHON", help="an interpreter that has another engine")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--other", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        measure(args)
        return
    passed = ["--run", "--cases", args.cases, "--nodes", str(args.nodes), "--groups", str(args.groups)]
    passed += ["--actors", str(args.actors), "--tasks", str(args.tasks)]
    for _ in range(args.pairs):
        subprocess.run([sys.executable, __file__, *passed], check=True)
        if args.against:
            subprocess.run([args.against, __file__, *passed, "--other"], check=True)


if __name__ == "__main__":
    main()
