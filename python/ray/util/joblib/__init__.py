"""Running joblib's parallel loops on a cluster."""

from typing import Any


def register_ray() -> None:
    """Makes ``joblib.parallel_backend("ray")`` known.

    Example:
        >>> register_ray()  # doctest: +SKIP
        >>> with joblib.parallel_backend("ray"):  # doctest: +SKIP
        ...     joblib.Parallel()(joblib.delayed(f)(i) for i in range(10))

    Raises:
        ImportError: joblib is not installed.
    """
    try:
        from joblib.parallel import register_parallel_backend
    except ImportError as error:
        raise ImportError("joblib is not installed in this environment: pip install joblib") from error
    from ray.util.joblib.ray_backend import RayBackend

    register_parallel_backend("ray", RayBackend)


def __getattr__(name: str) -> Any:
    if name == "RayBackend":
        from ray.util.joblib.ray_backend import RayBackend

        return RayBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["register_ray"]
