"""What is known about a job; see :mod:`ray.job_submission`."""

from ray.job_submission.models import JobErrorType, JobInfo, JobStatus

__all__ = ["JobErrorType", "JobInfo", "JobStatus"]
