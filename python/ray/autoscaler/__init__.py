"""Asking the cluster to grow."""

from ray.autoscaler import sdk

__all__ = ["sdk"]
