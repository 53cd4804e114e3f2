"""Finding the server of an address; see :mod:`ray.job_submission.clusters`."""

from ray.job_submission.clusters import (
    DEFAULT_DASHBOARD_ADDRESS,
    ClusterInfo,
    get_job_submission_client_cluster_info,
    parse_cluster_info,
)

__all__ = ["DEFAULT_DASHBOARD_ADDRESS", "ClusterInfo", "get_job_submission_client_cluster_info", "parse_cluster_info"]
