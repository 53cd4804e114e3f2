"""What workers print on the driver's terminal, and drivers that use many threads."""

import re

import pytest

pytestmark = pytest.mark.timeout(120)

PRINTING = """
import ray, sys
ray.init(log_to_driver={log_to_driver})

@ray.remote(num_cpus=0.5)
def speak(i, together):
    ray.get(together.meet.remote())
    print("the same line")
    print("number", i, "of mine")
    print("a complaint", file=sys.stderr)

@ray.remote
class Named:
    def __repr__(self):
        return "Neo"

    def speak(self):
        print("from the actor")

@ray.remote(num_cpus=0)
class Together:
    def __init__(self):
        import asyncio
        self.all, self.here = asyncio.Event(), 0

    async def meet(self):
        self.here += 1
        if self.here == 3:
            self.all.set()
        await self.all.wait()

together = Together.remote()
ray.get([speak.remote(i, together) for i in range(3)])
named = Named.remote()
ray.get(named.speak.remote())
print("driver ends")
"""


def test_lines_name_their_process_and_repetitions_are_counted(cluster):
    status, out, err = cluster.drive(PRINTING.format(log_to_driver=True))
    assert status == 0, err
    lines = re.sub(r"pid=\d+", "pid=N", out).splitlines()
    assert "(speak pid=N) the same line" in lines
    assert "(Neo pid=N) from the actor" in lines
    assert [line for line in lines if "the same line [repeated 2x across cluster]" in line]
    assert [line for line in lines if re.fullmatch(r"\(speak pid=N\) number \d of mine.*", line)]
    assert re.search(r"\(speak pid=\d+\) a complaint", err) and "a complaint" not in out
    assert "\x1b" not in out + err  # colours are for terminals


def test_repetitions_are_shown_if_the_user_says_so(cluster):
    status, out, err = cluster.drive(PRINTING.format(log_to_driver=True), env={"RAY_DEDUP_LOGS": "0"})
    assert status == 0, err
    assert len(re.findall(r"\(speak pid=\d+\) the same line$", out, re.M)) == 3
    assert "repeated" not in out


def test_nothing_is_shown_if_the_user_says_so(cluster):
    status, out, err = cluster.drive(PRINTING.format(log_to_driver=False))
    assert (status, out) == (0, "driver ends\n"), err
    assert "a complaint" not in err


def test_many_threads_of_one_driver(cluster):
    """Each thread submits, waits, puts, and calls one actor; nobody gets what is another's."""
    status, out, err = cluster.drive(
        """
        import ray, threading
        ray.init()

        @ray.remote
        def double(x):
            return 2 * x

        @ray.remote
        class Echo:
            def echo(self, x):
                return x

        actor, wrong, done = Echo.remote(), [], []

        def work(n):
            for i in range(50):
                key = (n, i)
                refs = [double.remote(n * 1000 + i), ray.put(key), actor.echo.remote(key)]
                ready, rest = ray.wait(refs, num_returns=3, timeout=60)
                got = ray.get(refs)
                if rest or got != [2 * (n * 1000 + i), key, key]:
                    wrong.append((key, got))
            done.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(sorted(done) == list(range(8)), wrong)
        """
    )
    assert (status, out) == (0, "True []\n"), err
