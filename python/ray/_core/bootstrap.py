"""``ray.init`` and ``ray.shutdown``: finding or starting a cluster, connecting to it."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from ray._core import frames, state
from ray._core.connection import HELLO_TIMEOUT_S, dial_unix, greet, greet_control
from ray._core.state import TaskInfo
from ray._version import __version__

#: Seconds after which an address that does not answer is given up.
DIAL_TIMEOUT_S = 4.0
#: Seconds that a new local cluster may take to start.
START_TIMEOUT_S = 60.0

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


class _Session:
    """What this process has started or opened besides its client."""

    def __init__(self) -> None:
        self.process: Optional["subprocess.Popen[bytes]"] = None
        self.stderr: Any = None
        self.control: Any = None
        self.printer: Any = None
        self.thread: Optional[threading.Thread] = None
        self.context: Any = None


_session = _Session()
_registered = False


# --------------------------------------------------------------------- where


def find_binary() -> str:
    """The ``ray`` binary: RAY_BINARY, beside the interpreter, the repository's bin, PATH."""
    given = os.environ.get("RAY_BINARY")
    if given:
        return given
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    candidates = [
        os.path.join(os.path.dirname(sys.executable), "ray"),
        os.path.join(here, "bin", "ray"),
    ]
    candidates += [os.path.join(folder, "ray") for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for path in candidates:
        if os.access(path, os.X_OK) and os.path.isfile(path) and _is_native(path):
            return path
    raise RuntimeError(
        "The `ray` binary was not found: it is neither named by RAY_BINARY, nor beside "
        f"{sys.executable}, nor on PATH. It comes with the package; build it with scripts/build."
    )


def _is_native(path: str) -> bool:
    """Whether the file is a program, not a script of another package that is called ray."""
    try:
        with open(path, "rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


def announcement_for(address: Optional[str]) -> Optional[Dict[str, Any]]:
    """The daemon of this machine through which to reach address (None: the last cluster that was started)."""
    from ray._private.addresses import announcements

    rows = announcements()
    if address is None:
        rows = [row for row in rows if not row.get("job_owner") and _same_tmpdir(row)]
        if not rows:
            return None
        rows = [row for row in rows if row.get("cluster_id") == rows[0].get("cluster_id")]
    else:
        names = _same_places(address)
        rows = [row for row in rows if row.get("address") in names or row.get("node_address") in names]
        exact = [row for row in rows if row.get("node_address") in names and row.get("head")]
        rows = exact or rows
    heads = [row for row in rows if row.get("head")]
    if heads:
        return heads[0]
    return min(rows, key=lambda row: row.get("started_ms", 0)) if rows else None


def _same_tmpdir(row: Dict[str, Any]) -> bool:
    given = os.environ.get("RAY_TMPDIR")
    return not given or os.path.realpath(row.get("tmpdir") or "") == os.path.realpath(given)


def _same_places(address: str) -> List[str]:
    host, _, port = address.rpartition(":")
    names = [address]
    if host in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):
        names += [f"127.0.0.1:{port}", f"localhost:{port}"]
        try:
            names.append(f"{_own_ip()}:{port}")
        except OSError:
            pass
    return names


def _own_ip() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        return sock.getsockname()[0]


def _split(address: str) -> Tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"Malformed address: {address!r}. Expected 'host:port', 'auto', 'local' or 'ray://host:port'.")
    return host.strip("[]"), int(port)


# ------------------------------------------------------------- local cluster


def start_local(request: Dict[str, Any]) -> Dict[str, Any]:
    """Starts a cluster that lives as long as this process; gives its announcement."""
    import tempfile

    binary = find_binary()
    _session.stderr = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [binary, "__local"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=_session.stderr, close_fds=True
    )
    _session.process = process
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = _read_line(process, START_TIMEOUT_S)
        return json.loads(line)
    except BaseException as error:
        text = _stop_process()
        if isinstance(error, (OSError, ValueError)):
            raise RuntimeError(f"The local cluster did not start: {text or error}") from None
        raise


def _read_line(process: "subprocess.Popen[bytes]", timeout: float) -> bytes:
    import select

    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + timeout
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise OSError(f"no word from `ray __local` within {timeout:.0f} s")
        part = os.read(descriptor, 65536)
        if not part:
            raise OSError("`ray __local` ended without a word")
        data += part
    return data


