"""What users' type checkers say of programs that use ray."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]

pytestmark = pytest.mark.timeout(300)


def marked(name):
    """Numbers of the lines that must be refused."""
    lines = (HERE / name).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def mypy(tmp_path, name):
    """mypy's exit status, the lines it refuses, and what it says."""
    pytest.importorskip("mypy", reason="mypy is not installed: pip install -r scripts/requirements-test.txt")
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", tmp_path / "cache", name],
        cwd=HERE,
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
    )
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    return done.returncode, lines, done.stdout + done.stderr


def test_mypy_accepts_what_is_right(tmp_path):
    status, _, said = mypy(tmp_path, "expected.py")
    assert status == 0, said


def test_mypy_refuses_what_is_wrong(tmp_path):
    status, lines, said = mypy(tmp_path, "mistakes.py")
    assert (status, lines) == (1, marked("mistakes.py")), said


@pytest.fixture(scope="module")
def pyright():
    """name of a file → the lines that pyright refuses there, and what it says."""
    here = ROOT / ".venv" / "pyright" / "node_modules" / ".bin" / "pyright"
    program = str(here) if here.exists() else shutil.which("pyright")
    if program is None:
        pytest.skip("pyright is not installed: npm install --prefix .venv/pyright pyright")
    done = subprocess.run([program, "--outputjson", "-p", str(HERE)], capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    rows = [
        (pathlib.Path(row["file"]).name, row["range"]["start"]["line"] + 1, row["message"])
        for row in found
        if row["severity"] == "error"
    ]
    return lambda name: {row[1]: row[2] for row in rows if row[0] == name}


def test_pyright_accepts_what_is_right(pyright):
    assert pyright("expected.py") == {}
    assert pyright("decorated_class.py") == {}


def test_pyright_refuses_what_is_wrong(pyright):
    assert set(pyright("mistakes.py")) == marked("mistakes.py"), pyright("mistakes.py")
