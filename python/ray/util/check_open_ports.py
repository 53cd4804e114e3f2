"""``ray check-open-ports`` as a command of click, where upstream has it."""

from ray.scripts.scripts import check_open_ports

__all__ = ["check_open_ports"]
