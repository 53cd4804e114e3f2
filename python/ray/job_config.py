"""Settings of one job."""

from typing import Any, Dict, List, Optional, Union

from ray._private.ray_logging.logging_config import LoggingConfig

_LIFETIMES = ("detached", "non_detached")


class JobConfig:
    """What a driver tells about its job; see ``ray.init(job_config=)``.

    Args:
        jvm_options, code_search_path: kept for programs that give them; other
            languages are not supported.
        runtime_env: environment of the job.
        metadata: anything to remember, text to text.
        ray_namespace: namespace of the job's actors.
        default_actor_lifetime: ``"non_detached"`` or ``"detached"``.

    Raises:
        ValueError: default_actor_lifetime is neither.
    """

    def __init__(
        self,
        jvm_options: Optional[List[str]] = None,
        code_search_path: Optional[List[str]] = None,
        runtime_env: Optional[Dict[str, Any]] = None,
        _client_job: bool = False,
        metadata: Optional[Dict[str, str]] = None,
        ray_namespace: Optional[str] = None,
        default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False,
        _py_driver_sys_path: Optional[List[str]] = None,
    ) -> None:
        self.jvm_options = list(jvm_options or [])
        self.code_search_path = list(code_search_path or [])
        self._client_job = _client_job
        self.metadata: Dict[str, str] = dict(metadata or {})
        self.ray_namespace = ray_namespace
        self.runtime_env: Dict[str, Any] = {}
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)
        self._disable_job_level_lineage_reconstruction = _disable_job_level_lineage_reconstruction
        self._py_driver_sys_path = list(_py_driver_sys_path or [])
        self.py_logging_config: Optional[LoggingConfig] = None

    def set_metadata(self, key: str, value: str) -> None:
        """Adds an entry to the metadata."""
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: Optional[Dict[str, Any]], validate: bool = False) -> None:
        """Replaces the environment; with validate it is checked now instead of at ray.init()."""
        if validate and runtime_env is not None:
            from ray.runtime_env import RuntimeEnv

            runtime_env = RuntimeEnv(**runtime_env)
        self.runtime_env = runtime_env if runtime_env is not None else {}

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Replaces the namespace."""
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Replaces the lifetime of actors that do not say their own."""
        if default_actor_lifetime not in _LIFETIMES:
            raise ValueError(f"Default actor lifetime must be one of {', '.join(_LIFETIMES)}")
        self.default_actor_lifetime = default_actor_lifetime

    def set_py_logging_config(self, logging_config: Optional[LoggingConfig] = None) -> None:
        """Replaces how driver and workers log."""
        self.py_logging_config = logging_config

    def ensure_logging_config(self, logging_config: Union[Dict[str, Any], LoggingConfig, None] = None) -> None:
        """Sets how driver and workers log, unless that is set already."""
        if isinstance(logging_config, dict):
            logging_config = LoggingConfig.from_dict(logging_config)
        if logging_config is not None and self.py_logging_config is None:
            self.py_logging_config = logging_config

    @classmethod
    def from_json(cls, job_config_json: Dict[str, Any]) -> "JobConfig":
        """The settings of a dict, as RAY_JOB_CONFIG_JSON_ENV_VAR holds them."""
        return cls(
            jvm_options=job_config_json.get("jvm_options"),
            code_search_path=job_config_json.get("code_search_path"),
            runtime_env=job_config_json.get("runtime_env"),
            metadata=job_config_json.get("metadata"),
            ray_namespace=job_config_json.get("ray_namespace"),
            _client_job=job_config_json.get("client_job", False),
            _py_driver_sys_path=job_config_json.get("py_driver_sys_path"),
        )
