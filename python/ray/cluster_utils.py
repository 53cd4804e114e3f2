"""Clusters of several nodes on one machine, for tests.

Each node is a ``ray start --block`` process with a daemon, ports and a session
directory of its own.
"""

import atexit
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List, Optional

from ray._core.finding import TEST_CLUSTERS, own_test_clusters
from ray._private.autoscaling_cluster import AutoscalingCluster as AutoscalingCluster
from ray.autoscaler.sdk import ray_program

#: Whether clusters of several nodes cannot be had on this system.
cluster_not_supported = os.name == "nt"
DEFAULT_OBJECT_STORE_BYTES = 150 * 1024 * 1024
#: Seconds that a node may take to come up, and to go.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0

# Node arguments and the flags of `ray start` that they become.
_FLAGS = {
    "num_cpus": "num-cpus",
    "num_gpus": "num-gpus",
    "memory": "memory",
    "object_store_memory": "object-store-memory",
    "node_ip_address": "node-ip-address",
    "node_name": "node-name",
    "dashboard_host": "dashboard-host",
    "dashboard_port": "dashboard-port",
    "port": "port",
    "gcs_server_port": "port",
    "ray_client_server_port": "ray-client-server-port",
    "metrics_export_port": "metrics-export-port",
    "object_spilling_directory": "object-spilling-directory",
    "autoscaling_config": "autoscaling-config",
}
_JSON_FLAGS = {"resources": "resources", "_system_config": "system-config"}
# Settings that have nothing to change here.
_IGNORED = {
    "redis_password",
    "redis_port",
    "external_addresses",
    "plasma_directory",
    "huge_pages",
    "min_worker_port",
    "max_worker_port",
    "worker_port_list",
    "node_manager_port",
    "object_manager_port",
    "dashboard_agent_listen_port",
    "dashboard_agent_grpc_port",
    "runtime_env_agent_port",
    "include_log_monitor",
    "setup_worker_path",
    "num_redis_shards",
    "_memory",
    "_redis_password",
    "log_to_driver",
    "enable_resource_isolation",
}


