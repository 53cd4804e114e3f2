#!/usr/bin/env python3
"""Runs a micro benchmark that lies elsewhere with this checkout's engine.

    python bench/micro.py FILE [options of FILE]
    python bench/micro.py FILE --against PYTHON [--pairs N] [-- options of FILE]

FILE is a script that does `import ray`, measures, and prints one JSON object
{"cases": {name: figure}} last. With --against the script `compare.py` beside
FILE runs it in turn under this Python and under PYTHON (whose `ray` is another
engine) and prints the ratios.
"""

import argparse
import os
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--against", metavar="PYTHON")
    parser.add_argument("--pairs", type=int, default=2)
    arguments, rest = parser.parse_known_args()
    rest = [option for option in rest if option != "--"]
    if not os.path.isfile(arguments.file):
        print(f"micro.py: {arguments.file} does not exist", file=sys.stderr)
        return 2
    if arguments.against is None:
        return subprocess.run([sys.executable, arguments.file, *rest]).returncode
    compare = os.path.join(os.path.dirname(os.path.abspath(arguments.file)), "compare.py")
    command = [sys.executable, compare, "--a", sys.executable, "--b", arguments.against]
    return subprocess.run([*command, "--pairs", str(arguments.pairs), "--", *rest]).returncode


if __name__ == "__main__":
    sys.exit(main())
