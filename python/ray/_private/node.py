"""What a process knows of the node that it runs on."""

import os
from typing import Any, Dict

from ray._core import state


class Node:
    """A view of this process's connection; it holds nothing itself.

    Raises:
        RaySystemError: from every attribute, when this process is not connected.
    """

    @property
    def unique_id(self) -> str:
        """Id of the node, hex."""
        return state.connected().node_id.hex()

    node_id = unique_id

    @property
    def node_ip_address(self) -> str:
        """Address of the node."""
        return state.connected().node_ip

    raylet_ip_address = node_ip_address

    @property
    def gcs_address(self) -> str:
        """host:port of the head."""
        return state.connected().gcs_address

    address = gcs_address

    @property
    def address_info(self) -> Dict[str, Any]:
        """Addresses and paths, as ``ray.init().address_info``."""
        from ray._core.context import RayContext

        return RayContext(state.connected(), None).address_info

    @property
    def webui_url(self) -> str:
        """host:port of the dashboard, "" without one."""
        return str(self.address_info["webui_url"] or "")

    @property
    def session_name(self) -> str:
        """Name of the session."""
        return os.path.basename(self.get_session_dir_path())

    def get_session_dir_path(self) -> str:
        """Session directory of the node."""
        return state.connected().session_dir

    def get_logs_dir_path(self) -> str:
        """Directory of its log files."""
        return os.path.join(self.get_session_dir_path(), "logs")

    def get_temp_dir_path(self) -> str:
        """Directory that holds the sessions."""
        return os.path.dirname(self.get_session_dir_path())
