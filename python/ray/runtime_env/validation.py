"""Checks of the fields of a runtime environment, without touching a cluster."""

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

from ray.runtime_env.packaging import ARCHIVE_SUFFIXES, WHEEL_SUFFIX, is_uri, split_uri

EnvVars = Dict[str, str]


def check_path(path: str) -> None:
    """Raises ValueError unless path is something that exists on this machine."""
    if not Path(os.path.expanduser(path)).exists():
        raise ValueError(f"{path} is not a valid path: nothing of that name exists on this machine.")


def _check_archive_uri(field: str, uri: str, suffixes: "tuple[str, ...]") -> None:
    scheme, _ = split_uri(uri)
    if scheme != "gcs" and not uri.split("?")[0].endswith(suffixes):
        raise ValueError(f"Only {', '.join(suffixes)} files are supported for {field} URIs; got {uri}.")


def check_working_dir(value: Any) -> str:
    """A folder, an archive or a URI of an archive.

    Raises:
        TypeError: it is no string.
        ValueError: there is no such path, or the URI names no archive.
    """
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise TypeError(f"`working_dir` must be a string, got {type(value)}.")
    if is_uri(value):
        _check_archive_uri("working_dir", value, ARCHIVE_SUFFIXES)
    else:
        check_path(value)
    return value


def check_py_modules(value: Any) -> List[str]:
    """A list of folders, modules, wheels or URIs of them; module objects give their folder."""
    if not isinstance(value, list):
        raise TypeError(f"`py_modules` must be a list of strings, got {type(value)}.")
    found = []
    for item in value:
        if isinstance(item, Path):
            item = str(item)
        elif hasattr(item, "__path__") or hasattr(item, "__file__"):
            item = _module_path(item)
        if not isinstance(item, str):
            raise TypeError(f"`py_module` must be a string, got {type(item)}.")
        if is_uri(item):
            _check_archive_uri("py_modules", item, ARCHIVE_SUFFIXES + (WHEEL_SUFFIX,))
        else:
            check_path(item)
        found.append(item)
    return found


def _module_path(module: Any) -> str:
    folders = list(getattr(module, "__path__", []))
    if len(folders) > 1:
        raise ValueError(f"py_modules only supports modules whose __path__ has one entry, got {folders}.")
    return folders[0] if folders else module.__file__


def check_env_vars(value: Any) -> Optional[EnvVars]:
    """Names and values are strings.

    Raises:
        TypeError: something else is among them.
    """
    if not isinstance(value, dict):
        raise TypeError(f"runtime_env['env_vars'] must be of type Dict[str, str], got {type(value)}")
    for name, content in value.items():
        for what, part in (("key", name), ("value", content)):
            if not isinstance(part, str):
                raise TypeError(
                    "runtime_env['env_vars'] must be of type Dict[str, str], "
                    f"but the {what} {part!r} is of type {type(part)}"
                    + (f" (of the variable {name!r})" if what == "value" else "")
                )
        if not name or "=" in name or "\0" in name + content:
            raise ValueError(f"runtime_env['env_vars']: {name!r} cannot be a variable of a process")
    return dict(value) or None


def check_excludes(value: Any) -> Optional[List[str]]:
    """A list of gitignore patterns."""
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise TypeError(f"runtime_env['excludes'] must be of type List[str], got {type(value)}")
    return list(value) or None


