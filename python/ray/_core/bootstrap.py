"""``ray.init`` and ``ray.shutdown``."""

import atexit
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Dict, Optional, Tuple

from ray._core import state, telling
from ray._core.context import RayContext
from ray._core.finding import announcement_for, split_address
from ray._core.jobspec import job_spec, merged_env, sendable
from ray._core.joining import connect_local, connect_remote, serve_control
from ray._core.local import local_request, start_local, stop_process
from ray._core.session import session
from ray._core.state import TaskInfo

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_HIDDEN = {
    "_enable_object_reconstruction",
    "_plasma_directory",
    "object_spilling_directory",
    "_node_ip_address",
    "_driver_object_store_memory",
    "_memory",
    "_redis_username",
    "_redis_password",
    "_temp_dir",
    "_metrics_export_port",
    "_system_config",
    "_tracing_startup_hook",
    "_node_name",
    "_skip_env_hook",
    "allow_multiple",
}
_registered = False


def init(
    address: Optional[str] = None,
    *,
    num_cpus: Optional[float] = None,
    num_gpus: Optional[float] = None,
    resources: Optional[Dict[str, float]] = None,
    labels: Optional[Dict[str, str]] = None,
    object_store_memory: Optional[int] = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: Optional[bool] = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: Optional[int] = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: Any = "info",
    logging_format: Optional[str] = None,
    logging_config: Any = None,
    log_to_driver: Optional[bool] = None,
    namespace: Optional[str] = None,
    runtime_env: Any = None,
    enable_resource_isolation: bool = False,
    cgroup_path: Optional[str] = None,
    system_reserved_cpu: Optional[float] = None,
    system_reserved_memory: Optional[int] = None,
    proxy_server_url: Optional[str] = None,
    **kwargs: Any,
) -> Any:
    """Connects this process to a cluster, and starts one if there is none.

    Args:
        address: ``None`` (RAY_ADDRESS, else a cluster that runs on this machine, else a new one), ``"auto"``
            (the same, but never a new one), ``"local"`` (always a new one), ``"host:port"``, or
            ``"ray://host:port"`` for a driver outside of the cluster.
        num_cpus, num_gpus, resources, labels, object_store_memory: of the new cluster's node.
        ignore_reinit_error: a second call keeps the connection instead of raising.
        include_dashboard, dashboard_host, dashboard_port: of the new cluster: whether it serves the job and state
            API (it does unless this is False), on which address, and on which port (8265 or the next free one).
        log_to_driver: whether what workers print is printed here.
        namespace: of the job's named actors; a random one by default.
        runtime_env: environment of the job's tasks and actors.

    Returns:
        A context with facts about the connection; ``with`` it, the connection ends at the end.

    Raises:
        ConnectionError: no cluster answers at address.
        RuntimeError: this process is connected already, or an option is unknown.
    """
    unknown = [name for name in kwargs if name not in _HIDDEN]
    if unknown:
        raise RuntimeError(f"Unknown keyword argument(s): {', '.join(unknown)}")
    if local_mode:
        raise RuntimeError(
            "`local_mode` is no longer supported. Run the functions directly to debug them in one process."
        )
    given = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "resources": resources,
        "labels": labels,
        "object_store_memory": object_store_memory,
        **{name: kwargs.get(name) for name in ("_system_config", "_node_name", "_enable_object_reconstruction")},
    }
    with state._lock:
        if _is_connected(ignore_reinit_error):
            return session.context
        if log_to_driver is None:
            log_to_driver = os.environ.get("RAY_LOG_TO_DRIVER", "1") not in ("0", "false", "False")
        if configure_logging:
            telling.configure(logging_level, logging_format)
        env, job = _job_of(namespace, runtime_env, log_to_driver, job_config)
        if logging_config is not None and hasattr(logging_config, "_apply"):
            logging_config._apply()
        try:
            client = _open(address, given, job, include_dashboard, dashboard_host, dashboard_port, kwargs)
        except BaseException:
            stop_process()
            raise
        _begin(client, log_to_driver)
        _upload(env, client)
        session.context = RayContext(client, address)
        if "://" not in (address or ""):
            telling.connected(session.process is not None, session.context.dashboard_url)
        return session.context


def _is_connected(ignore_reinit_error: bool) -> bool:
    """Whether to keep the connection that there is; one whose cluster is gone is given up."""
    if state._client is None:
        return False
    if state._client.dead is not None:
        shutdown()
        return False
    if ignore_reinit_error:
        return True
    raise RuntimeError(
        "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
        "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
    )


