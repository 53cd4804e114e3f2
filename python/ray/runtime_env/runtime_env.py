"""The classes that describe an environment."""

import json
from typing import Any, Callable, ClassVar, Dict, List, Optional, Set, Tuple, Union

from ray.runtime_env.validation import CHECKS

OptionalEnv = Optional[Union[Dict[str, Any], str]]


class RuntimeEnvConfig(dict):
    """How an environment is made.

    Args:
        setup_timeout_seconds: most seconds that making it may take; -1 for no limit.
        eager_install: make it when the job starts, not with the first task.
        log_files: further files to which the progress is written.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: the time-out is zero or below -1.
    """

    known_fields: ClassVar[Set[str]] = {"setup_timeout_seconds", "eager_install", "log_files"}
    _default_config: ClassVar[Dict[str, Any]] = {
        "setup_timeout_seconds": 600,
        "eager_install": True,
        "log_files": [],
    }

    def __init__(
        self,
        setup_timeout_seconds: int = 600,
        eager_install: bool = True,
        log_files: Optional[List[str]] = None,
    ) -> None:
        super().__init__()
        if not isinstance(setup_timeout_seconds, int) or isinstance(setup_timeout_seconds, bool):
            raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(setup_timeout_seconds)}")
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(
                f"setup_timeout_seconds must be greater than zero or equal to -1, got: {setup_timeout_seconds}"
            )
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a boolean, got {type(eager_install)}")
        if log_files is not None and not (
            isinstance(log_files, list) and all(isinstance(name, str) for name in log_files)
        ):
            raise TypeError(f"log_files must be a list of strings, got {log_files}")
        self["setup_timeout_seconds"] = setup_timeout_seconds
        self["eager_install"] = eager_install
        self["log_files"] = list(log_files or [])

    @staticmethod
    def parse_and_validate_runtime_env_config(
        config: Union[Dict[str, Any], "RuntimeEnvConfig"],
    ) -> "RuntimeEnvConfig":
        """A config from a plain dict; one that is a config already comes back."""
        if isinstance(config, RuntimeEnvConfig):
            return config
        if not isinstance(config, dict):
            raise TypeError(f"runtime_env['config'] must be of type dict or RuntimeEnvConfig, got: {type(config)}")
        unknown = set(config) - RuntimeEnvConfig.known_fields
        if unknown:
            raise ValueError(
                f"runtime_env['config'] has unknown fields {sorted(unknown)}; "
                f"it takes {sorted(RuntimeEnvConfig.known_fields)}"
            )
        return RuntimeEnvConfig(**config)

    @classmethod
    def default_config(cls) -> "RuntimeEnvConfig":
        """What counts where nothing is said."""
        return cls()

    def to_dict(self) -> Dict[str, Any]:
        """A plain copy."""
        return dict(self)


