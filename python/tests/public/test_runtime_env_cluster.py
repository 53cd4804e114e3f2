"""Environments that a real cluster makes: packages, interpreters, hooks, failures, progress."""

import glob
import http.server
import os
import pathlib
import shutil
import sys
import threading
import zipfile

import pytest
import ray
from ray._common.test_utils import run_string_as_driver
from ray.exceptions import ActorDiedError, RuntimeEnvSetupError
from ray.runtime_env import RuntimeEnv
from ray.util.state import list_runtime_envs, list_tasks


@pytest.fixture(scope="module")
def cluster(connect):
    """One node with 2 CPUs, this process connected."""
    return connect(num_cpus=2, log_to_driver=False)


@pytest.fixture
def own_cluster():
    """``own_cluster(runtime_env)``: a cluster whose job has the environment."""
    ray.shutdown()
    yield lambda env: ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=env
    )
    ray.shutdown()


def make_wheel(folder: pathlib.Path, name: str, version: str, code: str) -> pathlib.Path:
    """Writes a wheel with one module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path):
    """URL of a package index: a folder per project, served on the loopback."""
    make_wheel(tmp_path / "rt-served", "rt_served", "2.0", "VALUE = 'served'\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def pip(packages, *options, **more):
    return {"pip": {"packages": packages, "pip_install_options": list(options), **more}}


@ray.remote
def look(module):
    import importlib

    return importlib.import_module(module).VALUE, sys.prefix, os.environ.get("VIRTUAL_ENV")


def test_pip_from_an_index(cluster, index):
    env = pip(["rt-served==2.0"], "--index-url", index, pip_check=True)
    value, prefix, venv = ray.get(look.options(runtime_env=env).remote("rt_served"), timeout=170)
    assert value == "served" and prefix == venv != sys.prefix

    @ray.remote
    class Reader:
        def look(self):
            import rt_served

            return rt_served.VALUE, sys.prefix

    actor = Reader.options(runtime_env=env).remote()
    assert ray.get(actor.look.remote(), timeout=60) == ("served", prefix)  # the same environment


def test_packages_of_the_driver_stay_visible(cluster, tmp_path):
    make_wheel(tmp_path, "rt_beside", "1.0", "import pytest\nVALUE = pytest.__file__\n")
    env = pip(["rt_beside"], "--no-index", f"--find-links={tmp_path}")
    assert ray.get(look.options(runtime_env=env).remote("rt_beside"), timeout=170)[0] == pytest.__file__


def test_failure_reaches_every_waiting_task_and_is_tried_again(cluster, tmp_path):
    (tmp_path / "wheels").mkdir()
    env = pip(["rt_late"], "--no-index", f"--find-links={tmp_path / 'wheels'}")
    task = look.options(runtime_env=env)
    refs = [task.remote("rt_late") for _ in range(6)]
    for ref in refs:
        with pytest.raises(
            RuntimeEnvSetupError, match="rt.late.*was not found|No matching distribution found for rt_late"
        ) as info:
            ray.get(ref, timeout=170)
        assert "pip install" in str(info.value) and "exit status" in str(info.value)
    make_wheel(tmp_path / "wheels", "rt_late", "1.0", "VALUE = 'now'\n")
    assert ray.get(task.remote("rt_late"), timeout=170)[0] == "now"
    failed = list_tasks(filters=[("error_type", "=", "RUNTIME_ENV_SETUP_FAILED")], detail=True)
    failed = {row.task_id: row for row in failed if "rt_late" in row.error_message}
    assert {ref.task_id().hex() for ref in refs} == set(failed)
    assert not any(row.start_time_ms for row in failed.values())
    rows = [row for row in list_runtime_envs(detail=True) if "rt_late" in row.runtime_env]
    assert {row.success for row in rows} == {True, False}
    logs = glob.glob(os.path.join(cluster.address_info["session_dir"], "logs", "runtime_env_setup-*.log"))
    assert logs and any("Successfully installed rt_late" in pathlib.Path(path).read_text() for path in logs)


def test_an_actor_without_environment_dies_with_the_reason(cluster):
    @ray.remote
    class Never:
        def call(self):
            pass

    actor = Never.options(runtime_env=pip(["rt-no-such"], "--no-index")).remote()
    with pytest.raises((RuntimeEnvSetupError, ActorDiedError), match="rt-no-such"):
        ray.get(actor.call.remote(), timeout=170)


def test_a_wheel_that_cannot_be_built(cluster, tmp_path):
    project = tmp_path / "broken"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "broken"\nversion = "1"\n'
    )
    (project / "backend.py").write_text("raise RuntimeError('this backend is broken')\n")
    env = pip([str(project)], "--no-index")
    with pytest.raises(RuntimeEnvSetupError, match="this backend is broken"):
        ray.get(look.options(runtime_env=env).remote("broken"), timeout=170)


def test_over_the_time_limit(cluster, tmp_path):
    project = tmp_path / "slow"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "slow"\nversion = "1"\n'
    )
    (project / "backend.py").write_text("import time\ntime.sleep(600)\n")
    env = dict(pip([str(project)], "--no-index"), config={"setup_timeout_seconds": 5})
    with pytest.raises(RuntimeEnvSetupError, match="not ready after 5s"):
        ray.get(look.options(runtime_env=env).remote("slow"), timeout=60)


def test_others_do_not_wait_for_a_slow_environment(cluster, tmp_path):
    project = tmp_path / "gated"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "gated"\nversion = "1"\n'
    )
    gate = tmp_path / "gate"
    (project / "backend.py").write_text(
        f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.02)\n"
        "raise RuntimeError('gate is open')\n"
    )
    waiting = []
    for number in range(6):  # six kinds of worker, one installation
        env = dict(pip([str(project)], "--no-index"), env_vars={"NUMBER": str(number)})
        waiting.append(look.options(runtime_env=env).remote("gated"))
    assert ray.get(ray.remote(lambda: "here").remote(), timeout=30) == "here"
    rows = [row for row in list_runtime_envs(detail=True) if str(project) in row.runtime_env]
    assert [row.success for row in rows] == [None]
    gate.write_text("")
    for ref in waiting:
        with pytest.raises(RuntimeEnvSetupError, match="gate is open"):
            ray.get(ref, timeout=60)


def test_py_executable(cluster):
    @ray.remote
    def mode():
        return sys.flags.dev_mode

    assert ray.get(mode.options(runtime_env={"py_executable": f"{sys.executable} -X dev"}).remote(), timeout=60)
    with pytest.raises(RuntimeEnvSetupError, match="no-such-python"):
        ray.get(mode.options(runtime_env={"py_executable": "no-such-python"}).remote(), timeout=60)


@pytest.mark.skipif(
    any(shutil.which(tool) for tool in ("micromamba", "mamba", "conda", "pixi")), reason="a conda tool is installed"
)
def test_conda_without_a_tool_says_what_was_looked_for(cluster):
    for env in ({"conda": "base"}, {"conda": {"dependencies": ["toolz"]}}):
        with pytest.raises(RuntimeEnvSetupError, match="none of micromamba, mamba, conda, pixi was found"):
            ray.get(look.options(runtime_env=env).remote("toolz"), timeout=60)


def test_archives_that_cannot_be_used(cluster, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.py", "")
    for uri, text in (
        (f"file://{tmp_path}/evil.zip", "unsafe name"),
        ("http://127.0.0.1:1/a.zip", "connection refused"),
        ("azure://bucket/a.zip", "not supported yet"),
    ):
        with pytest.raises(RuntimeEnvSetupError, match=text):
            ray.get(look.options(runtime_env={"working_dir": uri}).remote("x"), timeout=60)
    assert not (tmp_path.parent / "evil.py").exists()


def test_setup_hook(own_cluster):
    def hook():
        os.environ["RT_HOOK"] = "called"

    own_cluster({"worker_process_setup_hook": hook})
    assert ray.get(ray.remote(lambda: os.environ.get("RT_HOOK")).remote(), timeout=60) == "called"
    assert ray.get_runtime_context().runtime_env["worker_process_setup_hook"].endswith("hook")


def test_setup_hook_by_name(own_cluster, tmp_path):
    (tmp_path / "rt_hooks.py").write_text("import os\ndef hook():\n    os.environ['RT_HOOK'] = 'by name'\n")
    own_cluster({"working_dir": str(tmp_path), "worker_process_setup_hook": "rt_hooks.hook"})
    assert ray.get(ray.remote(lambda: os.environ.get("RT_HOOK")).remote(), timeout=60) == "by name"


def test_setup_hook_that_fails(own_cluster):
    def hook():
        raise ValueError("the hook is broken")

    own_cluster({"worker_process_setup_hook": hook})
    with pytest.raises(RuntimeEnvSetupError, match="the hook is broken"):
        ray.get(ray.remote(lambda: 1).remote(), timeout=60)


def test_setup_hook_that_cannot_travel():
    class Stuck:
        def __reduce__(self):
            raise RuntimeError("it cannot be pickled")

    stuck, big = Stuck(), b"x" * 200_000
    for hook, text in ((lambda: stuck, "cannot be pickled"), (lambda: big, "more than")):
        with pytest.raises(RuntimeEnvSetupError, match=text):
            ray.init(address="local", runtime_env={"worker_process_setup_hook": hook})
        assert not ray.is_initialized()
    with pytest.raises(TypeError, match="must be a function"):
        RuntimeEnv(worker_process_setup_hook=5)


def test_conda_file_is_read_by_the_driver(tmp_path):
    path = tmp_path / "environment.yml"
    path.write_text("dependencies:\n- toolz\n")
    found = RuntimeEnv(conda=str(path))["conda"]
    assert found in ({"dependencies": ["toolz"]}, {"_environment_yaml": path.read_text()})
    with pytest.raises(ValueError, match="not a valid file"):
        RuntimeEnv(conda=str(tmp_path / "none.yml"))


def test_an_upload_is_told(tmp_path):
    (tmp_path / "main.txt").write_text("hi")
    env = {"working_dir": str(tmp_path)}
    said = run_string_as_driver(
        f"import ray; ray.init('local', num_cpus=1, include_dashboard=False, runtime_env={env!r})"
    )
    assert "Pushing file package 'gcs://_ray_pkg_" in said and "Successfully pushed file package 'gcs://" in said


def test_a_working_dir_in_a_bucket(s3, own_cluster, tmp_path):
    boto3 = pytest.importorskip("boto3")
    path = tmp_path / "project.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project/beside.py", "VALUE = 'from the bucket'\n")
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.create_bucket(Bucket="code")
    client.upload_file(str(path), "code", "some/project.zip")
    own_cluster({"working_dir": "s3://code/some/project.zip"})
    assert ray.get(look.remote("beside"), timeout=60)[0] == "from the bucket"
    missing = look.options(runtime_env={"py_modules": ["s3://code/none.zip"]})
    with pytest.raises(RuntimeEnvSetupError, match="s3://code/none.zip"):
        ray.get(missing.remote("beside"), timeout=60)
