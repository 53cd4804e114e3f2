"""What programs may ask of the autoscaler and of the launcher.

The launcher functions run the ``ray`` program that is installed beside Python.
"""

import json
import os
import subprocess
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ray._core.finding import find_binary

Config = Union[Dict[str, Any], str]


def request_resources(
    num_cpus: Optional[int] = None,
    bundles: Optional[List[Dict[str, float]]] = None,
    bundle_label_selectors: Optional[List[Dict[str, str]]] = None,
) -> None:
    """Asks the cluster to be at least this large, whatever runs.

    A new request replaces the one before; an empty one takes it back. It is a
    floor: what is there already counts.

    Args:
        num_cpus: CPUs in all, as bundles of one.
        bundles: resource name to amount; each fits on one node.
        bundle_label_selectors: for each bundle, labels that its node must have.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the selectors do not match the bundles.
    """
    from ray._core import state

    rows = _rows(num_cpus, bundles, bundle_label_selectors)
    state.client().call("autoscaler.request", {"bundles": rows})


def _rows(num_cpus: Any, bundles: Any, selectors: Any) -> List[Dict[str, Any]]:
    """The request as rows of ``{resources, label_selector, count}``, after checks."""
    if num_cpus is not None and (not isinstance(num_cpus, int) or isinstance(num_cpus, bool)):
        raise TypeError(f"num_cpus should be of type int, got {type(num_cpus)}.")
    if bundles is not None and not isinstance(bundles, list):
        raise TypeError(f"bundles should be of type List, got {type(bundles)}.")
    for bundle in bundles or []:
        if not isinstance(bundle, dict):
            raise TypeError(f"each bundle should be a Dict, got {type(bundle)}.")
        for name, amount in bundle.items():
            if not isinstance(name, str):
                raise TypeError(f"each bundle key should be a str, got {type(name)}.")
            if not isinstance(amount, (int, float)) or isinstance(amount, bool):
                raise TypeError(f"each bundle value should be a number (int or float), got {type(amount)}.")
    if selectors is not None:
        if not bundles:
            raise ValueError("`bundles` must be provided when `bundle_label_selectors` is specified.")
        if not isinstance(selectors, list) or len(selectors) != len(bundles):
            raise ValueError("`bundle_label_selectors` must be a list with length equal to the number of bundles.")
    rows: List[Dict[str, Any]] = []
    if num_cpus:
        rows.append({"resources": {"CPU": 1.0}, "count": max(num_cpus, 0)})
    for index, bundle in enumerate(bundles or []):
        row: Dict[str, Any] = {"resources": {name: float(amount) for name, amount in bundle.items()}, "count": 1}
        if selectors:
            row["label_selector"] = selectors[index]
        rows.append(row)
    return [row for row in rows if row["count"] > 0]


def ray_program() -> str:
    """Path of the ``ray`` program: RAY_BINARY, the one beside this Python, else the first on PATH.

    Raises:
        RuntimeError: there is none.
    """
    return find_binary()


def _run(config: Config, *arguments: str, after: Tuple[str, ...] = ()) -> str:
    """Runs ``ray <arguments> <file of config> <after>``; gives its stdout.

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    path, temporary = config, None
    if isinstance(config, dict):
        # JSON is YAML.
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
            json.dump(config, file)
        path = temporary = file.name
    try:
        done = subprocess.run(
            [ray_program(), *arguments, str(path), *after],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        if temporary:
            os.unlink(temporary)
    if done.returncode != 0:
        raise RuntimeError(f"ray {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def create_or_update_cluster(
    cluster_config: Config,
    *,
    no_restart: bool = False,
    restart_only: bool = False,
    no_config_cache: bool = False,
) -> Dict[str, Any]:
    """``ray up``: makes the cluster of a YAML file (or its content) be there.

    Raises:
        RuntimeError: it failed.
    """
    flags = {"--no-restart": no_restart, "--restart-only": restart_only, "--no-config-cache": no_config_cache}
    _run(cluster_config, "up", "-y", *[name for name, wanted in flags.items() if wanted])
    return cluster_config if isinstance(cluster_config, dict) else {}


def teardown_cluster(cluster_config: Config, workers_only: bool = False, keep_min_workers: bool = False) -> None:
    """``ray down``: takes the cluster away."""
    flags = {"--workers-only": workers_only, "--keep-min-workers": keep_min_workers}
    _run(cluster_config, "down", "-y", *[name for name, wanted in flags.items() if wanted])


def run_on_cluster(
    cluster_config: Config,
    *,
    cmd: Optional[str] = None,
    run_env: str = "auto",
    tmux: bool = False,
    stop: bool = False,
    no_config_cache: bool = False,
    port_forward: Optional[Union[Tuple[int, int], List[Tuple[int, int]]]] = None,
    with_output: bool = False,
) -> Optional[str]:
    """``ray exec``: runs a command on the head.

    Returns:
        What it printed, with ``with_output``; else None.
    """
    flags = ["--tmux"] * tmux + ["--stop"] * stop + ["--no-config-cache"] * no_config_cache
    if run_env != "auto":
        flags.append(f"--run-env={run_env}")
    if port_forward:
        pairs = [port_forward] if isinstance(port_forward, tuple) else port_forward
        flags += [f"--port-forward={pair[0]}" for pair in pairs]
    output = _run(cluster_config, "exec", *flags, after=(cmd or "true",))
    return output if with_output else None


def rsync(
    cluster_config: Config,
    *,
    source: Optional[str],
    target: Optional[str],
    down: bool,
    ip_address: Optional[str] = None,
    use_internal_ip: bool = False,
    no_config_cache: bool = False,
    should_bootstrap: bool = True,
) -> None:
    """``ray rsync-down`` or ``ray rsync-up``: copies files from or to the head."""
    _run(cluster_config, "rsync-down" if down else "rsync-up", after=(source or "", target or ""))


def get_head_node_ip(cluster_config: Config) -> str:
    """``ray get-head-ip``: address of the head."""
    return _run(cluster_config, "get-head-ip").strip().splitlines()[-1]


def get_worker_node_ips(cluster_config: Config) -> List[str]:
    """``ray get-worker-ips``: addresses of the workers."""
    return _run(cluster_config, "get-worker-ips").split()


def configure_logging(
    log_style: Optional[str] = None, color_mode: Optional[str] = None, verbosity: Optional[int] = None
) -> None:
    """Kept for programs that call it: the launcher's output is not configured from here."""


def bootstrap_config(cluster_config: Dict[str, Any], no_config_cache: bool = False) -> Dict[str, Any]:
    """Always raises: the launcher fills in a config by itself."""
    raise NotImplementedError("not supported yet: ray.autoscaler.sdk.bootstrap_config")


def fillout_defaults(config: Dict[str, Any]) -> Dict[str, Any]:
    """Always raises: the launcher fills in a config by itself."""
    raise NotImplementedError("not supported yet: ray.autoscaler.sdk.fillout_defaults")


def register_callback_handler(
    event_name: str, callback: Union[Callable[[Dict[str, Any]], None], List[Callable[[Dict[str, Any]], None]]]
) -> None:
    """Always raises: the launcher runs in a process of its own."""
    raise NotImplementedError("not supported yet: ray.autoscaler.sdk.register_callback_handler")


def get_docker_host_mount_location(cluster_name: str) -> str:
    """Folder of the host that the containers of a cluster see as ``/tmp/ray_tmp_mount``."""
    return f"/tmp/ray_tmp_mount/{cluster_name}"
