"""cloudpickle, the copy that ships with this package.

It has a module name of its own, so that it neither hides nor follows a
cloudpickle that the program installs.
"""

import os
import pickle
from typing import Any

try:
    from ray._vendor.cloudpickle import *  # noqa: F401,F403
    from ray._vendor.cloudpickle import (
        Pickler,
        __version__,
        cloudpickle,
        dump,
        dumps,
        load,
        loads,
        register_pickle_by_value,
        unregister_pickle_by_value,
    )
except ImportError:
    try:
        from cloudpickle import *  # noqa: F401,F403
        from cloudpickle import (
            Pickler,
            __version__,
            cloudpickle,
            dump,
            dumps,
            load,
            loads,
            register_pickle_by_value,
            unregister_pickle_by_value,
        )
    except ImportError as error:
        raise ImportError(
            "cloudpickle is missing: it is neither beside the package nor installed. "
            "Run scripts/build, or install cloudpickle in this environment."
        ) from error

CloudPickler = Pickler


def dumps_debug(obj: Any, *args: Any, **kwargs: Any) -> bytes:
    """``dumps`` whose error says more: with RAY_PICKLE_VERBOSE_DEBUG=1 it prints what does not pickle.

    Raises:
        TypeError, pickle.PicklingError: obj or something in it cannot be pickled.
    """
    try:
        return dumps(obj, *args, **kwargs)
    except (TypeError, pickle.PicklingError) as error:
        if os.environ.get("RAY_PICKLE_VERBOSE_DEBUG"):
            from ray.util.check_serialize import inspect_serializability

            inspect_serializability(obj)
            raise
        raise type(error)(
            f"{obj!r} cannot be pickled: {error}. Set RAY_PICKLE_VERBOSE_DEBUG=1, or call "
            "ray.util.inspect_serializability on it, to see which part."
        ) from error


__all__ = [
    "CloudPickler",
    "Pickler",
    "__version__",
    "cloudpickle",
    "dump",
    "dumps",
    "dumps_debug",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]
