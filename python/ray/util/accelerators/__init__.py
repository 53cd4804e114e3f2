"""Names of accelerator types, for the option ``accelerator_type``."""

from ray.util.accelerators.accelerators import *  # noqa: F401,F403
from ray.util.accelerators.accelerators import __all__ as _names

__all__ = list(_names)
