"""A cluster with an autoscaler on one machine, for tests; :mod:`ray.cluster_utils` has its name."""

import atexit
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from typing import Any, Dict, List, Optional

from ray.autoscaler.sdk import ray_program


class AutoscalingCluster:
    """A cluster that grows and shrinks by itself, of node processes on this machine, for tests.

    ``ray.init("auto")`` connects to it once it has been started.

    Args:
        head_resources: what the head's node offers.
        worker_node_types: ``available_node_types`` of a cluster file, without the head's.
        autoscaler_v2: changes nothing: there is one autoscaler.
        config_kwargs: other keys of the cluster file, such as ``max_workers`` (8) and ``idle_timeout_minutes`` (0.1).
    """

    def __init__(
        self,
        head_resources: Dict[str, float],
        worker_node_types: Dict[str, Any],
        autoscaler_v2: bool = False,
        **config_kwargs: Any,
    ) -> None:
        self._head_resources = dict(head_resources)
        self._directory: Optional[str] = None
        self._config = self._generate_config(
            head_resources, worker_node_types, autoscaler_v2=autoscaler_v2, **config_kwargs
        )

    def _generate_config(
        self,
        head_resources: Dict[str, float],
        worker_node_types: Dict[str, Any],
        autoscaler_v2: bool = False,
        **config_kwargs: Any,
    ) -> Dict[str, Any]:
        """The cluster file's content."""
        head = {"resources": dict(head_resources), "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": f"local-{os.getpid()}-{next(_numbers)}",
            "provider": {"type": "process"},
            "max_workers": 8,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 0.1,
            "available_node_types": {**worker_node_types, "ray.head.default": head},
            "head_node_type": "ray.head.default",
            **config_kwargs,
        }

    def start(
        self, _system_config: Optional[Dict[str, Any]] = None, override_env: Optional[Dict[str, str]] = None
    ) -> None:
        """Starts the head, after it has ended the nodes that this user runs under RAY_TMPDIR.

        Args:
            _system_config: settings of the cluster.
            override_env: more environment of the head and of all that comes from it.

        Raises:
            subprocess.CalledProcessError: it did not start; what it printed says why.
        """
        for other in list(_autoscaling):
            other.shutdown()
        subprocess.check_call([ray_program(), "stop", "--force"])
        self._directory = tempfile.mkdtemp(prefix="ray-autoscaling-")
        path = os.path.join(self._directory, "cluster.yaml")
        provider = {"state_dir": self._directory, **self._config["provider"]}
        with open(path, "w") as file:
            json.dump({**self._config, "provider": provider}, file)  # JSON is YAML
        command = [ray_program(), "start", "--head", f"--autoscaling-config={path}", "--port=0", "--dashboard-port=0"]
        rest = dict(self._head_resources)
        for name, flag in (("CPU", "num-cpus"), ("GPU", "num-gpus"), ("object_store_memory", "object-store-memory")):
            if name in rest:
                command.append(f"--{flag}={rest.pop(name)}")
        if rest:
            command.append(f"--resources={json.dumps(rest)}")
        if _system_config is not None:
            command.append(f"--system-config={json.dumps(_system_config)}")
        _autoscaling.append(self)
        subprocess.check_call(command, env={**os.environ, **(override_env or {})})

    def shutdown(self) -> None:
        """Ends the head and every worker that came from it."""
        subprocess.check_call([ray_program(), "stop", "--force"])
        if self._directory is None:
            return
        path = os.path.join(self._directory, "cluster.yaml")
        subprocess.check_call([ray_program(), "down", "-y", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None
        _autoscaling.remove(self)


# Clusters that have been started and not been shut down.
_autoscaling: List[AutoscalingCluster] = []
_numbers = itertools.count()


@atexit.register
def _shutdown_all() -> None:
    for cluster in list(_autoscaling):
        cluster.shutdown()