def _packages_of_file(value: str) -> List[str]:
    path = Path(value).expanduser()
    if not path.is_file():
        raise ValueError(f"{value} is not a valid file")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _check_installer(field: str, value: Any, check_key: str, options_keys: "tuple[str, ...]") -> Dict[str, Any]:
    """The common shape of 'pip' and 'uv': a list of packages, a file of them, or a dict."""
    if isinstance(value, str):
        value = {"packages": _packages_of_file(value)}
    elif isinstance(value, list):
        if not all(isinstance(package, str) for package in value):
            raise TypeError(f"runtime_env['{field}'] must be of type List[str], got {value}")
        value = {"packages": value}
    elif not isinstance(value, dict):
        raise TypeError(f"runtime_env['{field}'] must be of type str or List[str] or dict, got {type(value)}")
    known = {"packages", check_key, f"{field}_version", *options_keys}
    unknown = set(value) - known
    if unknown:
        raise ValueError(f"runtime_env['{field}'] has unknown fields {sorted(unknown)}; it takes {sorted(known)}")
    if "packages" not in value:
        raise ValueError(f"runtime_env['{field}'] must include field 'packages', but got {value}")
    packages = value["packages"]
    if isinstance(packages, str):
        packages = _packages_of_file(packages)
    if not isinstance(packages, list) or not all(isinstance(package, str) for package in packages):
        raise TypeError(f"runtime_env['{field}']['packages'] must be of type List[str], got {type(packages)}")
    checked = {"packages": list(dict.fromkeys(packages)), check_key: bool(value.get(check_key, False))}
    for key in (f"{field}_version", *options_keys):
        if key in value:
            checked[key] = value[key]
    return checked


def check_pip(value: Any) -> Dict[str, Any]:
    """``pip``: packages, a requirements file, or a dict with both and options."""
    checked = _check_installer("pip", value, "pip_check", ("pip_install_options",))
    return checked if checked["packages"] else {}


def check_uv(value: Any) -> Dict[str, Any]:
    """``uv``: as ``pip``."""
    return _check_installer("uv", value, "uv_check", ("uv_pip_install_options",))


def check_conda(value: Any) -> Union[str, Dict[str, Any]]:
    """``conda``: a name, a YAML file or the content of one as a dict.

    A file is read here, so that the nodes need not have it.
    """
    if not isinstance(value, (str, dict)):
        raise TypeError(f"runtime_env['conda'] must be of type str or dict, got {type(value)}.")
    if not isinstance(value, str) or Path(value).suffix not in (".yaml", ".yml"):
        return value
    path = Path(value).expanduser()
    if not path.is_file():
        raise ValueError(f"{value} is not a valid file: the conda environment file must exist on this machine")
    text = path.read_text()
    try:
        import yaml
    except ImportError:  # the tool on the node will read it
        return {"_environment_yaml": text}
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"conda YAML file {value} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"conda YAML file {value} holds no environment definition: it must be a mapping")
    return content


def check_py_executable(value: Any) -> str:
    """``py_executable``: the command line that runs Python."""
    if not isinstance(value, str):
        raise TypeError(f"runtime_env['py_executable'] must be of type str, got {type(value)}")
    return value


def check_setup_hook(value: Any) -> Union[str, Callable[..., Any]]:
    """``worker_process_setup_hook``: a function, or the dotted name of one."""
    if not isinstance(value, str) and not callable(value):
        raise TypeError(f"worker_process_setup_hook must be a function, got {type(value)}.")
    return value


def check_image_uri(value: Any) -> str:
    """``image_uri``: the container image that workers run in."""
    if not isinstance(value, str):
        raise TypeError(f"runtime_env['image_uri'] must be of type str, got {type(value)}")
    return value


def check_container(value: Any) -> Dict[str, Any]:
    """``container``: the image, and options of the command that runs it."""
    if not isinstance(value, dict) or not isinstance(value.get("image"), str):
        raise TypeError(f"runtime_env['container'] must be a dict with an 'image' of type str, got {value!r}")
    options = value.get("run_options", [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise TypeError(f"run_options of runtime_env['container'] must be a list of str, got {options!r}")
    return dict(value)


CHECKS: Dict[str, Callable[[Any], Any]] = {
    "working_dir": check_working_dir,
    "py_modules": check_py_modules,
    "env_vars": check_env_vars,
    "excludes": check_excludes,
    "pip": check_pip,
    "uv": check_uv,
    "conda": check_conda,
    "py_executable": check_py_executable,
    "image_uri": check_image_uri,
    "container": check_container,
    "worker_process_setup_hook": check_setup_hook,
}
