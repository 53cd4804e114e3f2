"""What a handle knows of an actor's class: its methods, their parameters and options.

It travels as JSON with every handle, so that a process can call an actor whose class it has never seen.
"""

import json
from typing import Any, Dict, Optional

from ray import _options
from ray._core.signature import Signature
from ray.remote_function import INVOCATION_DECORATOR

#: Methods that every actor has.
HIDDEN_METHODS = ("__ray_ready__", "__ray_call__", "__ray_terminate__")

METHOD_ATTRIBUTE = "__ray_method_options__"

# Options that are Python objects: pickled, as text, in the JSON.
_PICKLED = ("retry_exceptions", INVOCATION_DECORATOR)


def method(*args: Any, **kwargs: Any) -> Any:
    """Decorator that gives a method of an actor class options for all its calls.

    Args:
        num_returns: number of references that a call gives, or ``"streaming"``.
        concurrency_group: the group that its calls belong to.
        max_task_retries: how often a call is repeated when the actor restarts.
        retry_exceptions: whether (or for which exceptions) it is repeated when it raises.
        enable_task_events: whether its calls are listed by the state API.

    Example:
        >>> class Splitter:  # doctest: +SKIP
        ...     @ray.method(num_returns=2)
        ...     def pair(self):
        ...         return 1, 2
    """
    if args or not kwargs:
        raise ValueError(
            "The @ray.method decorator must be applied using at least one keyword argument, for example "
            "'@ray.method(num_returns=2)'."
        )
    _options.check_method(kwargs)

    def annotate(function: Any) -> Any:
        setattr(function, METHOD_ATTRIBUTE, dict(kwargs))
        return function

    return annotate


class MethodInfo:
    """What a handle knows about one method."""

    __slots__ = ("name", "signature", "options", "is_generator")

    def __init__(self, name: str, signature: Signature, options: Dict[str, Any], is_generator: bool) -> None:
        self.name = name
        self.signature = signature
        self.options = options
        self.is_generator = is_generator


class ClassInfo:
    """What handles need to know about an actor's class; travels as JSON."""

    __slots__ = (
        "class_name",
        "short_name",
        "module",
        "methods",
        "function_id",
        "is_async",
        "max_pending",
        "max_task_retries",
        "unlisted",
        "_json",
        "plans",
    )

    def __init__(
        self,
        class_name: str,
        short_name: str,
        module: str,
        methods: Dict[str, MethodInfo],
        function_id: str,
        is_async: bool,
        max_pending: int,
        max_task_retries: int,
        unlisted: bool = False,
    ) -> None:
        self.class_name = class_name
        self.short_name = short_name
        self.module = module
        self.methods = methods
        self.function_id = function_id
        self.is_async = is_async
        self.max_pending = max_pending
        self.max_task_retries = max_task_retries
        self.unlisted = unlisted
        self._json: Optional[Dict[str, Any]] = None
        self.plans: Dict[Any, Any] = {}

    def to_json(self) -> Dict[str, Any]:
        """The object that handles are made from."""
        if self._json is None:
            self._json = {
                "class": self.class_name,
                "short": self.short_name,
                "module": self.module,
                "function_id": self.function_id,
                "async": self.is_async,
                "pending": self.max_pending,
                "retries": self.max_task_retries,
                "methods": {
                    name: [info.signature.to_list(), _json_options(info.options), info.is_generator]
                    for name, info in self.methods.items()
                },
            }
            if self.unlisted:
                self._json["unlisted"] = True
        return self._json

    @classmethod
    def from_json(cls, value: Dict[str, Any]) -> "ClassInfo":
        """The inverse of :meth:`to_json`; equal objects share one."""
        key = json.dumps(value, sort_keys=True)
        found = _known_classes.get(key)
        if found is None:
            methods = {
                name: MethodInfo(name, Signature.from_list(row[0]), _options_from_json(row[1]), row[2])
                for name, row in value.get("methods", {}).items()
            }
            found = cls(
                value.get("class", ""),
                value.get("short", ""),
                value.get("module", ""),
                methods,
                value.get("function_id", ""),
                bool(value.get("async")),
                value.get("pending", -1),
                value.get("retries", 0),
                bool(value.get("unlisted")),
            )
            if len(_known_classes) > 1000:
                _known_classes.clear()
            _known_classes[key] = found
        return found


_known_classes: Dict[str, ClassInfo] = {}


def _json_options(options: Dict[str, Any]) -> Dict[str, Any]:
    out = dict(options)
    for name in _PICKLED:
        value = out.get(name)
        if value is None or isinstance(value, bool):
            continue
        import base64

        from ray import cloudpickle

        out[name] = base64.b64encode(cloudpickle.dumps(value)).decode()
    return out


def _options_from_json(options: Dict[str, Any]) -> Dict[str, Any]:
    for name in _PICKLED:
        value = options.get(name)
        if isinstance(value, str):
            import base64
            import pickle

            options = dict(options, **{name: pickle.loads(base64.b64decode(value))})
    return options
