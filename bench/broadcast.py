"""One object to several nodes at once, over links of a limited rate.

    .venv/bin/python bench/broadcast.py [--nodes 8] [--mb 256] [--mbit 200] [--against PYTHON]

Each node is in a network namespace of its own, behind a router, and sends and receives no more than --mbit. Prints a
line of JSON for each engine: seconds of the copy to one node, of the copies to all, and their ratio. Needs root, the
ip and tc commands, and the kernel's token bucket filter.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

MARK = f"rb{os.getpid() % 100000}"
HEAD = "10.215.0.2"
PORT = 6397

DRIVER = """
import json, sys, time
import numpy as np
import ray

nodes, mb = int(sys.argv[1]), int(sys.argv[2])
ray.init(address=sys.argv[3], log_to_driver=False)

@ray.remote(num_cpus=0)
class Node:
    def ready(self):
        return True
    def make(self, mb, seed):
        return [ray.put(np.random.default_rng(seed).integers(0, 255, mb << 20, dtype=np.uint8))]
    def take(self, refs):
        value = ray.get(refs[0])
        return len(value), int(value[-1])

def spread(source, targets, seed):
    refs = ray.get(source.make.remote(mb, seed))
    began = time.perf_counter()
    sizes = ray.get([target.take.remote(refs) for target in targets])
    seconds = time.perf_counter() - began
    assert len(set(sizes)) == 1 and sizes[0][0] == mb << 20
    return seconds

made = [Node.options(resources={f"m{i}": 1}).remote() for i in range(nodes + 1)]
ray.get([node.ready.remote() for node in made])
spread(made[0], made[1:2], 0)
one = min(spread(made[0], made[1:2], seed) for seed in (1, 2))
all = min(spread(made[0], made[1:], seed) for seed in (3, 4))
print(json.dumps({"one_seconds": round(one, 2), "all_seconds": round(all, 2), "ratio": round(all / one, 2)}))
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Machines:
    """A router in a namespace, and machines on links of a limited rate."""

    def __init__(self, count, mbit):
        self.spaces = [f"{MARK}n{number}" for number in range(count)]
        self.hub = f"{MARK}h"
        try:
            ip("netns", "add", self.hub)
            forward = ["sysctl", "-qw", "net.ipv4.ip_forward=1"]
            subprocess.run(["ip", "netns", "exec", self.hub, *forward], check=True)
            for number, space in enumerate(self.spaces):
                self._attach(number, space, mbit)
        except BaseException:
            self.close()
            raise

    def _attach(self, number, space, mbit):
        port = f"p{number}"
        ip("netns", "add", space)
        ip("-n", space, "link", "add", "eth", "type", "veth", "peer", "name", port, "netns", self.hub)
        for where, device, last in ((space, "eth", 2), (self.hub, port, 1)):
            ip("-n", where, "addr", "add", f"10.215.{number}.{last}/24", "dev", device)
            ip("-n", where, "link", "set", device, "up")
            limit = ["rate", f"{mbit}mbit", "burst", "128kb", "latency", "50ms"]
            subprocess.run(["tc", "-n", where, "qdisc", "add", "dev", device, "root", "tbf", *limit], check=True)
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "route", "add", "default", "via", f"10.215.{number}.1")

    def close(self):
        for space in [self.hub, *self.spaces]:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)


def run(machines, python, args):
    """Starts a cluster of an engine on the machines and gives the driver's line."""
    root = tempfile.mkdtemp(prefix="rb", dir="/tmp")  # short: sockets lie below it
    ray = os.path.join(os.path.dirname(python), "ray")

    def inside(number, *command, **more):
        env = {**os.environ, "RAY_TMPDIR": f"{root}/{number}", "RAY_AUTH_TOKEN": "ab" * 32, "RAY_DEDUP_LOGS": "0"}
        if python == sys.executable:
            env["PYTHONPATH"] = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python")
        return subprocess.run(["ip", "netns", "exec", machines.spaces[number], *command], env=env, check=True, **more)

    def start(number):
        address = (
            ["--head", f"--port={PORT}", "--include-dashboard=false"] if number == 0 else [f"--address={HEAD}:{PORT}"]
        )
        more = ["--num-cpus=1", f"--object-store-memory={4 * args.mb << 20}", f'--resources={{"m{number}": 1}}']
        with open(f"{root}/out{number}", "w") as out:  # a daemon would keep a pipe open
            inside(
                number, ray, "start", *address, f"--node-ip-address=10.215.{number}.2", *more, stdout=out, stderr=out
            )

    try:
        for number in range(args.nodes + 1):
            start(number)
        command = [python, "-c", DRIVER, str(args.nodes), str(args.mb), f"{HEAD}:{PORT}"]
        return inside(0, *command, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
    finally:
        for number in reversed(range(args.nodes + 1)):
            try:
                inside(number, ray, "stop", "--force", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except subprocess.CalledProcessError as error:
                print(f"a node was not stopped: {error}", file=sys.stderr)
        shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--mb", type=int, default=256)
    parser.add_argument("--mbit", type=int, default=200)
    parser.add_argument("--against", help="the Python of another engine")
    args = parser.parse_args()
    machines = Machines(args.nodes + 1, args.mbit)
    try:
        for name, python in (("ours", sys.executable), ("other", args.against)):
            if python:
                began = time.perf_counter()
                line = json.loads(run(machines, python, args))
                print(
                    json.dumps({"engine": name, **line, "whole_seconds": round(time.perf_counter() - began)}),
                    flush=True,
                )
    finally:
        machines.close()


if __name__ == "__main__":
    main()
