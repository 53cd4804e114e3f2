#!/usr/bin/env python3
"""What the verbs of a launcher take on the test bed's EC2: real hosts over SSH on this machine.

    sudo python bench/launcher.py [--against RAY] [--rounds 1] [--json FILE]
    sudo python bench/launcher.py --on-prem 2 20

Each round is a world of its own (`testbed run --cloud aws`) with an empty
account, and in it the life of two clusters of a head and two workers, one
after the other: the second finds what the first has made in the account (role,
key pair, security group). Measured for each, in seconds:

* `up` until it returns, and until a driver on the head sees three nodes, both
  from the start of `up`;
* `up` again, with nothing changed;
* `exec` of an echo; `submit` of a job, less the time that the job itself
  took from the first line of its file to the last;
* `down`;
* the most memory (RSS) of any of these programs, in MB.

With --on-prem: `up` on so many hosts that a file names, until all have joined,
and `down`; every host is on this machine and shares its cores.

Prints medians, and with --against (the `ray` program of another engine, whose
environment has boto3) the other's and the ratio. Needs root, for the hosts.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from startup import ray_program

LIMIT = 600  # seconds that a verb may take

CLUSTER = """\
cluster_name: {name}
max_workers: 2
provider: {{type: aws, region: us-west-2}}
auth: {{ssh_user: ubuntu}}
available_node_types:
  head:
    resources: {{CPU: 1}}
    node_config: {{InstanceType: m5.large, ImageId: ami-1}}
  worker:
    resources: {{CPU: 1}}
    min_workers: 2
    max_workers: 2
    node_config: {{InstanceType: m5.large, ImageId: ami-1}}
head_node_type: head
"""

ON_PREM = """\
cluster_name: bench
min_workers: {workers}
max_workers: {workers}
provider: {{type: local, head_ip: {head}, worker_ips: [{others}]}}
auth: {{ssh_user: {user}, ssh_private_key: {key}}}
"""

JOB = """\
import time
begun = time.time()
import ray
ray.init()
assert ray.get(ray.remote(lambda: 7).remote()) == 7
print("took", time.time() - begun, flush=True)
"""

JOINED = """\
import time
import ray
ray.init(address="auto", log_to_driver=False)
while sum(n["Alive"] for n in ray.nodes()) < 3:
    time.sleep(0.05)
print("joined", time.time(), flush=True)
"""


def timed(ray, *words):
    """(seconds, what it printed) of one verb."""
    begun = time.time()
    done = subprocess.run([ray, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    took = time.time() - begun
    if done.returncode != 0:
        sys.exit(f"ray {' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return took, done.stdout


def said(word, text):
    """The number after a word that a program on the head has printed."""
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(word + " "))


def life(ray, name, found):
    """One cluster, from up to down."""
    home = pathlib.Path(os.environ["HOME"])
    file, job, joined = home / f"{name}.yaml", home / "job.py", home / "joined.py"
    file.write_text(CLUSTER.format(name=name))
    job.write_text(JOB)
    joined.write_text(JOINED)
    begun = time.time()
    found["up"], _ = timed(ray, "up", "-y", str(file))
    found["three nodes"] = said("joined", timed(ray, "submit", str(file), str(joined))[1]) - begun
    found["up again"], _ = timed(ray, "up", "-y", str(file))
    found["exec"], _ = timed(ray, "exec", str(file), "echo hi")
    took, text = timed(ray, "submit", str(file), str(job))
    found["submit, less the job"] = took - said("took", text)
    found["down"], _ = timed(ray, "down", "-y", str(file))
    found["memory, MB"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def on_prem(ray):
    """A cluster of the hosts that there are."""
    head, *others = os.environ["TESTBED_HOSTS"].split()
    user, key = os.environ["TESTBED_USER"], os.environ["TESTBED_KEY"]
    file = pathlib.Path(os.environ["HOME"], "bench.yaml")
    file.write_text(ON_PREM.format(workers=len(others), head=head, others=", ".join(others), user=user, key=key))
    return {"up": timed(ray, "up", "-y", "--wait", str(file))[0], "down": timed(ray, "down", "-y", str(file))[0]}


def inside(ray, into):
    """What runs in the world."""
    if os.environ["TESTBED_CLOUD"] == "static":
        pathlib.Path(into).write_text(json.dumps({"on-prem": on_prem(ray)}))
        return
    found = {"empty account": {}, "account in use": {}}
    for n, account in enumerate(found):
        life(ray, f"bench{n}", found[account])
    pathlib.Path(into).write_text(json.dumps(found))


def world(testbed, ray, kind):
    """The figures of one world; kind: what makes the hosts, as options of the test bed."""
    beside = os.path.dirname(os.path.abspath(ray))
    with tempfile.TemporaryDirectory(prefix="raybench-") as folder:
        into = os.path.join(folder, "found.json")
        words = [testbed, "run", *kind, "--path", beside]
        words += ["--moto", os.path.join(os.path.dirname(sys.executable), "moto_server")]
        if sys.base_prefix.startswith(("/root/", "/home/")):
            words += ["--bind", sys.base_prefix]
        env = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
        env.update(RAY_USAGE_STATS_ENABLED="0", PATH=beside + os.pathsep + os.environ["PATH"])
        subprocess.run(
            [*words, "--", sys.executable, os.path.abspath(__file__), "--inside", into, "--ray", ray],
            env=env,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return json.loads(pathlib.Path(into).read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", metavar="RAY")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--on-prem", type=int, nargs="+", metavar="HOSTS")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--ray", default=ray_program(), help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.inside:
        inside(o.ray, o.inside)
        return
    engines = {"ours": o.ray, **({"theirs": o.against} if o.against else {})}
    every = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory(prefix="raybench-") as folder:
        testbed = os.path.join(folder, "testbed")
        root = pathlib.Path(__file__).resolve().parents[1]
        subprocess.run(["go", "build", "-o", testbed, "./internal/testbed/cmd/testbed"], cwd=root, check=True)
        for hosts in o.on_prem or []:
            found = world(testbed, o.ray, ["--hosts", str(hosts)])["on-prem"]
            print(f"{hosts} hosts: up {found['up']:.2f}, down {found['down']:.2f}")
        if o.on_prem:
            return
        for _ in range(o.rounds):
            for engine, ray in engines.items():
                every[engine].append(world(testbed, ray, ["--cloud", "aws", "--policies"]))
    table = {}
    for account, figures in every["ours"][0].items():
        for what in figures:
            row = [statistics.median(r[account][what] for r in rounds) for rounds in every.values()]
            table[f"{account}: {what}"] = dict(zip(engines, row))
            ratio = f"  {row[1] / row[0]:6.1f} x" if len(row) > 1 else ""
            print(f"{account + ': ' + what:38}" + "".join(f"{v:10.2f}" for v in row) + ratio)
    if o.json:
        pathlib.Path(o.json).write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
