"""TPU slices. Nodes do not report TPUs yet, so everything here finds none."""

from typing import Any, Optional


def get_current_pod_name() -> Optional[str]:
    """Name of the TPU pod of this node; None: there is none."""
    return None


def get_current_pod_worker_count() -> Optional[int]:
    """Workers of the TPU pod of this node; None: there is none."""
    return None


def get_num_tpu_chips_on_node() -> int:
    """TPU chips of this node: 0."""
    return 0


def slice_placement_group(*args: Any, **options: Any) -> Any:
    """Always raises: reserving TPU slices is not supported yet."""
    raise NotImplementedError("not supported yet: ray.util.tpu.slice_placement_group")


def run_on_slice(*args: Any, **options: Any) -> Any:
    """Always raises: running on TPU slices is not supported yet."""
    raise NotImplementedError("not supported yet: ray.util.tpu.run_on_slice")
