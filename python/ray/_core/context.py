"""What ``ray.init`` returns."""

import os
import sys
from typing import Any, Dict, Optional

from ray._version import __version__


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
        from ray._core.bootstrap import shutdown

        shutdown()

    def disconnect(self) -> None:
        """Disconnects, as ``ray.shutdown()``."""
        from ray._core.bootstrap import shutdown

        shutdown()

    def __repr__(self) -> str:
        return (
            f"RayContext(dashboard_url={self.dashboard_url!r}, python_version={self.python_version!r}, "
            f"ray_version={self.ray_version!r})"
        )