def _stop_process() -> str:
    """Ends the local cluster; gives what it said on stderr."""
    process, _session.process = _session.process, None
    if process is None:
        return ""
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    text = ""
    if _session.stderr is not None:
        try:
            _session.stderr.seek(0)
            text = _session.stderr.read().decode(errors="replace").strip()
            _session.stderr.close()
        except (OSError, ValueError):
            pass
        _session.stderr = None
    return text


# ---------------------------------------------------------------- connecting


def _hello(job: Dict[str, Any], cluster_id: Optional[str]) -> Dict[str, Any]:
    hello = {
        "proto": 1,
        "version": __version__,
        "role": "driver",
        "conn": "data",
        "python": "%d.%d" % sys.version_info[:2],
        "pid": os.getpid(),
        "job": job,
    }
    if cluster_id:
        hello["cluster_id"] = cluster_id
    return hello


def connect_local(row: Dict[str, Any], job: Dict[str, Any]) -> Any:
    """A client of a daemon of this machine."""
    path = row["socket"]
    hello = _hello(job, row.get("cluster_id"))

    def dial() -> Any:
        try:
            return dial_unix(path, DIAL_TIMEOUT_S)
        except OSError as error:
            raise ConnectionError(
                f"The node daemon (pid {row.get('pid')}) that announced itself does not answer at {path}: {error}. "
                "If it hangs, `ray stop --force` ends it."
            ) from error

    return _connect(dial, hello)


def connect_remote(host: str, port: int, job: Dict[str, Any]) -> Any:
    """A client of a daemon elsewhere, over the network."""
    from ray._core import remote
    from ray._private.auth import token

    plain = os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled"

    def dial() -> Any:
        return remote.dial(host, port, DIAL_TIMEOUT_S, token(), plain)

    return _connect(dial, _hello(job, None))


def _connect(dial: Any, hello: Dict[str, Any]) -> Any:
    from ray._core.client import Client

    sock = dial()
    try:
        sock.settimeout(HELLO_TIMEOUT_S)
        answer, descriptor = greet(sock, hello)
        sock.settimeout(None)
        client = Client(sock, answer, descriptor, state.DRIVER)
        control = greet_control(dial, dict(hello, client_id=answer["client_id"], job=None))
    except socket.timeout as error:
        sock.close()
        raise ConnectionError(
            f"the node daemon accepts connections but did not answer within {HELLO_TIMEOUT_S:.0f} s"
        ) from error
    except BaseException:
        sock.close()
        raise
    _session.control = control
    return client


def _serve_control(sock: Any, printer: Any, log_to_driver: bool) -> None:
    """Reads the control connection of a driver: prints what workers print."""
    import select

    data = b""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    pending = getattr(sock, "pending", None)
    while True:
        try:
            if not (pending is not None and pending()) and not poll.poll(1000):
                printer.tick()
                continue
            part = sock.recv(65536)
        except (OSError, ValueError):
            return
        if not part:
            return
        data += part
        while len(data) >= 8:
            length, kind, _, _ = frames.HEADER.unpack_from(data, 0)
            if len(data) < 4 + length:
                break
            body, data = data[8 : 4 + length], data[4 + length :]
            if kind == frames.LOG and log_to_driver:
                printer.show(json.loads(body) or [])
            elif kind == frames.STACK:
                from ray._core.worker import stack_text

                try:
                    sock.sendall(frames.call_frame(frames.NOTE, 0, "stack", {}, stack_text().encode()))
                except OSError:
                    return


# ---------------------------------------------------------------------- init


def _job(
    namespace: Optional[str],
    runtime_env: Dict[str, Any],
    log_to_driver: bool,
    job_config: Any,
    config_env: Dict[str, Any],
) -> Dict[str, Any]:
    metadata = {str(key): str(value) for key, value in (config_env.get("metadata") or {}).items()}
    lifetime = None
    if job_config is not None:
        metadata.update({str(key): str(value) for key, value in (job_config.metadata or {}).items()})
        lifetime = getattr(job_config, "default_actor_lifetime", None)
        namespace = namespace or job_config.ray_namespace
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


