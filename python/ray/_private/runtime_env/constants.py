"""Names of environment variables."""

#: A submitted job's settings, as JSON.
RAY_JOB_CONFIG_JSON_ENV_VAR = "RAY_JOB_CONFIG_JSON_ENV_VAR"
