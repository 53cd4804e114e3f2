"""What a plugin may change about the workers of an environment."""

import json
import sys
from typing import Dict, List, Optional


class RuntimeEnvContext:
    """How the workers of an environment are started.

    Attributes:
        command_prefix: words of a shell line in front of the interpreter's.
        env_vars: variables of the workers.
        py_executable: command line that runs Python.
        override_worker_entrypoint, java_jars: kept for programs that look; they have no use here.
    """

    def __init__(
        self,
        command_prefix: Optional[List[str]] = None,
        env_vars: Optional[Dict[str, str]] = None,
        py_executable: Optional[str] = None,
        override_worker_entrypoint: Optional[str] = None,
        java_jars: Optional[List[str]] = None,
    ) -> None:
        self.command_prefix = list(command_prefix or [])
        self.env_vars = dict(env_vars or {})
        self.py_executable = py_executable or sys.executable
        self.override_worker_entrypoint = override_worker_entrypoint
        self.java_jars = list(java_jars or [])

    def serialize(self) -> str:
        """JSON of the attributes."""
        return json.dumps(self.__dict__)

    @staticmethod
    def deserialize(json_string: str) -> "RuntimeEnvContext":
        """The context of a text that :meth:`serialize` gave."""
        return RuntimeEnvContext(**json.loads(json_string))
