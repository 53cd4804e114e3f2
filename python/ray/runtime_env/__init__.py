"""Environments that tasks, actors and jobs run in: variables, files, modules."""

from ray.runtime_env.runtime_env import RuntimeEnv, RuntimeEnvConfig, mpi_init

__all__ = ["RuntimeEnv", "RuntimeEnvConfig", "mpi_init"]
