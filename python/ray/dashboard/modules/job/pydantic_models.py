"""Rows of the job server; see :mod:`ray.job_submission`. They are dataclasses here."""

from ray.job_submission import DriverInfo, JobDetails, JobType

__all__ = ["DriverInfo", "JobDetails", "JobType"]
