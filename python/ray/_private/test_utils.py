"""Helpers for tests of programs that use a cluster."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional, Tuple, Type

import ray
from ray._common.network_utils import find_free_port
from ray._common.test_utils import (
    Semaphore,
    SignalActor,
    async_wait_for_condition,
    fetch_prometheus,
    run_string_as_driver,
    run_string_as_driver_nonblocking,
    run_string_as_driver_stdout_stderr,
    wait_for_condition,
)

__all__ = [
    "Semaphore",
    "SignalActor",
    "async_wait_for_condition",
    "chdir",
    "check_call_ray",
    "check_spilled_mb",
    "client_test_enabled",
    "convert_actor_state",
    "fetch_prometheus",
    "find_free_port",
    "format_web_url",
    "generate_system_config_map",
    "get_actor_node_id",
    "get_current_unused_port",
    "get_non_head_nodes",
    "get_other_nodes",
    "is_placement_group_removed",
    "kill_actor_and_wait_for_failure",
    "kill_raylet",
    "object_memory_usage",
    "placement_group_assert_no_leak",
    "put_object",
    "run_string_as_driver",
    "run_string_as_driver_nonblocking",
    "run_string_as_driver_stdout_stderr",
    "same_elements",
    "verify_failed_task",
    "wait_for_assertion",
    "wait_for_condition",
    "wait_for_num_actors",
    "wait_for_pid_to_exit",
    "wait_until_server_available",
    "wait_until_succeeded_without_exception",
]


def client_test_enabled() -> bool:
    """Whether tests run over ``ray://`` in a mode of their own: there is none here."""
    return False


def convert_actor_state(state: Any) -> str:
    """Name of an actor's state."""
    return str(state) if state else ""


def format_web_url(url: str) -> str:
    """url with its scheme."""
    return url if url.startswith(("http://", "https://")) else f"http://{url}"


def generate_system_config_map(**settings: Any) -> dict:
    """Arguments of ray.init() that set system settings."""
    return {"_system_config": settings}


def get_other_nodes(cluster: Any, exclude_head: bool = False) -> List[Any]:
    """Nodes of a Cluster that are not this driver's."""
    own = ray.get_runtime_context().get_node_id()
    nodes = [node for node in cluster.list_all_nodes() if node.node_id != own]
    return [node for node in nodes if not (exclude_head and node.is_head())]


def get_non_head_nodes(cluster: Any) -> List[Any]:
    """Nodes of a Cluster but its head."""
    return [node for node in cluster.list_all_nodes() if not node.is_head()]


def wait_for_pid_to_exit(pid: int, timeout: float = 20) -> None:
    """Waits until a process is gone.

    Raises:
        RuntimeError: it is still there after timeout seconds.
    """
    wait_for_condition(lambda: not _lives(pid), timeout=timeout)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_actor_and_wait_for_failure(actor: Any, timeout: float = 10, retry_interval_ms: float = 100) -> None:
    """Kills the process of an actor and waits until the cluster has noticed."""
    from ray.util.state import get_actor

    actor_id = actor._actor_id.hex()
    before = get_actor(actor_id)
    if before is None:
        raise RuntimeError(f"the cluster knows no actor {actor_id}")
    ray.kill(actor)
    wait_for_condition(
        lambda: (get_actor(actor_id) or before).state != "ALIVE", timeout=timeout, retry_interval_ms=retry_interval_ms
    )


def wait_for_num_actors(num_actors: int, state: Optional[str] = None, timeout: float = 10) -> None:
    """Waits until there are num_actors actors (in a state)."""
    from ray.util.state import list_actors

    filters: Any = [("state", "=", state)] if state else None
    wait_for_condition(lambda: len(list_actors(filters=filters)) >= num_actors, timeout=timeout)


def kill_raylet(node: Any, graceful: bool = False) -> None:
    """Ends the daemon of a Cluster's node."""
    pid = node.daemon_pid if hasattr(node, "daemon_pid") else int(node)
    os.kill(pid, signal.SIGTERM if graceful else signal.SIGKILL)


def wait_until_succeeded_without_exception(
    func: Callable[..., Any],
    exceptions: Tuple[Type[BaseException], ...],
    *args: Any,
    timeout_ms: int = 1000,
    retry_interval_ms: int = 100,
    raise_last_ex: bool = False,
) -> bool:
    """Calls func until it raises none of the exceptions; whether it came to that in time."""
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            func(*args)
            return True
        except exceptions:
            if time.monotonic() > deadline:
                if raise_last_ex:
                    raise
                return False
        time.sleep(retry_interval_ms / 1000)


