"""Runtime environments: what is accepted, what is refused, what is sent."""

import json
import pickle
from types import SimpleNamespace

import pytest
import ray
from ray._core import state
from ray.runtime_env import RuntimeEnv, RuntimeEnvConfig
from ray.runtime_env.normalize import merge, normalize, normalize_options


@pytest.mark.parametrize(
    "fields, error, text",
    [
        ({"env_vars": {"A": 1}}, TypeError, "Dict"),
        ({"env_vars": ["A"]}, TypeError, "Dict"),
        ({"env_vars": {1: "a"}}, TypeError, "key 1"),
        ({"env_vars": {"A=B": "a"}}, ValueError, "A=B"),
        ({"working_dir": 5}, TypeError, "must be a string"),
        ({"working_dir": "/no/such"}, ValueError, "not a valid path"),
        ({"working_dir": "s3://b/f"}, ValueError, "Only .zip"),
        ({"py_modules": "x"}, TypeError, "list of strings"),
        ({"py_modules": ["/no/such"]}, ValueError, "not a valid path"),
        ({"py_modules": [5]}, TypeError, "must be a string"),
        ({"pip": ["a"], "conda": "base"}, ValueError, "same time"),
        ({"pip": {"pip_check": True}}, ValueError, "packages"),
        ({"pip": 5}, TypeError, "pip"),
        ({"pip": "/no/req.txt"}, ValueError, "not a valid file"),
        ({"uv": 5}, TypeError, "uv"),
        ({"conda": 5}, TypeError, "conda"),
        ({"config": {"setup_timeout_seconds": 0}}, ValueError, "greater than zero"),
        ({"config": {"setup_timeout_seconds": "x"}}, TypeError, "type int"),
        ({"config": {"eager_install": 5}}, TypeError, "boolean"),
        ({"config": {"what": 5}}, ValueError, "what"),
        ({"config": 5}, TypeError, "config"),
        ({"excludes": "a"}, TypeError, "List"),
        ({"image_uri": "x", "pip": ["a"]}, ValueError, "together"),
    ],
    ids=str,
)
def test_refused(fields, error, text):
    with pytest.raises(error, match=text):
        RuntimeEnv(**fields)


def test_accepted(tmp_path):
    env = RuntimeEnv(env_vars={"B": "1", "A": "2"}, working_dir=str(tmp_path), config={"setup_timeout_seconds": 10})
    assert env["env_vars"] == {"B": "1", "A": "2"} and env.env_vars() == {"B": "1", "A": "2"}
    assert env.working_dir() == str(tmp_path) and env.py_modules() == [] and not env.has_pip()
    assert env["config"] == {"setup_timeout_seconds": 10, "eager_install": True, "log_files": []}
    assert RuntimeEnv(env_vars={}) == {}
    assert RuntimeEnv(working_dir=None) == {}
    assert RuntimeEnv(env_vars={"A": "1"}) == {"env_vars": {"A": "1"}}
    assert RuntimeEnv(env_vars={"B": "1", "A": "2"}).serialize() == '{"env_vars": {"A": "2", "B": "1"}}'
    assert RuntimeEnv.deserialize('{"env_vars": {"A": "1"}}').env_vars() == {"A": "1"}
    copy = pickle.loads(pickle.dumps(env))
    assert copy == env and type(copy) is RuntimeEnv


def test_fields_are_checked_when_set():
    env = RuntimeEnv(env_vars={"A": "1"})
    with pytest.raises(TypeError):
        env["env_vars"] = {"A": 5}
    with pytest.raises(TypeError):
        env.set("env_vars", {"A": 5})
    env.set("env_vars", {"A": "2"})
    assert env.env_vars() == {"A": "2"}


def test_config_defaults():
    assert RuntimeEnvConfig() == {"setup_timeout_seconds": 600, "eager_install": True, "log_files": []}
    with pytest.raises(ValueError):
        RuntimeEnvConfig(setup_timeout_seconds=-2)


def test_not_supported_yet():
    with pytest.raises(ValueError, match="not supported yet: runtime_env field 'nsight'"):
        normalize_options({"_nsight": "default"})


@pytest.mark.parametrize(
    "field, value",
    [("container", {}), ("container", "x"), ("container", {"image": "x", "run_options": "-v"}), ("image_uri", 5)],
)
def test_images_are_named(field, value):
    with pytest.raises(TypeError, match=field):
        normalize_options({field: value})


def test_images_stand_alone():
    assert normalize_options({"image_uri": "x", "env_vars": {"A": "1"}})["image_uri"] == "x"
    with pytest.raises(ValueError, match="cannot be used together"):
        normalize_options({"image_uri": "x", "pip": ["a"]})


