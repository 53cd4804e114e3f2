"""Devices: the resources that a task is told the members of, and how its process sees no others.

The families and their variables are upstream's; ``internal/spec`` of the daemon has the same table.
"""

import os
from typing import Dict, List, Optional, Tuple

#: Family to (the variable that names the visible devices, the variable that keeps it from being set).
FAMILIES: Dict[str, Tuple[str, str]] = {
    "GPU": ("CUDA_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"),
    "TPU": ("TPU_VISIBLE_CHIPS", "RAY_EXPERIMENTAL_NOSET_TPU_VISIBLE_CHIPS"),
    "HPU": ("HABANA_VISIBLE_MODULES", "RAY_EXPERIMENTAL_NOSET_HABANA_VISIBLE_MODULES"),
    "NPU": ("ASCEND_RT_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"),
    "neuron_cores": ("NEURON_RT_VISIBLE_CORES", "RAY_EXPERIMENTAL_NOSET_NEURON_RT_VISIBLE_CORES"),
    "RBLN": ("RBLN_DEVICES", "RAY_EXPERIMENTAL_NOSET_RBLN_RT_VISIBLE_DEVICES"),
    "FURIOSA": ("FURIOSA_DEVICES", "RAY_EXPERIMENTAL_NOSET_FURIOSA_DEVICES"),
    "MBLT": ("QBRUNTIME_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_MBLT_RT_VISIBLE_DEVICES"),
    "TTNPU": ("TT_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_TENSTORRENT_VISIBLE_DEVICES"),
}

#: Families whose devices serve one task at a time.
_WHOLE = ("neuron_cores", "HPU", "RBLN", "FURIOSA", "MBLT")
#: Chips that a TPU's runtime can be told to use, and the bounds it wants to hear for a part of a host.
_TPU_CHIPS = (1, 2, 4, 8)
_TPU_BOUNDS = {1: "1,1,1", 2: "1,2,1"}


def fault(resource: str, amount: float) -> Optional[str]:
    """What is wrong with asking for that amount of a resource; None if nothing is."""
    if resource == "TPU" and amount and amount not in _TPU_CHIPS:
        return f"The number of requested 'TPU' was set to {amount}, and a task can use one of {_TPU_CHIPS} chips"
    if resource in _WHOLE and amount != int(amount):
        return f"{resource} resource quantity must be whole numbers: such a device is not shared. Got {amount}"
    return None


def show(devices: Dict[str, List[str]], gpu_variable: str = "") -> None:
    """Sets the variables of this process for the devices that it holds.

    ``gpu_variable`` is the one for this node's GPUs, if they are not NVIDIA's: ``HIP_VISIBLE_DEVICES``.

    A family of which it holds none is left as the node has it; with RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1 none of its
    devices is visible then (but for TPUs, whose runtime takes an empty list for a mistake).
    """
    none = dict.fromkeys(FAMILIES, ()) if _flag("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO") else {}
    none.pop("TPU", None)
    for family, ids in {**none, **devices}.items():
        variable, untouched = FAMILIES[family]
        if family == "GPU" and gpu_variable:
            variable, untouched = gpu_variable, f"RAY_EXPERIMENTAL_NOSET_{gpu_variable}"
        if _flag(untouched):
            continue
        prefix = "npu:" if family == "FURIOSA" else ""
        os.environ[variable] = ",".join(prefix + device for device in ids)
        if family == "TPU" and len(ids) in _TPU_BOUNDS:
            os.environ["TPU_CHIPS_PER_HOST_BOUNDS"] = _TPU_BOUNDS[len(ids)]
            os.environ["TPU_HOST_BOUNDS"] = "1,1,1"


def _flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true")
