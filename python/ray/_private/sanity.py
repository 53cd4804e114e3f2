"""``ray sanity-check``: one task in a cluster of its own, which ends with it."""

import ray


def main() -> None:
    """Runs the task and prints the version that the worker has.

    Raises:
        RuntimeError: worker and driver have different versions of the package.
    """
    ray.init(include_dashboard=False)
    try:
        there = ray.get(ray.remote(lambda: ray.__version__).remote(), timeout=60)
    finally:
        ray.shutdown()
    if there != ray.__version__:
        raise RuntimeError(f"the worker has version {there} of the package, this program {ray.__version__}")
    print(f"Success! Ray version: {there}")


if __name__ == "__main__":
    main()
