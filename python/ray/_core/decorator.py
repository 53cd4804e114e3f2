"""``@ray.remote``."""

import inspect
from typing import Any, Dict

from ray import _options


def remote(*args: Any, **kwargs: Any) -> Any:
    """Makes a function a task, or a class an actor class.

    Use it bare (``@ray.remote``), with options (``@ray.remote(num_cpus=2)``), or
    as a function (``ray.remote(f)``). Then ``f.remote(...)`` runs the function in
    the cluster and gives a reference to its result, and ``A.remote(...)`` makes
    an actor and gives its handle.
    """
    if len(args) == 1 and not kwargs and callable(args[0]):
        return _make(args[0], {})
    if args or not kwargs:
        raise TypeError(
            "The @ray.remote decorator must be applied either with no arguments and no parentheses, for example "
            "'@ray.remote', or it must be applied using some of the arguments, for example '@ray.remote(num_cpus=2)'."
        )
    for name in kwargs:
        if name not in _options.TASK and name not in _options.ACTOR:
            raise ValueError(
                f"Invalid option keyword {name}. Valid ones are {sorted(set(_options.TASK) | set(_options.ACTOR))}."
            )
    if set(kwargs) <= set(_options.TASK):
        _options.check_task(kwargs)
    elif set(kwargs) <= set(_options.ACTOR):
        _options.check_actor(kwargs)
    return lambda target: _make(target, dict(kwargs))


def _make(target: Any, options: Dict[str, Any]) -> Any:
    from ray.actor import ActorClass
    from ray.remote_function import RemoteFunction

    if inspect.isfunction(target) or inspect.isbuiltin(target) or _is_cython(target):
        _options.check_task(options)
        _options.check_generator(options, target)
        return RemoteFunction(target, options)
    if inspect.isclass(target):
        _options.check_actor(options)
        return ActorClass(target, options)
    if isinstance(target, (ActorClass, RemoteFunction)):
        raise TypeError(f"{target!r} is remote already: use .options() to change its options.")
    raise TypeError("The @ray.remote decorator must be applied to either a function or a class.")


def _is_cython(value: Any) -> bool:
    return type(value).__name__ == "cython_function_or_method"
