"""Version of the job server's API."""

CURRENT_VERSION = "4"
