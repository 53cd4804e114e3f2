"""joblib's multiprocessing backend over :class:`ray.util.multiprocessing.Pool`."""

from typing import Any, Dict, Optional

from joblib._parallel_backends import MultiprocessingBackend

from ray.util.multiprocessing.pool import Pool


class RayBackend(MultiprocessingBackend):
    """Sends joblib's batches to actors.

    Args:
        ray_remote_args: options of the actors.
    """

    supports_sharedmem = False
    supports_timeout = True

    def __init__(self, *args: Any, ray_remote_args: Optional[Dict[str, Any]] = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ray_remote_args = ray_remote_args

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        """How many batches run at a time: all CPUs of the cluster for -1."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        import ray

        if not ray.is_initialized():
            ray.init()
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return max(1, cpus + 1 + n_jobs) if n_jobs < 0 else n_jobs

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **options: Any
    ) -> int:
        """Starts the pool; gives the number of its processes."""
        n_jobs = self.effective_n_jobs(n_jobs)
        self._pool: Any = _RayPool(n_jobs, ray_remote_args=self._ray_remote_args)
        self.parallel = parallel
        return n_jobs

    def terminate(self) -> None:
        """Ends the pool."""
        if getattr(self, "_pool", None) is not None:
            self._pool.terminate()
            self._pool = None


class _RayPool(Pool):
    """A pool as joblib calls it."""

    def submit(self, func: Any, callback: Any = None) -> Any:
        """Runs func; joblib calls this with a batch."""
        return self.apply_async(func, callback=callback, error_callback=callback)


__all__ = ["RayBackend"]
