"""The root of all errors of this package."""


class RayError(Exception):
    """Base class of every error of this package."""
