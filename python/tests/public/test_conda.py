"""Environments of conda packages, solved and linked by rattler: see conda_over_rattler.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import ray
from ray.exceptions import RuntimeEnvSetupError

from .test_runtime_env_cluster import make_wheel

PROGRAM = pathlib.Path(__file__).with_name("conda_over_rattler.py")
PYTHON = "%d.%d" % sys.version_info[:2]

# Packing an interpreter costs some 10 s on two cores.
pytestmark = pytest.mark.timeout(300)


def command(*words, env=None):
    return subprocess.run([sys.executable, str(PROGRAM), *words], env=env, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """URL of a channel with ``python``, ``pip`` and ``greeting`` 1.0 and 2.0."""
    pytest.importorskip("rattler", reason="py-rattler is not there: scripts/build --test installs it")
    folder = tmp_path_factory.mktemp("channel")
    command("pack", str(folder))
    return folder.as_uri()


@pytest.fixture(scope="module")
def cluster(channel, tmp_path_factory):
    """A node that finds a conda; the value is the root of that one's named environments."""
    root = tmp_path_factory.mktemp("conda")
    tool = root / "conda"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {PROGRAM} "$@"\n')
    tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{root}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("CONDA_OVER_RATTLER", str(root))
        ray.shutdown()
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield root
        ray.shutdown()


@ray.remote
def look(*modules):
    import importlib

    values = [importlib.import_module(name).VALUE for name in modules]
    return values, sys.prefix, os.environ.get("CONDA_PREFIX"), os.getpid()


def test_packages_of_a_channel_and_of_pip(cluster, channel, tmp_path):
    wheel = make_wheel(tmp_path, "rt_beside", "1.0", "VALUE = 'from pip'\n")
    conda = {"channels": [channel], "dependencies": ["greeting<2", "pip", {"pip": [str(wheel)]}]}
    task = look.options(runtime_env={"conda": conda})
    values, prefix, named, _ = ray.get(task.remote("greeting", "rt_beside"), timeout=120)
    assert values == ["hello 1.0", "from pip"]
    assert prefix == named != sys.prefix
    # The same definition from a file is the same environment.
    path = tmp_path / "environment.yml"
    path.write_text(json.dumps(conda))
    again = look.options(runtime_env={"conda": str(path)})
    assert ray.get(again.remote("greeting"), timeout=120)[1] == prefix


def test_a_named_environment(cluster, channel, tmp_path):
    prefix = cluster / "envs" / "mine"
    file = tmp_path / "environment.yml"
    file.write_text(json.dumps({"channels": [channel], "dependencies": [f"python={PYTHON}", "greeting"]}))
    command("env", "create", "--prefix", str(prefix), "--file", str(file))
    found = ray.get(look.options(runtime_env={"conda": "mine"}).remote("greeting"), timeout=120)
    assert found[:3] == (["hello 2.0"], str(prefix), str(prefix))
    with pytest.raises(RuntimeEnvSetupError, match='no environment "yours" .*envs/mine'):
        ray.get(look.options(runtime_env={"conda": "yours"}).remote(), timeout=120)


def test_what_cannot_be_solved_is_told(cluster, channel):
    conda = {"channels": [channel], "dependencies": ["greeting>=3"]}
    with pytest.raises(RuntimeEnvSetupError) as raised:
        ray.get(look.options(runtime_env={"conda": conda}).remote(), timeout=120)
    said = str(raised.value)
    assert "greeting >=3" in said and "conda env create --prefix" in said and "exit status 1" in said