def test_unknown_field():
    with pytest.raises(ValueError, match="unknown field 'envvars'"):
        normalize_options({"envvars": {}})
    with pytest.raises(TypeError, match="must be a dict"):
        normalize_options(5)


def test_options_name_no_local_folder(tmp_path):
    for env in ({"working_dir": str(tmp_path)}, {"py_modules": [str(tmp_path)]}):
        with pytest.raises(ValueError, match="must be a URI"):
            normalize_options(env)
    kept = {"working_dir": "https://host/a.zip", "env_vars": {"A": "1"}}
    assert normalize_options(kept) == kept
    assert normalize_options(None) == {}


def test_a_job_uploads_folders(client, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "x.py").write_text("")
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod" / "__init__.py").write_text("")
    client.answers["pkg.exists"] = {"exists": False}
    env = {"working_dir": str(tmp_path / "work"), "py_modules": [str(tmp_path / "mod")], "excludes": ["*.log"]}
    sent = normalize(env, client)
    assert sorted(sent) == ["py_modules", "working_dir"]
    assert sent["working_dir"].startswith("gcs://_ray_pkg_")
    methods = [method for method, _, _ in client.calls]
    assert methods == ["pkg.exists", "pkg.put", "pkg.exists", "pkg.put"]
    assert client.calls[1][1] == {"uri": sent["working_dir"]}
    assert client.calls[1][2][:2] == b"PK"


def test_merge():
    parent = {"env_vars": {"A": "1", "B": "1"}, "working_dir": "gcs://a.zip"}
    assert merge(parent, {"env_vars": {"B": "2"}}) == {
        "env_vars": {"A": "1", "B": "2"},
        "working_dir": "gcs://a.zip",
    }
    assert parent["env_vars"] == {"A": "1", "B": "1"}
    assert merge(None, None) == {}


def test_hook_of_the_environment(monkeypatch, tmp_path):
    from ray._core.bootstrap import _hooked

    (tmp_path / "rt_env_hook.py").write_text("def add(env):\n    return {**env, 'env_vars': {'HOOKED': '1'}}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("RAY_RUNTIME_ENV_HOOK", raising=False)
    assert _hooked(None) is None
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "rt_env_hook.add")
    assert _hooked({"pip": ["x"]}) == {"pip": ["x"], "env_vars": {"HOOKED": "1"}}
    for wrong in ("rt_env_hook.none", "no_such_module.add", "add"):
        monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", wrong)
        with pytest.raises(ValueError, match="names no function"):
            _hooked({})


def test_what_was_submitted_counts_more(monkeypatch, tmp_path):
    """The hook sees the environment of the submission, too; metadata of the submission wins."""
    from ray._core.bootstrap import _job_of
    from ray._private.core_worker import CoreWorker
    from ray.job_config import JobConfig

    (tmp_path / "rt_env_seen.py").write_text(
        "def add(env):\n    return {'env_vars': {**env['env_vars'], 'SEEN': '1'}}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "rt_env_seen.add")
    monkeypatch.delenv("RAY_NAMESPACE", raising=False)
    monkeypatch.delenv("RAY_OVERRIDE_JOB_RUNTIME_ENV", raising=False)
    monkeypatch.delenv("RAY_RUNTIME_ENV", raising=False)
    submitted = {"runtime_env": {"env_vars": {"A": "1"}}, "metadata": {"owner": "submitter"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(submitted))
    own = JobConfig(metadata={"owner": "program", "phase": "two"}, ray_namespace="mine")
    env, job = _job_of(None, {"env_vars": {"B": "2"}}, True, own)
    assert env == job["runtime_env"] == {"env_vars": {"A": "1", "B": "2", "SEEN": "1"}}
    assert job["metadata"] == {"owner": "submitter", "phase": "two"}

    monkeypatch.setattr(state, "_client", SimpleNamespace(dead=None, job_config=job, check_alive=lambda: None))
    told = CoreWorker().get_job_config()
    assert (told.metadata, told.runtime_env, told.ray_namespace) == (job["metadata"], env, "mine")


def test_local_folder_of_a_task_is_refused_at_once(tmp_path):
    for env in ({"working_dir": str(tmp_path)}, {"py_modules": [str(tmp_path)]}, {"pip": ["a"], "conda": "b"}):
        with pytest.raises(ValueError):
            ray.remote(runtime_env=env)(lambda: 1)
        with pytest.raises(ValueError):
            ray.remote(lambda: 1).options(runtime_env=env)
