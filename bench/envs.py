#!/usr/bin/env python3
"""How long the first task waits for its pip environment.

    python bench/envs.py [--rounds 3] [--against RAY] [--json FILE]

A submitted driver on a head with 2 CPUs has a worker already, and then asks for
one task whose environment installs a wheel of one module, which this script
makes: `cold` where the environment has to be made first, `warm` in the next
driver that asks for the same one. Nothing is fetched from anywhere.

Prints medians, and with --against (the `ray` program of another engine of the
same API) the other's and the ratio.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import textwrap
import zipfile

from jobs import Head
from startup import ray_program

DRIVER = """
    import time, ray
    ray.init()
    @ray.remote
    def look(module):
        return __import__(module).VALUE if module else 0
    ray.get(look.remote(None))
    start = time.perf_counter()
    env = {{"pip": {{"packages": [{wheel!r}], "pip_install_options": ["--no-index", "--disable-pip-version-check"]}}}}
    assert ray.get(look.options(runtime_env=env).remote("bench_wheel")) == {number}
    print("line", time.perf_counter() - start, flush=True)
"""


def make_wheel(folder: str, number: int) -> str:
    path = os.path.join(folder, f"bench_wheel-{number}-py3-none-any.whl")
    info = f"bench_wheel-{number}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bench_wheel.py", f"VALUE = {number}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: bench_wheel\nVersion: {number}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def first_task(head: Head, script: str) -> float:
    id = head.submit(f"{head.python} {script}")
    head.all_ended([id])
    logs = head.ask("GET", f"/api/jobs/{id}/logs")["logs"]
    return float(next(line for line in logs.splitlines() if line.startswith("line ")).split()[1])


def measure(ray: str, rounds: int) -> "dict[str, float]":
    head = Head(ray)
    cold, warm = [], []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(1, rounds + 1):
                script = os.path.join(folder, f"driver{number}.py")
                with open(script, "w") as file:
                    file.write(textwrap.dedent(DRIVER.format(wheel=make_wheel(folder, number), number=number)))
                cold.append(first_task(head, script))
                warm.append(first_task(head, script))
                print(f"{ray}: cold {cold[-1]:.3f} s, warm {warm[-1]:.3f} s", file=sys.stderr, flush=True)
    finally:
        head.close()
    return {
        "pip environment, cold: first task (s)": statistics.median(cold),
        "pip environment, warm: first task (s)": statistics.median(warm),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", help="the ray program of another engine; its python lies beside it")
    parser.add_argument("--json", help="also write the figures to this file")
    args = parser.parse_args()
    ours = measure(ray_program(), args.rounds)
    theirs = measure(args.against, args.rounds) if args.against else {}
    for name, figure in ours.items():
        ratio = f"  other {theirs[name]:9.3f}  ratio {theirs[name] / figure:6.1f}" if theirs else ""
        print(f"{name:44} {figure:9.3f}{ratio}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"ours": ours, "other": theirs}, file, indent=1)


if __name__ == "__main__":
    main()
