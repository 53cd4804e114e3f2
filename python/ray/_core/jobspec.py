"""What a driver tells the cluster about its job."""

import json
import os
import sys
from typing import Any, Dict, Optional


def job_spec(
    namespace: Optional[str],
    runtime_env: Dict[str, Any],
    log_to_driver: bool,
    job_config: Any,
    config_env: Dict[str, Any],
) -> Dict[str, Any]:
    metadata: Dict[str, str] = {}
    lifetime = None
    if job_config is not None:
        metadata.update({str(key): str(value) for key, value in (job_config.metadata or {}).items()})
        lifetime = getattr(job_config, "default_actor_lifetime", None)
        namespace = namespace or job_config.ray_namespace
    # What was submitted wins over the program's own.
    metadata.update({str(key): str(value) for key, value in (config_env.get("metadata") or {}).items()})
    if lifetime == "detached":
        metadata["default_actor_lifetime"] = lifetime
    sys_path = [os.path.abspath(path) if path else os.getcwd() for path in sys.path]
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys_path = [path for path in dict.fromkeys(sys_path) if path != own and _worth_sending(path)]
    if job_config is not None and getattr(job_config, "_py_driver_sys_path", None):
        sys_path = list(job_config._py_driver_sys_path) + sys_path
    return {
        "entrypoint": " ".join(sys.argv) if sys.argv and sys.argv[0] else "(interactive_shell) " + " ".join(sys.argv),
        "namespace": namespace or _anonymous(),
        "runtime_env": runtime_env or None,
        "sys_path": sys_path,
        "cwd": os.getcwd(),
        "metadata": metadata,
        "submission_id": metadata.get("job_submission_id", ""),
        "log_to_driver": log_to_driver,
        "name": metadata.get("job_name", ""),
        "executable": sys.executable,
    }


def _worth_sending(path: str) -> bool:
    """Workers run the same interpreter: its own library needs no mention, the user's folders do."""
    if not os.path.exists(path):
        return False
    return not path.startswith(
        (os.path.join(sys.base_prefix, "lib", "python"), os.path.join(sys.prefix, "lib", "python"))
    )


def _anonymous() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def merged_env(runtime_env: Any, job_config: Any, config_env: Dict[str, Any]) -> Dict[str, Any]:
    """The runtime environment of the job: the program's and the submission's."""
    own: Dict[str, Any] = dict(runtime_env or {})
    if not own and job_config is not None:
        own = dict(job_config.runtime_env or {})
    submitted = dict(config_env.get("runtime_env") or {})
    if os.environ.get("RAY_RUNTIME_ENV") and not own:
        own = json.loads(os.environ["RAY_RUNTIME_ENV"])
    if not submitted:
        return own
    if os.environ.get("RAY_OVERRIDE_JOB_RUNTIME_ENV") != "1":
        clash = (set(own) & set(submitted)) - {"env_vars"}
        names = set(own.get("env_vars") or {}) & set(submitted.get("env_vars") or {})
        if clash or names:
            raise ValueError(
                f"Failed to merge the Job's runtime env {submitted} with a ray.init's runtime env {own}: both set "
                f"{', '.join(sorted(clash) + sorted(names))}. Set RAY_OVERRIDE_JOB_RUNTIME_ENV=1 to let ray.init's win."
            )
    from ray.runtime_env.normalize import merge

    return merge(submitted, own)


def sendable(env: Dict[str, Any]) -> Dict[str, Any]:
    """The environment with the URIs that its local folders will have; checked."""
    if not env:
        return {}
    from ray.runtime_env.normalize import checked, upload_local

    return upload_local(checked(env), lambda uri: True, lambda uri, data: None)