def _merged_env(runtime_env: Any, job_config: Any, config_env: Dict[str, Any]) -> Dict[str, Any]:
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
        include_dashboard, dashboard_host, dashboard_port: of the new cluster.
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
    with state._lock:
        if state._client is not None:
            if state._client.dead is None:
                if ignore_reinit_error:
                    return _session.context
                raise RuntimeError(
                    "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
                    "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
                )
            shutdown()
        given = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": resources,
            "labels": labels,
            "object_store_memory": object_store_memory,
            "_system_config": kwargs.get("_system_config"),
            "_node_name": kwargs.get("_node_name"),
            "_enable_object_reconstruction": kwargs.get("_enable_object_reconstruction"),
        }
        config_env = json.loads(os.environ.get(_JOB_CONFIG) or "{}")
        env = _merged_env(runtime_env, job_config, config_env)
        if log_to_driver is None:
            log_to_driver = os.environ.get("RAY_LOG_TO_DRIVER", "1") not in ("0", "false", "False")
        namespace = namespace or os.environ.get("RAY_NAMESPACE") or None
        if namespace is not None and not isinstance(namespace, str):
            raise TypeError(f"namespace must be None or a string, got {type(namespace)}")
        job = _job(namespace, _sendable(env), log_to_driver, job_config, config_env)
        if logging_config is not None and hasattr(logging_config, "_apply"):
            logging_config._apply()
        try:
            client = _open(address, given, job, include_dashboard, dashboard_host, dashboard_port, kwargs)
        except BaseException:
            _stop_process()
            raise
        _begin(client, log_to_driver)
        try:
            if env:
                from ray.runtime_env.normalize import normalize

                normalize(env, client)
            _check_env(client)
        except BaseException:
            shutdown()
            raise
        _session.context = RayContext(client, address)
        return _session.context


def _sendable(env: Dict[str, Any]) -> Dict[str, Any]:
    """The environment with the URIs that its local folders will have; checked."""
    if not env:
        return {}
    from ray.runtime_env.normalize import checked, upload_local

    return upload_local(checked(env), lambda uri: True, lambda uri, data: None)


def _check_env(client: Any) -> None:
    return None


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
        row = announcement_for(None)
        if row is None and address == "auto":
            raise ConnectionError(
                "Could not find any running Ray instance. Please specify the one to connect to by "
                "setting the `--address` "
                "flag or the `RAY_ADDRESS` environment variable, or start one with `ray start --head`."
            )
    if row is not None or explicit:
        _refuse_node_options(given)
    if row is not None:
        return connect_local(row, job)
    if not explicit:
        return connect_local(
            start_local(_request(given, include_dashboard, dashboard_host, dashboard_port, hidden, job)), job
        )
    assert address is not None
    if "://" in address:
        scheme, _, rest = address.partition("://")
        if scheme != "ray":
            raise ValueError(f"the address {address!r} has the scheme {scheme!r}; use host:port or ray://host:port")
        host, port = _split(rest.rstrip("/"))
        return _remote(address, host, port, job)
    host, port = _split(address)
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


def _request(
    given: Dict[str, Any],
    include_dashboard: Optional[bool],
    dashboard_host: str,
    dashboard_port: Optional[int],
    hidden: Dict[str, Any],
    job: Dict[str, Any],
) -> Dict[str, Any]:
    for name in ("num_cpus", "num_gpus"):
        value = given[name]
        if value is not None and (not isinstance(value, (int, float)) or value < 0):
            raise ValueError(f"{name} must be a number that is not negative, got {value!r}")
    for name in given["resources"] or {}:
        if name in ("CPU", "GPU"):
            raise ValueError("Use num_cpus and num_gpus instead of 'CPU' and 'GPU' in resources.")
    request = {
        "num_cpus": given["num_cpus"],
        "num_gpus": given["num_gpus"],
        "resources": given["resources"] or {},
        "labels": given["labels"] or {},
        "object_store_memory": given["object_store_memory"],
        "memory": hidden.get("_memory"),
        "include_dashboard": include_dashboard,
        "dashboard_host": dashboard_host,
        "dashboard_port": dashboard_port,
        "namespace": job["namespace"],
        "python": sys.executable,
        "owner_pid": os.getpid(),
        "system_config": given["_system_config"] or {},
        "enable_object_reconstruction": given["_enable_object_reconstruction"],
        "tmpdir": hidden.get("_temp_dir") or os.environ.get("RAY_TMPDIR") or "",
        "node_ip_address": hidden.get("_node_ip_address") or "",
        "node_name": given["_node_name"] or "",
        "object_spilling_directory": hidden.get("object_spilling_directory") or "",
        "metrics_export_port": hidden.get("_metrics_export_port") or 0,
    }
    return {name: value for name, value in request.items() if value is not None}


