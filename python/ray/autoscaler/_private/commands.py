"""The launcher's verbs as functions, as upstream's scripts call them.

Each runs the ``ray`` program that is installed beside Python. What waits for a
person (attach, monitor) inherits this process's terminal.
"""

import subprocess
from typing import Any, Dict, List, Optional

from ray.autoscaler import sdk
from ray.autoscaler.sdk import request_resources

__all__ = [
    "attach_cluster",
    "create_or_update_cluster",
    "debug_status",
    "exec_cluster",
    "get_head_node_ip",
    "get_worker_node_ips",
    "kill_node",
    "monitor_cluster",
    "request_resources",
    "rsync",
    "teardown_cluster",
]


def _flags(**given: Any) -> List[str]:
    """Options of the program: True becomes a flag, a value its text, and the rest is left out."""
    out = []
    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            out.append(option)
        elif value is not None and value is not False:
            out.append(f"{option}={value}")
    return out


def _forwarded(pairs: Any) -> List[str]:
    pairs = [pairs] if isinstance(pairs, tuple) else pairs or []
    return [f"--port-forward={pair[0]}" for pair in pairs]


def debug_status(status: Any, error: Any, verbose: bool = False, address: Optional[str] = None) -> str:
    """What ``ray status`` prints of the cluster at an address.

    Args:
        status: not used: the head is asked.
        error: what is to be added at the end, as bytes.
        verbose: add each node's use and activity.
        address: the head's host:port; None is the cluster on this machine.

    Raises:
        RuntimeError: nobody answered.
    """
    words = [sdk.ray_program(), "status", "--text", *_flags(verbose=verbose, address=address)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.rstrip("\n") + ("\n" + error.decode() if error else "")


def create_or_update_cluster(
    config_file: str,
    override_min_workers: Optional[int] = None,
    override_max_workers: Optional[int] = None,
    no_restart: bool = False,
    restart_only: bool = False,
    yes: bool = True,
    override_cluster_name: Optional[str] = None,
    no_config_cache: bool = False,
    redirect_command_output: Optional[bool] = False,
    use_login_shells: bool = True,
) -> Dict[str, Any]:
    """``ray up``; nobody is asked, whatever ``yes`` says.

    Raises:
        RuntimeError: it failed.
    """
    flags = _flags(
        min_workers=override_min_workers,
        max_workers=override_max_workers,
        no_restart=no_restart,
        restart_only=restart_only,
        cluster_name=override_cluster_name,
        no_config_cache=no_config_cache,
        redirect_command_output=bool(redirect_command_output),
        use_normal_shells=not use_login_shells,
    )
    sdk._run(config_file, "up", "-y", *flags)
    return {}


def teardown_cluster(
    config_file: str,
    yes: bool = True,
    workers_only: bool = False,
    override_cluster_name: Optional[str] = None,
    keep_min_workers: bool = False,
) -> None:
    """``ray down``; nobody is asked, whatever ``yes`` says."""
    flags = _flags(workers_only=workers_only, cluster_name=override_cluster_name, keep_min_workers=keep_min_workers)
    sdk._run(config_file, "down", "-y", *flags)


def kill_node(config_file: str, yes: bool, hard: bool, override_cluster_name: Optional[str]) -> Optional[str]:
    """``ray kill-random-node``: what it printed."""
    flags = _flags(hard=hard, cluster_name=override_cluster_name)
    return sdk._run(config_file, "kill-random-node", "-y", *flags).strip() or None


def exec_cluster(
    config_file: str,
    *,
    cmd: Optional[str] = None,
    run_env: str = "auto",
    screen: bool = False,
    tmux: bool = False,
    stop: bool = False,
    start: bool = False,
    override_cluster_name: Optional[str] = None,
    no_config_cache: bool = False,
    port_forward: Any = None,
    with_output: bool = False,
) -> str:
    """``ray exec``: what the command printed, "" without ``with_output``."""
    flags = _flags(
        run_env=None if run_env == "auto" else run_env,
        screen=screen,
        tmux=tmux,
        stop=stop,
        start=start,
        cluster_name=override_cluster_name,
        no_config_cache=no_config_cache,
    )
    output = sdk._run(config_file, "exec", *flags, *_forwarded(port_forward), after=(cmd or "true",))
    return output if with_output else ""


def rsync(
    config_file: str,
    source: Optional[str],
    target: Optional[str],
    override_cluster_name: Optional[str],
    down: bool,
    ip_address: Optional[str] = None,
    use_internal_ip: bool = False,
    no_config_cache: bool = False,
    all_nodes: bool = False,
) -> None:
    """``ray rsync-down`` or ``ray rsync-up``; without files, those of ``file_mounts``."""
    flags = _flags(cluster_name=override_cluster_name, all_nodes=all_nodes)
    after = (source, target) if source and target else ()
    sdk._run(config_file, "rsync-down" if down else "rsync-up", *flags, after=after)


def get_head_node_ip(config_file: str, override_cluster_name: Optional[str] = None) -> str:
    """Address of the head."""
    output = sdk._run(config_file, "get-head-ip", *_flags(cluster_name=override_cluster_name))
    return output.strip().splitlines()[-1]


def get_worker_node_ips(config_file: str, override_cluster_name: Optional[str] = None) -> List[str]:
    """Addresses of the workers."""
    return sdk._run(config_file, "get-worker-ips", *_flags(cluster_name=override_cluster_name)).split()


def monitor_cluster(cluster_config_file: str, num_lines: int, override_cluster_name: Optional[str]) -> None:
    """``ray monitor``: follows the autoscaler's log until it is interrupted."""
    flags = _flags(lines=num_lines, cluster_name=override_cluster_name)
    subprocess.run([sdk.ray_program(), "monitor", *flags, cluster_config_file], check=False)


def attach_cluster(
    config_file: str,
    start: bool,
    use_screen: bool,
    use_tmux: bool,
    override_cluster_name: Optional[str],
    no_config_cache: bool = False,
    new: bool = False,
    port_forward: Any = None,
    node_ip: Optional[str] = None,
) -> None:
    """``ray attach``: a shell on the head, or on the node of an address."""
    flags = _flags(
        start=start,
        screen=use_screen,
        tmux=use_tmux,
        cluster_name=override_cluster_name,
        no_config_cache=no_config_cache,
        new=new,
        node_ip=node_ip,
    )
    subprocess.run([sdk.ray_program(), "attach", *flags, *_forwarded(port_forward), config_file], check=False)
