"""Names of accelerator types, for the option ``accelerator_type``."""

from ray.util.accelerators.accelerators import *  # noqa: F401,F403
from ray.util.accelerators.accelerators import __all__ as _names

__all__ = [*_names, "NVIDIA_TESLA_A100"]  # noqa: F405,F822


def __getattr__(name: str) -> str:
    if name != "NVIDIA_TESLA_A100":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    from ray.util.accelerators.accelerators import NVIDIA_A100
    from ray.util.annotations import RayDeprecationWarning

    warnings.warn(
        "The name NVIDIA_TESLA_A100 is deprecated: the type is NVIDIA_A100.", RayDeprecationWarning, stacklevel=2
    )
    return NVIDIA_A100
