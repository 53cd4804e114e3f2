"""cloudpickle, the copy that ships with this package.

It has a module name of its own, so that it neither hides nor follows a
cloudpickle that the program installs.
"""

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

__all__ = [
    "CloudPickler",
    "Pickler",
    "__version__",
    "cloudpickle",
    "dump",
    "dumps",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]
