"""Helpers for tests that read the tables of a cluster."""

from ray._private.test_utils import verify_failed_task

__all__ = ["verify_failed_task"]
