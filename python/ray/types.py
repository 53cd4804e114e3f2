"""Types for annotations."""

from ray._core.refs import ObjectRef

__all__ = ["ObjectRef"]
