"""Fields of runtime environments that users define.

RAY_RUNTIME_ENV_PLUGINS of a node is a JSON list of ``{"class": "module.Class", "priority": 10}``.
"""

import logging
from typing import Any, List, Optional

from ray._private.runtime_env.context import RuntimeEnvContext

_LOGGER = logging.getLogger(__name__)


class RuntimeEnvPlugin:
    """One field. An instance lives in a process of the node, and is asked for one environment after another.

    Attributes:
        name: of the field.
        priority: 0 to 100; of several plugins the one with the smallest comes first.
    """

    name: Optional[str] = None
    priority: int = 10

    @staticmethod
    def validate(runtime_env: Any) -> None:
        """Raises ValueError for a field that cannot be."""

    def get_uris(self, runtime_env: Any) -> List[str]:
        """Names of what the environment needs; each is made once and counted by use."""
        return []

    async def create(
        self, uri: Optional[str], runtime_env: Any, context: RuntimeEnvContext, logger: logging.Logger = _LOGGER
    ) -> float:
        """Makes what a URI names, or, of an environment that needs none, whatever it needs.

        Returns:
            Its size on disk in bytes.
        """
        return 0

    def modify_context(
        self, uris: List[str], runtime_env: Any, context: RuntimeEnvContext, logger: logging.Logger = _LOGGER
    ) -> None:
        """Changes how workers are started."""

    def delete_uri(self, uri: str, logger: logging.Logger = _LOGGER) -> float:
        """Removes what :meth:`create` made for a URI that nobody uses.

        Returns:
            The bytes that this freed.
        """
        return 0