class RuntimeEnv(dict):
    """What a job, a task or an actor needs around it.

    Fields are read like those of a dict; absent ones are left out.

    Args:
        working_dir: folder (packed and sent to the cluster), archive or URI of an archive.
        py_modules: folders, wheels or URIs that become importable.
        env_vars: variables of the worker processes; ``${NAME}`` refers to what the node has.
        config: see :class:`RuntimeEnvConfig`.
        excludes: gitignore patterns of what is left out of the folders.

    The other fields are checked here; a cluster that cannot provide one says so
    when the environment is used.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field has a value that cannot be, or two fields exclude each other.
    """

    known_fields: ClassVar[Set[str]] = {
        "py_modules",
        "py_executable",
        "java_jars",
        "working_dir",
        "conda",
        "pip",
        "uv",
        "container",
        "excludes",
        "env_vars",
        "_ray_release",
        "_ray_commit",
        "_inject_current_ray",
        "config",
        "worker_process_setup_hook",
        "_nsight",
        "_rocprof_sys",
        "mpi",
        "image_uri",
    }
    extensions_fields: ClassVar[Set[str]] = {"_ray_release", "_ray_commit", "_inject_current_ray"}

    def __init__(
        self,
        *,
        py_modules: Optional[List[str]] = None,
        py_executable: Optional[str] = None,
        working_dir: Optional[str] = None,
        pip: Optional[List[str]] = None,
        conda: OptionalEnv = None,
        container: Optional[Dict[str, str]] = None,
        env_vars: Optional[Dict[str, str]] = None,
        worker_process_setup_hook: Optional[Union[Callable[..., Any], str]] = None,
        nsight: OptionalEnv = None,
        rocprof_sys: OptionalEnv = None,
        config: Optional[Union[Dict[str, Any], RuntimeEnvConfig]] = None,
        _validate: bool = True,
        image_uri: Optional[str] = None,
        uv: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        fields = dict(
            py_modules=py_modules,
            py_executable=py_executable,
            working_dir=working_dir,
            pip=pip,
            conda=conda,
            container=container,
            env_vars=env_vars,
            worker_process_setup_hook=worker_process_setup_hook,
            _nsight=nsight,
            _rocprof_sys=rocprof_sys,
            config=config,
            image_uri=image_uri,
            uv=uv,
            **kwargs,
        )
        given = {name: value for name, value in fields.items() if value is not None}
        _check_combination(given)
        for name, value in given.items():
            if _validate:
                self[name] = value
            else:
                super().__setitem__(name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a field after checking it; an empty value takes the field out."""
        if key == "config":
            value = RuntimeEnvConfig.parse_and_validate_runtime_env_config(value)
        elif key in CHECKS:
            value = CHECKS[key](value)
            if value is None or value == {}:
                self.pop(key, None)
                return
        super().__setitem__(key, value)

    def set(self, name: str, value: Any) -> None:
        """Sets a field; raises as the constructor does."""
        self[name] = value

    def get(self, name: str, default: Any = None, data_class: Any = None) -> Any:
        """A field, or default. With data_class the field becomes an object of it."""
        if name not in self:
            return default
        value = self[name]
        if data_class is None or isinstance(value, data_class):
            return value
        return data_class(**value) if isinstance(value, dict) else data_class(value)

    def to_dict(self) -> Dict[str, Any]:
        """A plain copy, as deep as JSON goes."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in self.items()}

    def serialize(self) -> str:
        """JSON with sorted keys: equal environments give equal texts."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, text: str) -> "RuntimeEnv":
        """The environment of a text that :meth:`serialize` gave."""
        fields = json.loads(text)
        for public, private in (("nsight", "_nsight"), ("rocprof_sys", "_rocprof_sys")):
            if private in fields:
                fields[public] = fields.pop(private)
        return cls(_validate=False, **fields)

    def __reduce__(self) -> Tuple[Any, ...]:
        return _rebuild, (dict(self),)

    def working_dir(self) -> str:
        """The working folder or its URI, "" if there is none."""
        return self.get("working_dir", "")

    def working_dir_uri(self) -> Optional[str]:
        """URI of the working folder, None if there is none."""
        return self.get("working_dir")

    def has_working_dir(self) -> bool:
        """Whether there is a working folder."""
        return bool(self.get("working_dir"))

    def py_modules(self) -> List[str]:
        """The modules, [] if there are none."""
        return list(self.get("py_modules", []))

    def py_modules_uris(self) -> List[str]:
        """URIs of the modules."""
        return list(self.get("py_modules", []))

    def env_vars(self) -> Dict[str, str]:
        """The variables, {} if there are none."""
        return dict(self.get("env_vars", {}))

    def py_executable(self) -> Optional[str]:
        """The command that runs workers, None if it is the cluster's."""
        return self.get("py_executable")

    def image_uri(self) -> Optional[str]:
        """The container image, None if there is none."""
        return self.get("image_uri")

    def has_pip(self) -> bool:
        """Whether packages are installed with pip."""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Whether packages are installed with uv."""
        return bool(self.get("uv"))

    def has_conda(self) -> bool:
        """Whether a conda environment is used."""
        return bool(self.get("conda"))

    def pip_config(self) -> Dict[str, Any]:
        """The pip field, {} if there is none."""
        return dict(self.get("pip", {}))

    def uv_config(self) -> Dict[str, Any]:
        """The uv field, {} if there is none."""
        return dict(self.get("uv", {}))

    def has_py_container(self) -> bool:
        """Whether a container is asked for in the old way."""
        return bool(self.get("container"))

    def get_extension(self, key: str) -> Optional[str]:
        """One of the internal fields, None if it is not set."""
        if key not in self.extensions_fields:
            raise ValueError(f"{key} is no internal field; those are {sorted(self.extensions_fields)}")
        return self.get(key)

    def plugins(self) -> List[Tuple[str, Any]]:
        """Fields that this package does not know."""
        return [(name, value) for name, value in self.items() if name not in self.known_fields]


def _rebuild(fields: Dict[str, Any]) -> RuntimeEnv:
    env = RuntimeEnv()
    dict.update(env, fields)
    return env


def _check_combination(given: Dict[str, Any]) -> None:
    """Raises ValueError for fields that exclude each other."""
    chosen = [name for name in ("pip", "uv", "conda") if given.get(name)]
    if len(chosen) > 1:
        raise ValueError(
            "The 'pip' field, 'uv' field, and 'conda' field of runtime_env cannot be specified at the same time; "
            f"got {', '.join(f'{name}: {given[name]}' for name in chosen)}. To use pip inside a conda "
            "environment, set only 'conda' and list the pip packages in it."
        )
    for image in ("image_uri", "container"):
        if image in given:
            allowed = {image, "config", "env_vars", "_ray_commit", "_ray_release"}
            if image == "container":
                allowed |= {"working_dir", "py_modules"}
            others = sorted(set(given) - allowed)
            if others:
                raise ValueError(
                    f"The '{image}' field currently cannot be used together with other fields of runtime_env. "
                    f"Specified fields: {others}"
                )


def mpi_init() -> None:
    """Always raises: environments with MPI are not there."""
    raise NotImplementedError("not supported yet: runtime_env field 'mpi'")
