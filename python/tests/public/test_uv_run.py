"""Drivers under ``uv run``. The program that stands for uv here only runs the command that it is given."""

import os
import platform
import shlex
import subprocess
import sys

import pytest
from ray.runtime_env import uvrun

PIN = ["--python", platform.python_version()]


@pytest.mark.parametrize(
    "words, started, options",
    [
        ("main.py a", "/e/bin/python3 main.py a", ""),
        ("--with emoji main.py --with x", "/e/bin/python3 main.py --with x", "--with emoji"),
        ("--with emoji python main.py", "/e/bin/python main.py", "--with emoji"),
        ("--with emoji -- python -u main.py", "/e/bin/python -u main.py", "--with emoji"),
        ("--frozen pytest -q", "/e/bin/python /e/bin/pytest -q", "--frozen"),
        ("--with a -m mod b", "/e/bin/python3 -m mod b", "--with a"),
        ("--with a --module mod", "/e/bin/python3 -m mod", "--with a"),
        ("--directory /x --project /x main.py", "/e/bin/python3 main.py", "--project /x"),
        ("--isolated python", "/e/bin/python", "--isolated"),
    ],
)
def test_worker_command(monkeypatch, words, started, options):
    monkeypatch.delenv("UV_PYTHON", raising=False)
    want = ["/b/uv", "run", *options.split(), *PIN, "python"]
    assert uvrun.worker_command(["/b/uv", "run", *words.split()], started.split()) == shlex.join(want)


def test_worker_command_keeps_a_chosen_python(monkeypatch):
    monkeypatch.delenv("UV_PYTHON", raising=False)
    line = ["uv", "run", "-p", "3.11", "m.py"]
    assert uvrun.worker_command(line, ["python", "m.py"]) == "uv run -p 3.11 python"
    assert uvrun.worker_command(["uv", "run", "--what"], ["/bin/sh", "x"]) is None


STANDS_FOR_UV = f"""#!{sys.executable}
import os, subprocess, sys
words = sys.argv[sys.argv.index("run") + 1:]
while words[0].startswith("--"):
    words = words[2:]
command = [{sys.executable!r}] + words[words[0] == "python":]
env = dict(os.environ, UV_DEPTH=str(int(os.environ.get("UV_DEPTH", 0)) + 1))
sys.exit(subprocess.call(command, env=env, close_fds=False))
"""

DRIVER = """
import os, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
@ray.remote
def f():
    try:
        import beside
    except ImportError:
        beside = None
    return os.environ.get("UV_DEPTH"), beside and beside.VALUE, "runtime_resources" in os.getcwd()
print(*ray.get(f.remote(), timeout=100))
"""


def test_workers_of_a_driver_under_uv_run(tmp_path):
    work = tmp_path / "work"
    for folder in (tmp_path / "bin", work):
        folder.mkdir()
    # Once as the program, and once as the script "run" of a Python that calls
    # itself uv: so the driver's parent has uv's command line, `uv run …`.
    for path in (tmp_path / "bin" / "uv", work / "run"):
        path.write_text(STANDS_FOR_UV)
        path.chmod(0o755)
    (work / "beside.py").write_text("VALUE = 'found'\n")
    (work / "main.py").write_text(DRIVER)
    unset = ("UV_PYTHON", uvrun.VARIABLE, "UV_DEPTH", "RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK")
    env = {name: text for name, text in os.environ.items() if name not in unset}
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"

    def drive(**more):
        line = f"exec -a uv {shlex.quote(sys.executable)} run --with emoji main.py"
        done = subprocess.run(
            ["bash", "-c", line], cwd=work, env={**env, **more}, capture_output=True, text=True, timeout=150
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert drive() == ["2", "found", "True"]
    assert drive(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0") == ["1", "found", "False"]


def test_installers_are_refused(monkeypatch):
    monkeypatch.delenv(uvrun.VARIABLE, raising=False)
    monkeypatch.delenv("UV_PYTHON", raising=False)
    assert uvrun.applied({}) == {}
    monkeypatch.setattr(uvrun, "uv_run", lambda: (["uv", "run", "m.py"], ["python", "m.py"]))
    with pytest.raises(RuntimeError, match="uv run"):
        uvrun.applied({"pip": ["x"]})
    assert uvrun.applied({"working_dir": "d"})["working_dir"] == "d"
    assert uvrun.applied({})["working_dir"] == os.getcwd()
    assert uvrun.applied({"py_executable": "x"}) == {"py_executable": "x"}