def _job_of(
    namespace: Optional[str], runtime_env: Any, log_to_driver: bool, job_config: Any
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The job's runtime environment as the user gave it, and what the cluster is told of the job."""
    from ray.runtime_env import uvrun

    config_env = json.loads(os.environ.get(_JOB_CONFIG) or "{}")
    env = uvrun.applied(_hooked(merged_env(runtime_env, job_config, config_env)))
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    namespace = namespace or os.environ.get("RAY_NAMESPACE") or None
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError("namespace must be None or a string.")
    return env, job_spec(namespace, sendable(env), log_to_driver, job_config, config_env)


def _hooked(runtime_env: Any) -> Any:
    """What the function that RAY_RUNTIME_ENV_HOOK names makes of the job's environment."""
    hook = os.environ.get("RAY_RUNTIME_ENV_HOOK")
    if not hook:
        return runtime_env
    module, _, name = hook.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ValueError(f"RAY_RUNTIME_ENV_HOOK={hook} names no function of a module: {error}") from error
    return function(dict(runtime_env or {}))


def _upload(env: Dict[str, Any], client: Any) -> None:
    """Uploads the local folders of the job's environment."""
    if not env:
        return
    from ray.runtime_env.normalize import normalize

    try:
        normalize(env, client)
    except BaseException:
        shutdown()
        raise


def _open(
    address: Optional[str],
    given: Dict[str, Any],
    job: Dict[str, Any],
    include_dashboard: Optional[bool],
    dashboard_host: str,
    dashboard_port: Optional[int],
    hidden: Dict[str, Any],
) -> Any:
    """Finds or starts the cluster, and connects."""
    if address in (None, "auto") and os.environ.get("RAY_ADDRESS"):
        address = os.environ["RAY_ADDRESS"]
    explicit = address not in (None, "", "local", "auto")
    row = None
    if not address or address == "auto":
        row = announcement_for(address or None, any_will_do=all(value is None for value in given.values()))
        if row is None and address == "auto":
            raise ConnectionError(
                "Could not find any running Ray instance. Please specify the one to connect to by "
                "setting the `--address` "
                "flag or the `RAY_ADDRESS` environment variable, or start one with `ray start --head`."
            )
    if row is not None or explicit:
        _refuse_node_options(given)
    if row is not None:
        telling.connecting(str(row.get("address")))
        return connect_local(row, job)
    if not explicit:
        return connect_local(
            start_local(local_request(given, include_dashboard, dashboard_host, dashboard_port, hidden, job)), job
        )
    assert address is not None
    if "://" in address:
        scheme, _, rest = address.partition("://")
        if scheme != "ray":
            raise ValueError(f"the address {address!r} has the scheme {scheme!r}; use host:port or ray://host:port")
        host, port = split_address(rest.rstrip("/"))
        return _remote(address, host, port, job)
    host, port = split_address(address)
    telling.connecting(address)
    row = announcement_for(address)
    if row is not None:
        return connect_local(row, job)
    return _remote(address, host, port, job)


def _remote(address: str, host: str, port: int, job: Dict[str, Any]) -> Any:
    try:
        return connect_remote(host, port, job)
    except ConnectionError as error:
        raise ConnectionError(
            f"No Ray cluster answers at {address!r}. Tried: the daemons of this machine (none "
            f"belongs to that address) "
            f"and a connection over the network ({error}). Check that the cluster runs (`ray "
            f"status --address {host}:{port}`) "
            "and that the port is reachable from here."
        ) from error


def _refuse_node_options(given: Dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"When connecting to an existing cluster, {name} must not be provided: it is an option of the nodes, "
                "see `ray start`."
            )


def _begin(client: Any, log_to_driver: bool) -> None:
    """Makes a fresh client this process's own."""
    global _registered
    from ray._core.logs import Printer

    state.set_process_task(TaskInfo(b"\xff" * 20 + client.job_id, state.DRIVER))
    state.set_client(client)
    client.start()
    printer = session.printer = Printer(client.node_ip)
    session.thread = threading.Thread(
        target=serve_control, args=(session.control, printer, log_to_driver), name="ray-control", daemon=True
    )
    session.thread.start()
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_after_fork)
        _raise_file_limit()
    _handle_sigterm()
    for callback in list(state.on_connect):
        callback()


def _handle_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # a user's own handler stays
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    except ValueError:
        pass


def _raise_file_limit() -> None:
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 65536:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard), hard))
    except (ImportError, ValueError, OSError):
        pass


def _after_fork() -> None:
    client = state._client
    if client is not None:
        client.abandon()
        if session.process is not None:
            # The cluster belongs to the parent: its pipe must not be held open here.
            for pipe in (session.process.stdin, session.process.stdout):
                try:
                    if pipe is not None:
                        os.close(pipe.fileno())
                except (OSError, ValueError):
                    pass
            session.process.stdin = session.process.stdout = None
            session.process = None
        for relay in session.relays:
            relay.abandon()
        session.relays = []
        session.control = None
        session.thread = None
        session.stderr = None


def _at_exit() -> None:
    shutdown(_exiting_interpreter=True)


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """Disconnects; ends the cluster if this process started it. Harmless where nothing is connected."""
    with state._lock:
        client = state._client
        if client is None:
            return
        if client.mode == state.WORKER:
            return
        _let_logs_arrive(client)
        for callback in list(state.on_disconnect):
            try:
                callback()
            except Exception:
                pass
        state.set_client(None)
        state.set_process_task(None)
        control, session.control = session.control, None
        client.close()
        if control is not None:
            try:
                control.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass
            control.close()
        relays, session.relays = session.relays, []
        for relay in relays:
            relay.finish(2)
        if session.thread is not None and session.thread is not threading.current_thread():
            session.thread.join(2)
        session.thread = None
        session.context = None
        stop_process()


def _let_logs_arrive(client: Any) -> None:
    """Gives the last lines of the workers a moment."""
    printer = session.printer
    if printer is None or client.dead is not None or not client._task_counter or not client.job_config_logs:
        return
    deadline = time.monotonic() + 0.5
    quiet = time.monotonic() + 0.06
    while time.monotonic() < min(deadline, max(quiet, printer.last + 0.06)):
        time.sleep(0.01)
    printer.tick(True)
