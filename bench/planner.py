"""Compare what the planner chooses with another planner's choice and with a lower bound, on random requests.

planner.py OTHER_PYTHON OTHER_PLANNER [REQUESTS]: OTHER_PLANNER reads a request on standard input and prints
{"seconds", "to_launch", "infeasible"}; with --make TYPES DEMANDS SEED it prints a request. Prices are added
here, by the amount of each resource. The bound packs fractions: for the resource that needs most, everything at its
cheapest type.
"""

import json
import pathlib
import statistics
import subprocess
import sys

RAY = pathlib.Path(__file__).resolve().parent.parent / "bin" / "ray"


def run(command, text=None):
    return json.loads(subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout)


def price(resources):
    return 0.04 * resources["CPU"] + 0.004 * resources["memory"] / 2**30 + 1.0 * resources.get("GPU", 0)


def bound(request):
    need = {}
    for shape, count in request["demands"]:
        for name, amount in shape.items():
            need[name] = need.get(name, 0) + amount * count
    types = request["node_types"].values()
    cheapest = {
        name: min((t["price"] / t["resources"][name] for t in types if name in t["resources"]), default=0)
        for name in need
    }
    return max(need[name] * cheapest[name] for name in need)


def main():
    other = sys.argv[1:3]
    rows = []
    for seed in range(1, int(sys.argv[3]) + 1 if len(sys.argv) > 3 else 9):
        request = run([*other, "--make", "10", "300", str(seed)])
        for node_type in request["node_types"].values():
            node_type["price"] = price(node_type["resources"])
        text = json.dumps(request)
        ours, theirs = run([str(RAY), "autoscaler", "plan", "-", "--json"], text), run(other, text)
        if ours["infeasible"] or theirs["infeasible"]:
            continue  # the sums would be those of different work
        costs = [
            sum(request["node_types"][name]["price"] * count for name, count in reply["to_launch"].items())
            for reply in (ours, theirs)
        ]
        rows.append((costs[0] / costs[1], costs[0] / bound(request), theirs["seconds"] / ours["seconds"]))
        print(
            f"seed {seed}: cost {costs[0]:.2f}, other {costs[1]:.2f}, bound {bound(request):.2f}, "
            f"{rows[-1][2]:.0f} times as fast"
        )
    if not rows:
        sys.exit("no request that both could serve")
    mean = [statistics.mean(column) for column in zip(*rows)]
    print(f"mean over {len(rows)}: cost / other {mean[0]:.3f}, cost / bound {mean[1]:.3f}, {mean[2]:.0f} times as fast")


if __name__ == "__main__":
    main()
