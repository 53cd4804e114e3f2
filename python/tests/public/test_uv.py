"""Environments that uv makes, and drivers that it runs: the real one, from PyPI."""

import glob
import os
import pathlib
import subprocess
import sys

import pytest
import ray
from ray.exceptions import RuntimeEnvSetupError

from .test_runtime_env_cluster import look, make_wheel

UV = "uv==0.13.9"
PACKAGE = str(pathlib.Path(ray.__file__).parents[1])

pytestmark = pytest.mark.timeout(300)

DRIVER = """
import ray, rt_with
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
look = ray.remote(lambda: __import__("rt_with").VALUE)
print(rt_with.VALUE, ray.get(look.remote(), timeout=100))
"""


@pytest.fixture(scope="module")
def uv(tmp_path_factory, from_pypi):
    """Folder of the program; it is on nobody's PATH yet, so that other tests meet pip."""
    folder = tmp_path_factory.mktemp("uv")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", "--target"]
    from_pypi(UV, [*pip, str(folder), UV])
    return folder / "bin"


@pytest.fixture(scope="module")
def session_dir(uv, tmp_path_factory):
    """Directory of the session of a node that finds uv; this process is connected to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{uv}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        ray.shutdown()
        found = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield found.address_info["session_dir"]
        ray.shutdown()


def log(session_dir):
    """All that installers have said."""
    found = glob.glob(os.path.join(session_dir, "logs", "runtime_env_setup-*.log"))
    return "".join(pathlib.Path(path).read_text() for path in found)


@pytest.mark.parametrize("field, options", [("uv", "uv_pip_install_options"), ("pip", "pip_install_options")])
def test_packages(session_dir, uv, tmp_path, field, options):
    name = f"rt_by_{field}"
    make_wheel(tmp_path, name, "1.0", f"VALUE = 'by {field}'\n")
    env = {field: {"packages": [name], options: ["--no-index", f"--find-links={tmp_path}"]}}
    value, prefix, venv = ray.get(look.options(runtime_env=env).remote(name), timeout=170)
    assert value == f"by {field}" and prefix == venv != sys.prefix
    assert f"{uv}/uv pip install" in log(session_dir) and f"+ {name.replace('_', '-')}==1.0" in log(session_dir)


def test_what_there_is_not_is_told(session_dir, tmp_path):
    env = {"uv": {"packages": ["rt_never"], "uv_pip_install_options": ["--no-index", f"--find-links={tmp_path}"]}}
    with pytest.raises(RuntimeEnvSetupError) as raised:
        ray.get(look.options(runtime_env=env).remote("rt_never"), timeout=170)
    said = str(raised.value)
    assert "uv pip install" in said and "exit status 1" in said and "rt-never" in said


def test_a_driver_that_uv_runs(uv, tmp_path):
    """Its workers are run as it is, with what --with has added."""
    make_wheel(tmp_path / "wheels", "rt_with", "1.0", "VALUE = 'with'\n")
    (tmp_path / "main.py").write_text(DRIVER)
    drop = ("RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK", "VIRTUAL_ENV", "UV_PYTHON")
    env = {name: text for name, text in os.environ.items() if name not in drop}
    env.update(PYTHONPATH=PACKAGE, UV_CACHE_DIR=str(tmp_path / "cache"), PATH=f"{uv}{os.pathsep}{env['PATH']}")
    line = [str(uv / "uv"), "run", "--no-project", "--python", sys.executable, "--no-index", "--find-links"]
    done = subprocess.run(
        [*line, str(tmp_path / "wheels"), "--with", "rt_with", "main.py"],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "with with", done.stdout
