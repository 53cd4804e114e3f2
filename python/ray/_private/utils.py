"""Small helpers that others import."""

import binascii
import os
from typing import Any, Tuple, Union

from ray._version import __version__


def binary_to_hex(identifier: bytes) -> str:
    """Bytes as hexadecimal text."""
    return identifier.hex()


def hex_to_binary(text: Union[str, bytes]) -> bytes:
    """The bytes of hexadecimal text."""
    return binascii.unhexlify(text)


def get_ray_doc_version() -> str:
    """The part of docs.ray.io that describes the version of the API which this package provides."""
    return f"releases-{__version__}"


def get_ray_temp_dir() -> str:
    """Folder under which session directories lie."""
    return os.environ.get("RAY_TMPDIR") or f"/tmp/ray-{os.getuid()}"


def get_num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def get_system_memory() -> int:
    """Memory of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def set_cuda_visible_devices(gpu_ids: Any) -> None:
    """Sets CUDA_VISIBLE_DEVICES to the ids."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(device) for device in gpu_ids)


def get_directory_size_bytes(path: Union[str, "os.PathLike[str]"] = ".") -> int:
    """Bytes of the files in the folder and below it; links are not followed."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            if not os.path.islink(file):
                try:
                    total += os.path.getsize(file)
                except FileNotFoundError:
                    continue
    return total


def split_address(address: str) -> Tuple[str, str]:
    """The module and the rest of ``module://rest``.

    Raises:
        ValueError: there is no ``://`` in it.
    """
    if "://" not in address:
        raise ValueError("Address must contain '://'")
    module, _, rest = address.partition("://")
    return module, rest
