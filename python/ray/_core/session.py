"""What this process has started or opened besides its client."""

import subprocess
import threading
from typing import Any, List, Optional


class Session:
    """What this process has started or opened besides its client."""

    def __init__(self) -> None:
        self.process: Optional["subprocess.Popen[bytes]"] = None
        self.stderr: Any = None
        self.control: Any = None
        self.relays: List[Any] = []  # of a driver on another machine
        self.printer: Any = None
        self.thread: Optional[threading.Thread] = None
        self.context: Any = None


session = Session()