def _begin(client: Any, log_to_driver: bool) -> None:
    """Makes a fresh client this process's own."""
    global _registered
    from ray._core.logs import Printer

    state.set_process_task(TaskInfo(b"\xff" * 20 + client.job_id, state.DRIVER))
    state.set_client(client)
    client.start()
    printer = _session.printer = Printer(client.node_ip)
    _session.thread = threading.Thread(
        target=_serve_control, args=(_session.control, printer, log_to_driver), name="ray-control", daemon=True
    )
    _session.thread.start()
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
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
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
        if _session.process is not None:
            # The cluster belongs to the parent: its pipe must not be held open here.
            for pipe in (_session.process.stdin, _session.process.stdout):
                try:
                    if pipe is not None:
                        os.close(pipe.fileno())
                except (OSError, ValueError):
                    pass
            _session.process.stdin = _session.process.stdout = None
            _session.process = None
        _session.control = None
        _session.thread = None
        _session.stderr = None


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
        control, _session.control = _session.control, None
        client.close()
        if control is not None:
            try:
                control.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass
            control.close()
        if _session.thread is not None and _session.thread is not threading.current_thread():
            _session.thread.join(2)
        _session.thread = None
        _session.context = None
        _stop_process()


def _let_logs_arrive(client: Any) -> None:
    """Gives the last lines of the workers a moment."""
    printer = _session.printer
    if printer is None or client.dead is not None or not client._task_counter or not client.job_config_logs:
        return
    deadline = time.monotonic() + 0.5
    quiet = time.monotonic() + 0.06
    while time.monotonic() < min(deadline, max(quiet, printer.last + 0.06)):
        time.sleep(0.01)
    printer.tick(True)


class RayContext:
    """Facts about a connection, as ``ray.init()`` gives them.

    Attributes:
        dashboard_url: host:port of the dashboard, or None.
        python_version, ray_version, ray_commit: versions of this side.
        address_info: addresses and paths of the cluster and this node.
    """

    def __init__(self, client: Any, address: Optional[str]) -> None:
        hello = client.hello
        self.dashboard_url: Optional[str] = hello.get("dashboard_url") or None
        self.python_version = "%d.%d.%d" % sys.version_info[:3]
        self.ray_version = __version__
        self.ray_commit = ""
        sockets = os.path.join(client.session_dir, "sockets")
        self.address_info: Dict[str, Any] = {
            "node_ip_address": client.node_ip,
            "raylet_ip_address": client.node_ip,
            "redis_address": None,
            "object_store_address": os.path.join(sockets, "plasma_store"),
            "raylet_socket_name": os.path.join(sockets, "raylet"),
            "webui_url": self.dashboard_url,
            "session_dir": client.session_dir,
            "metrics_export_port": hello.get("metrics_port") or 0,
            "gcs_address": client.gcs_address,
            "address": client.gcs_address,
            "dashboard_agent_listen_port": 0,
            "node_id": client.node_id.hex(),
        }
        self._client = client

    def __getitem__(self, key: str) -> Any:
        if key == "webui_url":
            return self.dashboard_url
        return self.address_info[key]

    def get(self, key: str, default: Any = None) -> Any:
        """An entry of address_info."""
        return self.address_info.get(key, default)

    def __iter__(self) -> Any:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __contains__(self, key: Any) -> bool:
        return key in self.address_info

    def keys(self) -> Any:
        """Names of the facts."""
        return self.address_info.keys()

    def items(self) -> Any:
        """Names and values of the facts."""
        return self.address_info.items()

    def values(self) -> Any:
        """Values of the facts."""
        return self.address_info.values()

    def __enter__(self) -> "RayContext":
        return self

    def __exit__(self, *_: Any) -> None:
        shutdown()

    def disconnect(self) -> None:
        """Disconnects, as ``ray.shutdown()``."""
        shutdown()

    def __repr__(self) -> str:
        return (
            f"RayContext(dashboard_url={self.dashboard_url!r}, python_version={self.python_version!r}, "
            f"ray_version={self.ray_version!r})"
        )
