"""From what a user wrote to what a cluster is sent.

``normalize`` is for a job: local folders are packed and uploaded.
``normalize_options`` is for one task or actor: it may only name packages that
are somewhere already.
"""

import os
from typing import Any, Dict, List, Optional, Union

from ray.runtime_env import hooks, packaging
from ray.runtime_env.packaging import Exists, Upload, is_uri, upload_directory, upload_package
from ray.runtime_env.runtime_env import RuntimeEnv

#: Fields that the cluster provides, and those that only concern this side.
SUPPORTED = (
    "env_vars",
    "working_dir",
    "py_modules",
    "pip",
    "uv",
    "conda",
    "py_executable",
    "worker_process_setup_hook",
    "image_uri",
    "container",
    "config",
)
LOCAL_ONLY = ("excludes", "_ray_release", "_ray_commit", "_inject_current_ray")
_PUBLIC_NAMES = {"_nsight": "nsight", "_rocprof_sys": "rocprof_sys"}

Env = Union[Dict[str, Any], RuntimeEnv]


def checked(env: Optional[Env]) -> RuntimeEnv:
    """The environment as a checked RuntimeEnv (a copy).

    Raises:
        TypeError: env is no dict, or a field has the wrong type.
        ValueError: a field cannot be, or is not supported yet.
    """
    if env is None:
        return RuntimeEnv()
    if not isinstance(env, dict):
        raise TypeError(f"runtime_env must be a dict or a RuntimeEnv, got {type(env)}")
    fields = {_PUBLIC_NAMES.get(name, name): value for name, value in env.items()}
    result = RuntimeEnv(**fields)
    for name in result:
        if name not in SUPPORTED and name not in LOCAL_ONLY and not _left_to_plugins(name):
            raise ValueError(_unsupported(_PUBLIC_NAMES.get(name, name)))
    return result


def _unsupported(name: str) -> str:
    if name in RuntimeEnv.known_fields or name in _PUBLIC_NAMES.values():
        return f"not supported yet: runtime_env field {name!r}"
    return (
        f"runtime_env has an unknown field {name!r}; supported are {', '.join(SUPPORTED + ('excludes',))}, "
        "and fields of plugins if RAY_RUNTIME_ENV_PLUGINS is set for the driver as for the nodes"
    )


def _left_to_plugins(name: str) -> bool:
    """Whether the nodes are to say what they think of a field."""
    known = name in RuntimeEnv.known_fields or name in _PUBLIC_NAMES.values()
    return not known and bool(os.environ.get("RAY_RUNTIME_ENV_PLUGINS"))


def normalize(env: Optional[Env], client: Any = None) -> Dict[str, Any]:
    """The environment of a job, as the cluster is sent it: local folders are uploaded.

    Args:
        env: what the user wrote.
        client: the connection; with None nothing can be uploaded and local
            folders are refused as in :func:`normalize_options`.

    Returns:
        A plain dict with some of the fields in ``SUPPORTED``; folders have
        become ``gcs://`` URIs, a function in ``worker_process_setup_hook`` its name.

    Raises:
        TypeError, ValueError: see :func:`checked`.
    """
    if client is None:
        return normalize_options(env)

    def exists(uri: str) -> bool:
        return bool(client.call("pkg.exists", {"uri": uri})[0]["exists"])

    def upload(uri: str, data: bytes) -> None:
        client.call("pkg.put", {"uri": uri}, data)

    return upload_local(checked(env), exists, upload)


def upload_local(env: RuntimeEnv, exists: Exists, upload: Upload) -> Dict[str, Any]:
    """Replaces local folders by the URIs of uploaded packages."""
    result = _plain(env)
    excludes: List[str] = list(env.get("excludes", []))
    if "working_dir" in result:
        result["working_dir"] = _upload_one(result["working_dir"], excludes, False, exists, upload)
    if "py_modules" in result:
        result["py_modules"] = [_upload_one(item, excludes, True, exists, upload) for item in result["py_modules"]]
    return result


def _upload_one(path: str, excludes: List[str], module: bool, exists: Exists, upload: Upload) -> str:
    if is_uri(path):
        return path
    local = os.path.expanduser(path)
    suffixes = packaging.ARCHIVE_SUFFIXES + ((packaging.WHEEL_SUFFIX,) if module else ())
    if os.path.isfile(local) and local.endswith(suffixes):
        return upload_package(local, exists, upload)
    if os.path.isfile(local) and not (module and local.endswith(".py")):
        raise ValueError(f"{path} must be a folder or an archive ({', '.join(suffixes)})")
    return upload_directory(local, excludes, module, exists, upload)


def normalize_options(env: Optional[Env]) -> Dict[str, Any]:
    """The environment of one task or actor, as the cluster is sent it.

    Raises:
        ValueError: it names a local folder; only a job can upload one.
        TypeError, ValueError: see :func:`checked`.
    """
    return _plain(check_options(env))


def check_options(env: Optional[Env]) -> RuntimeEnv:
    """Refuses what :func:`normalize_options` would refuse; nothing is sent."""
    result = checked(env)
    named = [("working_dir", result["working_dir"])] if "working_dir" in result else []
    named += [("py_modules", item) for item in result.get("py_modules", [])]
    for field, path in named:
        if not is_uri(path):
            raise ValueError(
                f"runtime_env[{field!r}] of a task or actor must be a URI, got the local path {path!r}. "
                f"Give local folders to the whole job: ray.init(runtime_env={{{field!r}: ...}})."
            )
    return result


def _plain(env: RuntimeEnv) -> Dict[str, Any]:
    found = {name: value for name, value in env.items() if name in SUPPORTED or _left_to_plugins(name)}
    plain = {name: dict(value) if isinstance(value, dict) else value for name, value in found.items()}
    if callable(plain.get("worker_process_setup_hook")):
        hooks.export(plain)
    return plain


def merge(parent: Optional[Dict[str, Any]], child: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """The child's fields over the parent's; ``env_vars`` are merged name by name."""
    merged = dict(parent or {})
    for name, value in (child or {}).items():
        if name == "env_vars":
            value = {**merged.get("env_vars", {}), **value}
        merged[name] = value
    return merged