def _end_with_parent() -> None:
    """Runs in the child: it gets SIGTERM when this process ends, however that ends."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    except (AttributeError, OSError):  # not Linux
        pass


class ClusterNode:
    """A node of a :class:`Cluster`.

    Attributes:
        node_id, unique_id: id of the node, hex.
        address: host:port of the head.
        address_info: addresses and paths, as ``ray.init().address_info``.
    """

    def __init__(self, command: List[str], directory: str, env: Dict[str, str], head: bool) -> None:
        self.head = head
        self._directory = directory
        os.makedirs(directory, exist_ok=True)
        self._log_path = os.path.join(directory, "start.log")
        self._info: Dict[str, Any] = {}
        self._killed = False
        main = threading.current_thread() is threading.main_thread()
        with open(self._log_path, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
                preexec_fn=_end_with_parent if main and sys.platform == "linux" else None,
            )

    def wait_started(self) -> None:
        """Waits until the node is up.

        Raises:
            RuntimeError: it ended instead, or is not up in time; the message holds what it printed.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        announcement = os.path.join(self._directory, "session.json")
        while "Ray runtime started" not in self._output():
            if self.process.poll() is not None or time.monotonic() > deadline:
                output = self._output()
                self.stop(graceful=False)
                raise RuntimeError(f"a node of the cluster did not start:\n{output}")
            time.sleep(0.01)
        with open(announcement) as file:
            self._info = json.load(file)

    def _output(self) -> str:
        with open(self._log_path, errors="replace") as file:
            return file.read()

    @property
    def node_id(self) -> str:
        """Id of the node, hex."""
        return self._info["node_id"]

    @property
    def unique_id(self) -> str:
        """The same as :attr:`node_id`."""
        return self.node_id

    @property
    def address(self) -> str:
        """host:port of the head."""
        return self._info["address"]

    gcs_address = address
    redis_address = address

    @property
    def node_ip_address(self) -> str:
        """Address of the node."""
        return self._info["node_ip"]

    @property
    def raylet_socket_name(self) -> str:
        """Socket of the node's daemon."""
        return self._info["socket"]

    @property
    def plasma_store_socket_name(self) -> str:
        """Name of the node's object store, as ray.nodes() tells it. Nobody listens there."""
        return os.path.join(self.get_session_dir_path(), "sockets", "plasma_store")

    @property
    def webui_url(self) -> str:
        """host:port of the dashboard, "" if there is none."""
        return self._info.get("dashboard") or ""

    @property
    def address_info(self) -> Dict[str, Any]:
        """Addresses and paths of the node."""
        metrics = (self._info.get("metrics_address") or "").rpartition(":")[2]
        return {
            "node_ip_address": self.node_ip_address,
            "raylet_ip_address": self.node_ip_address,
            "redis_address": None,
            "object_store_address": self.plasma_store_socket_name,
            "raylet_socket_name": self.raylet_socket_name,
            "webui_url": self.webui_url,
            "session_dir": self.get_session_dir_path(),
            "metrics_export_port": int(metrics) if metrics.isdigit() else None,
            "gcs_address": self.address,
            "address": self.address,
            "dashboard_agent_listen_port": None,
            "node_id": self.node_id,
        }

    def is_head(self) -> bool:
        """Whether it is the head node."""
        return self.head

    def get_session_dir_path(self) -> str:
        """Session directory of the node."""
        return self._info["session_dir"]

    def get_logs_dir_path(self) -> str:
        """Directory of its log files."""
        return os.path.join(self.get_session_dir_path(), "logs")

    @property
    def daemon_pid(self) -> int:
        """Process id of the node's daemon."""
        return int(self._info["pid"])

    @property
    def all_processes(self) -> Dict[str, List[int]]:
        """Kind of process to the ids of those that live."""
        found = {"raylet": [self.daemon_pid] if self._daemon_lives() else []}
        if self.head:
            found["gcs_server"] = self._head_processes()
        return found

    def live_processes(self) -> List[int]:
        """Ids of the node's own processes that live."""
        return [pid for pids in self.all_processes.values() for pid in pids]

    def remaining_processes_alive(self) -> bool:
        """Whether the node is up."""
        return self.process.poll() is None and self._daemon_lives()

    any_processes_alive = remaining_processes_alive

    def _daemon_lives(self) -> bool:
        return bool(self._info) and _start_ticks(self.daemon_pid) == self._info.get("start_ticks")

    def _head_processes(self) -> List[int]:
        """Children of the daemon that run the head."""
        found = []
        for pid in _children(self.daemon_pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if b"__head" in file.read().split(b"\0"):
                        found.append(pid)
            except OSError:
                continue
        return found

    def kill_raylet(self, check_alive: bool = True) -> None:
        """Kills the node's daemon with SIGKILL; its workers end with it."""
        alive = self._daemon_lives()
        if alive:
            try:
                os.kill(self.daemon_pid, signal.SIGKILL)
                self._killed = True
            except ProcessLookupError:  # it ended just now
                alive = False
        if not alive and check_alive:
            raise RuntimeError("the daemon of this node is not running")

    def kill_gcs_server(self, check_alive: bool = True) -> None:
        """Kills the head process with SIGKILL; the node's daemon starts it again."""
        pids = self._head_processes() if self.head else []
        if not pids and check_alive:
            raise RuntimeError("no head process runs on this node")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def start_gcs_server(self) -> None:
        """Waits until the head process runs again: the node's daemon starts it by itself."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._head_processes():
            if time.monotonic() > deadline:
                raise RuntimeError("the head process was not started again")
            time.sleep(0.02)

    def kill_all_processes(self, check_alive: bool = True, allow_graceful: bool = False, wait: bool = False) -> None:
        """Ends the node."""
        self.stop(graceful=allow_graceful)

    def stop(self, graceful: bool = True) -> None:
        """Ends the node and waits until it is gone: by SIGTERM, or at once by SIGKILL."""
        if graceful and not self._killed:
            _signal(self.process, signal.SIGTERM)
        else:
            if self._info:
                self.kill_raylet(check_alive=False)
            _signal(self.process, signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill_raylet(check_alive=False)
            _signal(self.process, signal.SIGKILL)
            self.process.wait(STOP_TIMEOUT_S)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._daemon_lives() and time.monotonic() < deadline:
            time.sleep(0.01)

    def remove_files(self) -> None:
        """Removes the node's session directory."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _start_ticks(pid: int) -> Optional[int]:
    """Start time of a living process, in clock ticks; None if there is none (a zombie is none)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _children(pid: int) -> List[int]:
    found: List[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


class Cluster:
    """A cluster on this machine.

    Args:
        initialize_head: start the head now.
        connect: connect this process to it.
        head_node_args: arguments of the head node, see :meth:`add_node`.
        shutdown_at_exit: end it when this process ends.

    Example:
        >>> cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})  # doctest: +SKIP
        >>> node = cluster.add_node(num_cpus=4, resources={"disk": 1})  # doctest: +SKIP
        >>> ray.init(address=cluster.address)  # doctest: +SKIP
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: Optional[Dict[str, Any]] = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        self.head_node: Optional[ClusterNode] = None
        self.worker_nodes: List[ClusterNode] = []
        self.connected = False
        self._count = 0
        self._directory = tempfile.mkdtemp(prefix=TEST_CLUSTERS, dir=os.environ.get("RAY_TMPDIR"))
        own_test_clusters.add(self._directory)
        if not initialize_head and connect:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if initialize_head:
            self.add_node(**(head_node_args or {}))
            if connect:
                self.connect()

    @property
    def address(self) -> Optional[str]:
        """host:port of the head, None before :meth:`add_node` has started it."""
        return self.head_node.address if self.head_node else None

    gcs_address = address
    redis_address = address

    @property
    def webui_url(self) -> str:
        """host:port of the dashboard, "" if there is none."""
        return self.head_node.webui_url if self.head_node else ""

    def connect(self, namespace: Optional[str] = None) -> Any:
        """Connects this process as a driver."""
        import ray

        context = ray.init(address=self.address, namespace=namespace, ignore_reinit_error=True)
        self.connected = True
        return context

    def add_node(self, wait: bool = True, **node_args: Any) -> ClusterNode:
        """Starts a node, the head if there is none.

        Args:
            wait: return when it is up.
            node_args: ``num_cpus`` (default 1), ``num_gpus`` (0), ``memory``,
                ``object_store_memory`` (bytes, 150 MiB), ``resources``,
                ``labels``, ``env_vars`` and others of ``ray start``.

        Raises:
            TypeError: an argument is unknown.
            RuntimeError: the node does not start.
        """
        head = self.head_node is None
        directory = os.path.join(self._directory, f"n{self._count}")
        self._count += 1
        env = {"RAY_TMPDIR": directory, **node_args.pop("env_vars", {})}
        command = _command(head, None if head else self.address, directory, node_args)
        node = ClusterNode(command, directory, env, head)
        try:
            # The address of a head is known when it is up; a worker could be left to itself.
            node.wait_started()
        except BaseException:
            node.stop(graceful=False)
            raise
        if head:
            self.head_node = node
        else:
            self.worker_nodes.append(node)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """Ends a node and waits until its processes are gone.

        Args:
            allow_graceful: let it say good-bye; otherwise it is killed.
        """
        if node is self.head_node:
            self.head_node = None
        elif node in self.worker_nodes:
            self.worker_nodes.remove(node)
        node.stop(graceful=allow_graceful)
        node.remove_files()

    def list_all_nodes(self) -> List[ClusterNode]:
        """The nodes that have not been removed, the head first."""
        return ([self.head_node] if self.head_node else []) + list(self.worker_nodes)

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Waits until the cluster knows every node of this object.

        Args:
            timeout: most seconds.

        Raises:
            TimeoutError: it does not in time.
        """
        from ray._core import state

        deadline = time.monotonic() + timeout
        wanted = {node.node_id for node in self.list_all_nodes()}
        while True:
            known = wanted
            if state.is_connected() and state.connected().gcs_address == self.address:
                rows, _ = state.connected().call("nodes.list")
                known = {row["node_id"] for row in rows if row["state"] != "DEAD"}
            dead = [node for node in self.list_all_nodes() if not node.remaining_processes_alive()]
            if wanted <= known and not dead:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{len(wanted - known) + len(dead)} of {len(wanted)} nodes are not there after {timeout} s"
                )
            time.sleep(0.02)

    def remaining_processes_alive(self) -> bool:
        """Whether all nodes are up."""
        return all(node.remaining_processes_alive() for node in self.list_all_nodes())

    def shutdown(self) -> None:
        """Ends all nodes, the head last."""
        atexit.unregister(self.shutdown)
        workers, self.worker_nodes = self.worker_nodes, []
        for node in workers:
            _signal(node.process, signal.SIGTERM)
        for node in workers:
            node.stop()
        if self.head_node is not None:
            head, self.head_node = self.head_node, None
            head.stop()
        own_test_clusters.discard(self._directory)
        shutil.rmtree(self._directory, ignore_errors=True)


def _command(head: bool, address: Optional[str], directory: str, node_args: Dict[str, Any]) -> List[str]:
    """The line that starts a node.

    Raises:
        TypeError: an argument is unknown.
    """
    args: Dict[str, Any] = {
        "num_cpus": 1,
        "num_gpus": 0,
        "object_store_memory": DEFAULT_OBJECT_STORE_BYTES,
        "node_ip_address": "127.0.0.1",
    }
    args.update({name: value for name, value in node_args.items() if value is not None})
    command = [ray_program(), "start", "--block", f"--temp-dir={args.pop('temp_dir', directory)}"]
    if head:
        command.append("--head")
        args.setdefault("port", 0)
        args.setdefault("include_dashboard", False)
        # Two clusters on one machine must not meet on a default port.
        args.setdefault("ray_client_server_port", 0)
        args.setdefault("dashboard_port", 0)
    else:
        command.append(f"--address={address}")
    include_dashboard = args.pop("include_dashboard", None)
    if head and include_dashboard is not None:
        command.append(f"--include-dashboard={'true' if include_dashboard else 'false'}")
    if "enable_object_reconstruction" in args:
        on = args.pop("enable_object_reconstruction")
        command.append(f"--enable-object-reconstruction={'true' if on else 'false'}")
    labels = args.pop("labels", None)
    if labels:
        command.append("--labels=" + ",".join(f"{name}={value}" for name, value in labels.items()))
    for name, value in args.items():
        if name in _JSON_FLAGS:
            command.append(f"--{_JSON_FLAGS[name]}={json.dumps(value)}")
        elif name in _FLAGS:
            command.append(f"--{_FLAGS[name]}={value}")
        elif name not in _IGNORED:
            raise TypeError(f"a node has no argument {name!r}; it takes {', '.join(sorted({*_FLAGS, *_JSON_FLAGS}))}")
    return command