def verify_failed_task(name: str, error_type: str, error_message: Any) -> bool:
    """Whether the one task of this name failed in this way.

    Raises:
        AssertionError: it did not.
    """
    from ray.util.state import list_tasks

    tasks = list_tasks(filters=[("name", "=", name)], detail=True)
    assert len(tasks) == 1, tasks
    task = tasks[0]
    assert task["state"] == "FAILED"
    assert task["error_type"] == error_type
    for part in error_message if isinstance(error_message, list) else [error_message]:
        assert part in (task["error_message"] or "")
    return True


def is_placement_group_removed(group: Any) -> bool:
    """Whether the cluster counts a placement group as removed."""
    table = ray.util.placement_group_table(group)
    return table.get("state") == "REMOVED"


def placement_group_assert_no_leak(pgs_created: List[Any]) -> None:
    """Removes the groups and checks that nothing of them is left.

    Raises:
        RuntimeError: resources of a group are still there after 10 s.
    """
    for group in pgs_created:
        ray.util.remove_placement_group(group)

    def clean() -> bool:
        return all(is_placement_group_removed(group) for group in pgs_created) and not any(
            "_group_" in name for name in ray.cluster_resources()
        )

    wait_for_condition(clean)


def object_memory_usage() -> float:
    """Bytes of shared memory that objects take in the cluster."""
    total = ray.cluster_resources().get("object_store_memory", 0)
    return total - ray.available_resources().get("object_store_memory", 0)


def check_spilled_mb(
    address: Any, spilled: Any = None, restored: Optional[int] = None, fallback: Optional[int] = None
) -> None:
    """Waits until the object stores have spilled, restored and file-backed so many MiB.

    Args:
        address: what ray.init() gave.
        spilled: a number, or a list of those of which one is right. None, here and below: nothing at all.

    Raises:
        RuntimeError: they have not after 3 s.
    """
    from ray._private.internal_api import memory_summary

    wanted = [
        ("Spilled", spilled if isinstance(spilled, list) else [spilled]),
        ("Restored", [restored]),
        ("Plasma filesystem mmap usage:", [fallback]),
    ]

    def so() -> bool:
        text = memory_summary(address["address"], stats_only=True)
        return all(
            any(f"{word} {n} MiB" in text for n in amounts) if amounts[0] else word not in text
            for word, amounts in wanted
        )

    wait_for_condition(so, timeout=3, retry_interval_ms=100)


def same_elements(first: Any, second: Any) -> bool:
    """Whether two collections hold the same things, in any order (unhashable ones, too)."""
    rest = list(second)
    for item in first:
        if item not in rest:
            return False
        rest.remove(item)
    return not rest


def check_call_ray(args: List[str], capture_stdout: bool = False, capture_stderr: bool = False) -> Any:
    """Runs ``ray ARGS``.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    from ray.autoscaler.sdk import ray_program

    return subprocess.run(
        [ray_program(), *args],
        check=True,
        text=True,
        stdout=subprocess.PIPE if capture_stdout else None,
        stderr=subprocess.PIPE if capture_stderr else None,
    )


def put_object(value: Any, use_ray_put: bool) -> Any:
    """A reference to the value, made by ``ray.put`` or as the result of a task."""
    return ray.put(value) if use_ray_put else ray.remote(_same).remote(value)


def _same(value: Any) -> Any:
    return value


def get_actor_node_id(actor_handle: Any) -> str:
    """Id of the node on which the actor lives, in hex."""
    return ray.get(actor_handle.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()))


def get_current_unused_port() -> int:
    """A TCP port that nobody listens on now."""
    return find_free_port()


def wait_until_server_available(address: str, timeout_ms: float = 5000, retry_interval_ms: float = 100) -> bool:
    """Whether something accepts connections at host:port before the time is over."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(retry_interval_ms / 1000)


def wait_for_assertion(
    assertion_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Calls the function again until it raises nothing.

    Args:
        raise_exceptions: lets errors other than AssertionError through at once.

    Raises:
        RuntimeError: it still raised at the end of timeout; the last error is its cause.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            assertion_predictor(**kwargs)
            return
        except Exception as error:
            if raise_exceptions and not isinstance(error, AssertionError):
                raise
            if time.monotonic() >= end:
                raise RuntimeError(f"The assertion did not hold within {timeout} s: {error}") from error
        time.sleep(retry_interval_ms / 1000)


@contextmanager
def chdir(path: str) -> Iterator[None]:
    """Works in another folder for a while."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


def job_hook(**options: Any) -> None:
    """A hook of ``ray job submit`` that says what would be run, and ends the submission."""
    print(f"hook intercepted: {' '.join(options['entrypoint'])}")
    sys.exit(0)
