"""The client of the job server; see :mod:`ray.job_submission`."""

from ray.job_submission import JobDetails, JobInfo, JobStatus, JobSubmissionClient, JobType

__all__ = ["JobDetails", "JobInfo", "JobStatus", "JobSubmissionClient", "JobType"]
