#!/usr/bin/env python3
"""What it takes to run submitted jobs, asked over the Job REST API.

    python bench/jobs.py [--rounds 5] [--at-once 100] [--against RAY] [--json FILE]

Measures, on a head with 2 CPUs:

* from the request that submits `echo line` until its output can be read over
  the API, and the same for a driver that connects and runs one task;
* that many `echo` jobs, submitted at once by 20 threads, until all have ended;
* memory (PSS) that 10 waiting jobs add, divided by 10.

Prints medians, and with --against (the `ray` program of another engine of the
same API) the other's and the ratio.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from startup import pss_mb, ray_program

DRIVER = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 'li' + 'ne').remote()), flush=True)"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
LIMIT = 200  # seconds that anything may take


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Head:
    """A head of one engine, started for a measurement."""

    def __init__(self, ray: str):
        self.ray, self.mark = ray, uuid.uuid4().hex
        self.folder = tempfile.mkdtemp(prefix="rb", dir="/tmp")
        self.python = os.path.join(os.path.dirname(ray), "python")
        self.api = free_port()
        self.env = {**os.environ, "RAY_TMPDIR": self.folder, "RAY_AUTH_MODE": "disabled", "RAY_BENCH": self.mark}
        self.env.update(HOME=self.folder, RAY_USAGE_STATS_ENABLED="0")
        self.env["PATH"] = os.path.dirname(ray) + os.pathsep + os.environ["PATH"]
        self.env.pop("RAY_ADDRESS", None)
        options = ["--head", f"--port={free_port()}", "--num-cpus=2", "--node-ip-address=127.0.0.1"]
        options += [f"--dashboard-port={self.api}", "--object-store-memory=268435456"]
        subprocess.run([ray, "start", *options], check=True, stdout=subprocess.DEVNULL, env=self.env, timeout=LIMIT)
        self.until(self.answers)

    def answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/api/version"))
        except OSError:
            return False

    def until(self, condition):
        deadline = time.monotonic() + LIMIT
        while not (found := condition()):
            if time.monotonic() > deadline:
                sys.exit(f"jobs.py: {self.ray}: waited {LIMIT} s in vain")
            time.sleep(0.005)
        return found

    def ask(self, method: str, path: str, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=LIMIT)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"{method} {path}: {answer.status} {text[-300:]!r}")
            return json.loads(text)
        finally:
            connection.close()

    def submit(self, entrypoint: str) -> str:
        return self.ask("POST", "/api/jobs/", {"entrypoint": entrypoint})["submission_id"]

    def first_line(self, entrypoint: str) -> float:
        start = time.perf_counter()
        id = self.submit(entrypoint)
        self.until(lambda: "line" in (self.ask("GET", f"/api/jobs/{id}/logs")["logs"] or ""))
        took = time.perf_counter() - start
        self.all_ended([id])
        return took

    def all_ended(self, ids: "list[str]") -> None:
        """Waits; any end but success ends the measurement."""

        def over():
            status = {row["submission_id"]: row["status"] for row in self.ask("GET", "/api/jobs/")}
            time.sleep(0.05)  # the list costs the measured engine something
            return [status[id] for id in ids] if all(status[id] in ENDED for id in ids) else None

        bad = [status for status in self.until(over) if status != "SUCCEEDED"]
        if bad:
            sys.exit(f"jobs.py: {self.ray}: {len(bad)} of {len(ids)} jobs did not succeed")

    def at_once(self, count: int) -> float:
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            ids = list(pool.map(lambda n: self.submit(f"echo {n}"), range(count)))
        self.all_ended(ids)
        return time.perf_counter() - start

    def processes(self) -> "list[int]":
        """All that was started here and runs."""
        needle, found = f"RAY_BENCH={self.mark}".encode(), []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if needle in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
        return found

    def memory(self) -> float:
        """PSS of everything that was started here, in MB."""
        return sum(map(pss_mb, self.processes()))

    def memory_of_a_job(self, count: int = 10) -> float:
        before = self.memory()
        ids = [self.submit("echo line; exec sleep 1000") for _ in range(count)]
        for id in ids:
            self.until(lambda id=id: "line" in (self.ask("GET", f"/api/jobs/{id}/logs")["logs"] or ""))
        time.sleep(1)  # let them settle
        added = (self.memory() - before) / count
        for id in ids:
            self.ask("POST", f"/api/jobs/{id}/stop")
        return added

    def close(self) -> None:
        # Not by `ray stop`: another engine's may look for its processes by
        # name and end those of others.
        deadline = time.monotonic() + 10
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(ray: str, rounds: int, at_once: int) -> "dict[str, float]":
    head = Head(ray)
    driver = f'{head.python} -c "{DRIVER}"'
    found: "dict[str, float]" = {}
    try:
        head.first_line("echo line")  # what is made once
        for name, figure in (
            ("echo: submit to first line (s)", lambda: statistics.median(repeat(head, "echo line", rounds))),
            ("driver: submit to a task's result (s)", lambda: statistics.median(repeat(head, driver, rounds))),
            ("memory of a waiting job, PSS (MB)", head.memory_of_a_job),
            (f"{at_once} jobs at once (s)", lambda: head.at_once(at_once)),
        ):
            found[name] = figure()
            print(f"{ray}: {name}: {found[name]:.3f}", file=sys.stderr, flush=True)
    finally:
        head.close()
    return found


def repeat(head: Head, entrypoint: str, rounds: int) -> "list[float]":
    return [head.first_line(entrypoint) for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--against", help="the ray program of another engine; its python lies beside it")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    ours = measure(ray_program(), arguments.rounds, arguments.at_once)
    theirs = measure(arguments.against, arguments.rounds, arguments.at_once) if arguments.against else {}
    for name, value in ours.items():
        other = f"{theirs[name]:12.3f}   (ratio {theirs[name] / value:.1f})" if theirs else ""
        print(f"{name:42}{value:12.3f}{other}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"ours": ours, "other": theirs}, file, indent=2)


if __name__ == "__main__":
    main()
