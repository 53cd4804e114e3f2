"""Options of tasks and actors: which there are, what they may be, what they mean.

``check_task``, ``check_actor`` and ``check_method`` raise ValueError or
TypeError for what cannot be; ``template`` turns options into the JSON object
that the cluster is sent (``spec.Template`` of docs/PROTOCOL.md).
"""

import base64
import inspect
import warnings
from typing import Any, Dict, List, Optional, Tuple

from ray._core import devices
from ray._private.utils import get_ray_doc_version

COMMON = (
    "label_selector",
    "fallback_strategy",
    "accelerator_type",
    "memory",
    "name",
    "num_cpus",
    "num_gpus",
    "object_store_memory",
    "placement_group",
    "placement_group_bundle_index",
    "placement_group_capture_child_tasks",
    "resources",
    "runtime_env",
    "scheduling_strategy",
    "enable_task_events",
    "_labels",
)
TASK = COMMON + (
    "max_calls",
    "max_retries",
    "num_returns",
    "retry_exceptions",
    "_generator_backpressure_num_objects",
    "_num_objects_per_yield",
)
ACTOR = COMMON + (
    "concurrency_groups",
    "enable_tensor_transport",
    "get_if_exists",
    "lifetime",
    "max_concurrency",
    "max_restarts",
    "max_task_retries",
    "max_pending_calls",
    "namespace",
    "allow_out_of_order_execution",
    "_actor_generator_backpressure_num_objects",
)
METHOD = (
    "num_returns",
    "concurrency_group",
    "max_task_retries",
    "retry_exceptions",
    "_generator_backpressure_num_objects",
    "_num_objects_per_yield",
    "enable_task_events",
    "tensor_transport",
)
# Options of a call that decorators do not take.
METHOD_CALL = METHOD + ("name",)

#: Amounts finer than this are not told apart.
PRECISION = 10000

_STRING_STRATEGIES = ("DEFAULT", "SPREAD")

_NONE = type(None)
_WHOLE = (int, _NONE)
_AMOUNT = (float, int, _NONE)
_TEXT = (str, _NONE)
_MAPPING = (dict, _NONE)
_FLAG = (bool, _NONE)
# What each option may be an instance of; scheduling_strategy and placement_group are looked at by their fields.
_TYPES: Dict[str, Any] = {
    "label_selector": _MAPPING,
    "fallback_strategy": (list, _NONE),
    "accelerator_type": _TEXT,
    "memory": _AMOUNT,
    "name": _TEXT,
    "num_cpus": _AMOUNT,
    "num_gpus": _AMOUNT,
    "object_store_memory": _WHOLE,
    "placement_group_bundle_index": int,
    "placement_group_capture_child_tasks": _FLAG,
    "resources": _MAPPING,
    "runtime_env": _MAPPING,
    "enable_task_events": bool,
    "_labels": _MAPPING,
    "max_calls": _WHOLE,
    "max_retries": _WHOLE,
    "num_returns": (int, str, _NONE),
    "retry_exceptions": (bool, list, tuple),
    "_generator_backpressure_num_objects": _WHOLE,
    "_num_objects_per_yield": _WHOLE,
    "concurrency_groups": (list, dict, _NONE),
    "enable_tensor_transport": _FLAG,
    "lifetime": _TEXT,
    "max_concurrency": _WHOLE,
    "max_restarts": _WHOLE,
    "max_task_retries": _WHOLE,
    "max_pending_calls": _WHOLE,
    "namespace": _TEXT,
    "get_if_exists": bool,
    "allow_out_of_order_execution": _FLAG,
    "_actor_generator_backpressure_num_objects": _WHOLE,
}


def check_task(options: Dict[str, Any], in_options: bool = False) -> None:
    """Checks the options of a remote function."""
    _known(options, TASK, "remote functions")
    if in_options and "max_calls" in options:
        raise ValueError("Setting 'max_calls' is not supported in '.options()'.")
    _common(options)
    if options.get("object_store_memory") is not None:
        raise ValueError("Setting 'object_store_memory' is not implemented for tasks")
    _int(options, "max_calls", 0)
    _int(options, "max_retries", -1)
    _retry_exceptions(options)
    _num_returns(options)
    _generator(options)


def check_actor(options: Dict[str, Any], in_options: bool = False) -> None:
    """Checks the options of an actor class."""
    _known(options, ACTOR, "actors")
    if in_options and "concurrency_groups" in options:
        raise ValueError("Setting 'concurrency_groups' is not supported in '.options()'.")
    _common(options)
    _int(options, "max_concurrency", 0)
    _int(options, "max_restarts", -1)
    _int(options, "max_task_retries", -1)
    _int(options, "max_pending_calls", -1)
    lifetime = options.get("lifetime")
    if lifetime not in (None, "detached", "non_detached"):
        raise ValueError(
            f"actor `lifetime` argument must be one of 'detached', 'non_detached' and 'None'. Got {lifetime!r}."
        )
    namespace = options.get("namespace")
    if namespace is not None:
        check_text(namespace, "namespace")
    name = options.get("name")
    if name == "":
        raise ValueError("Actor name cannot be an empty string. Leave it out for an actor without a name.")
    if name is not None:
        check_text(name, "name")
    if options.get("get_if_exists") and name is None:
        raise ValueError("The actor name must be specified to use `get_if_exists`.")
    groups = options.get("concurrency_groups")
    if groups is not None:
        if isinstance(groups, dict):
            for group, limit in groups.items():
                if not isinstance(group, str) or not isinstance(limit, int) or limit < 1:
                    raise ValueError(
                        f"concurrency group {group!r}: the limit must be an integer of at least 1, got {limit!r}."
                    )
    if options.get("enable_tensor_transport"):
        raise ValueError("not supported yet: enable_tensor_transport (moving tensors between devices)")
    _backpressure(options.get("_actor_generator_backpressure_num_objects"), "_actor_generator_backpressure_num_objects")


def check_method(options: Dict[str, Any], call: bool = False) -> None:
    """Checks the options of ``ray.method`` or of a call."""
    allowed = METHOD_CALL if call else METHOD
    for key in options:
        if key not in allowed:
            raise ValueError(f"Invalid option keyword {key} for actor methods. Valid ones are {list(allowed)}.")
    _typed({key: value for key, value in options.items() if value is not None})
    if options.get("tensor_transport") not in (None, "object_store", "OBJECT_STORE"):
        raise ValueError("not supported yet: tensor_transport other than 'object_store'")
    _int(options, "max_task_retries", -1)
    _retry_exceptions(options)
    _num_returns(options)
    _generator(options)


def check_generator(options: Dict[str, Any], function: Any) -> None:
    """Checks that only a generator is asked for a stream."""
    wanted = options.get("num_returns")
    if wanted not in ("streaming", "dynamic"):
        return
    plain = inspect.unwrap(function)
    if not (inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain) or _is_cython(plain)):
        raise ValueError(
            f"num_returns='{wanted}' can only be used with generator functions (functions that use 'yield'). "
            "The decorated function is not a generator function."
        )


def check_call(options: Dict[str, Any], defaults: Dict[str, Any], function: Any) -> None:
    """Checks what ``.options()`` of a remote function with these defaults is given."""
    check_generator(options, function)
    if "_num_objects_per_yield" in options:
        if options["_num_objects_per_yield"] != (defaults.get("_num_objects_per_yield") or 1):
            raise ValueError(
                "_num_objects_per_yield cannot be overridden per task call. "
                "Use @ray.remote(_num_objects_per_yield=...) instead."
            )


def _is_cython(function: Any) -> bool:
    return type(function).__name__ == "cython_function_or_method"


def _known(options: Dict[str, Any], allowed: Tuple[str, ...], what: str) -> None:
    for key in options:
        if key not in allowed:
            raise ValueError(f"Invalid option keyword {key} for {what}. Valid ones are {list(allowed)}.")
    _typed(options)


def _typed(options: Dict[str, Any]) -> None:
    for key, value in options.items():
        wanted = _TYPES.get(key)
        if wanted is not None and not isinstance(value, wanted):
            raise TypeError(f"The type of keyword '{key}' must be {wanted}, but received type {type(value)}")


def check_text(value: Any, what: str) -> None:
    """Raises TypeError unless value is text, and ValueError if it is empty; what names it in the message."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be None or a string, got: '{type(value)}'.")
    if value == "":
        raise ValueError(f'"" is not a valid {what}. Please specify a non-empty string or leave it out.')


def _int(options: Dict[str, Any], name: str, least: int) -> None:
    value = options.get(name)
    if value is None or value >= least:
        return
    if least == -1:
        raise ValueError(
            f"The keyword '{name}' only accepts None, 0, -1 or a positive integer, where -1 represents infinity."
        )
    zero = ", 0" if least == 0 else ""
    raise ValueError(f"The keyword '{name}' only accepts None{zero} or a positive integer.")


def _amount(options: Dict[str, Any], name: str) -> None:
    value = options.get(name)
    if value is not None:
        check_amount(name, value)


def check_amount(name: str, value: float) -> None:
    """Checks an amount of a resource."""
    if value < 0:
        raise ValueError(f"The quantity of resource {name} cannot be negative")
    if 0 < value and round(value * PRECISION) == 0:
        raise ValueError(f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001")
    wrong = devices.fault(name, value)
    if wrong is not None:
        raise ValueError(wrong)
    scaled = value * PRECISION
    if abs(scaled - round(scaled)) > 1e-4 * max(1.0, abs(scaled) * 1e-9) and value < 1e6:
        raise ValueError(f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001")


def _common(options: Dict[str, Any]) -> None:
    for name in ("num_cpus", "num_gpus", "memory", "object_store_memory"):
        _amount(options, name)
    gpus = options.get("num_gpus")
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError(f"num_gpus above 1 must be whole, got {gpus}: a task cannot hold a part of one more device.")
    resources = options.get("resources")
    if resources is not None:
        if "CPU" in resources or "GPU" in resources:
            raise ValueError(
                "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in 'resources' keyword"
            )
        for key, value in resources.items():
            if not isinstance(value, (int, float)):
                raise TypeError(f"The amount of resource {key!r} must be a number, got {type(value)}")
            check_amount(key, value)
    strategy = options.get("scheduling_strategy")
    if strategy is not None:
        if isinstance(strategy, str):
            if strategy not in _STRING_STRATEGIES:
                raise ValueError(
                    f"scheduling_strategy must be 'DEFAULT', 'SPREAD' or a strategy object, got {strategy!r}."
                )
        elif not any(hasattr(strategy, field) for field in ("placement_group", "node_id", "hard")):
            raise TypeError(
                f"scheduling_strategy must be 'DEFAULT', 'SPREAD' or a strategy object, got {type(strategy)}."
            )
    _one_strategy(options)
    selector = options.get("label_selector")
    if selector:
        _selector(selector)
    fallback = options.get("fallback_strategy")
    if fallback is not None:
        for item in fallback:
            if not isinstance(item, dict) or set(item) - {"label_selector"}:
                raise ValueError(f"Each fallback strategy is a dict with the key 'label_selector' alone, got {item!r}.")
            _selector(item.get("label_selector") or {})
    if options.get("runtime_env"):
        from ray.runtime_env.normalize import check_options

        check_options(options["runtime_env"])


# How the place in a group was said before there were strategies, and what stands for nothing said.
_OLD_PLACE = {
    "placement_group": "default",
    "placement_group_bundle_index": -1,
    "placement_group_capture_child_tasks": None,
}


def _one_strategy(options: Dict[str, Any]) -> None:
    if options.get("scheduling_strategy") is not None and options.get("placement_group") not in (None, "default"):
        raise ValueError(
            "Placement groups should be specified via the scheduling_strategy option. "
            "The placement_group option is deprecated."
        )
    for name, default in _OLD_PLACE.items():
        value = options.get(name, default)
        if value != default and value is not False:
            warnings.warn(
                f"The {name} parameter is deprecated: give scheduling_strategy=PlacementGroupSchedulingStrategy(...) "
                f"instead, see https://docs.ray.io/en/{get_ray_doc_version()}/ray-core/package-ref.html#ray-remote",
                DeprecationWarning,
                stacklevel=5,
            )


def _selector(selector: Any) -> None:
    from ray._private.label_utils import validate_label_selector

    error = validate_label_selector(selector)
    if error:
        raise ValueError(error)


def _retry_exceptions(options: Dict[str, Any]) -> None:
    value = options.get("retry_exceptions")
    if value is None or isinstance(value, bool):
        return
    for cls in value:
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise ValueError(f"retry_exceptions must be either a boolean or a list of exceptions, got {cls!r} in it")


def _num_returns(options: Dict[str, Any]) -> None:
    value = options.get("num_returns")
    if value is None or value in ("streaming", "dynamic"):
        return
    if not isinstance(value, int) or value < 0:
        raise ValueError(
            "The keyword 'num_returns' only accepts None, a non-negative integer, 'streaming' (for generators), or "
            f"'dynamic', got {value!r}"
        )


def _generator(options: Dict[str, Any]) -> None:
    _backpressure(options.get("_generator_backpressure_num_objects"), "_generator_backpressure_num_objects")
    count = options.get("_num_objects_per_yield")
    if count is not None and count < 1:
        raise ValueError(
            "_num_objects_per_yield is a private streaming generator option that must be set to a positive integer."
        )


def _backpressure(value: Any, name: str) -> None:
    if value is None:
        return
    if value == 0 or value < -1:
        raise ValueError(f"{name}=0 is not allowed: use a value of at least 1, or -1 for no limit. Got {value!r}.")


# ------------------------------------------------------------------ meaning


def resources_of(options: Dict[str, Any], default_cpus: Optional[float]) -> Dict[str, float]:
    """The resources held, with num_cpus=default_cpus if it was not given (None: no CPU)."""
    out: Dict[str, float] = {}
    cpus = options.get("num_cpus")
    if cpus is None:
        cpus = default_cpus
    if cpus:
        out["CPU"] = float(cpus)
    if options.get("num_gpus"):
        out["GPU"] = float(options["num_gpus"])
    if options.get("memory"):
        out["memory"] = float(int(options["memory"]))
    for key, value in (options.get("resources") or {}).items():
        if value:
            out[key] = float(value)
    if options.get("accelerator_type"):
        out[f"accelerator_type:{options['accelerator_type']}"] = 0.001
    return out


def actor_resources(options: Dict[str, Any]) -> Tuple[Dict[str, float], Optional[Dict[str, float]]]:
    """What an actor holds, and what it needs to be placed if that differs.

    One that names no resource, or memory only, holds no CPU, but is placed where one is free.
    """
    named = any(options.get(name) is not None for name in ("num_cpus", "num_gpus", "accelerator_type"))
    if named or options.get("resources"):
        return resources_of(options, 1.0), None
    held = resources_of(options, None)
    return held, {**held, "CPU": 1.0}


def strategy_of(options: Dict[str, Any], resources: Optional[Dict[str, float]] = None) -> Dict[str, Any]:
    """The strategy as the cluster is sent it; the running task's group is inherited where it says so.

    resources: what has to fit into a bundle of the group.
    """
    _one_strategy(options)  # one may be the decorator's, the other that of .options()
    given = options.get("scheduling_strategy")
    group, bundle, capture = None, -1, None
    if given is None and options.get("placement_group", "default") != "default":
        group = options["placement_group"]
        bundle = options.get("placement_group_bundle_index", -1)
        capture = options.get("placement_group_capture_child_tasks")
        if group is None:
            return {"kind": "DEFAULT"}
    elif isinstance(given, str):
        return {"kind": given}
    elif given is not None and hasattr(given, "placement_group"):
        group = given.placement_group
        bundle = given.placement_group_bundle_index
        capture = given.placement_group_capture_child_tasks
        if group is None:
            return {"kind": "DEFAULT"}
    elif given is not None and hasattr(given, "node_id"):
        out = {"kind": "NODE_AFFINITY", "node_id": given.node_id, "soft": bool(given.soft)}
        if getattr(given, "_spill_on_unavailable", False):
            out["spill_on_unavailable"] = True
        if getattr(given, "_fail_on_unavailable", False):
            out["fail_on_unavailable"] = True
        return out
    elif given is not None:
        hard, soft = given._selectors()
        return {"kind": "NODE_LABEL", "hard_labels": hard, "soft_labels": soft}
    if group is not None and not group.is_empty:
        _check_bundle(group, bundle)
        _check_fit(group, bundle, resources)
        return {
            "kind": "PLACEMENT_GROUP",
            "placement_group": group.id.hex(),
            "bundle": bundle,
            "capture_children": bool(_inherited_capture() if capture is None else capture),
        }
    bundle = options.get("placement_group_bundle_index", -1)
    inherited = inherited_strategy()
    if inherited is None:
        if bundle != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
        return {"kind": "DEFAULT"}
    group = _known_group(inherited["placement_group"])
    if bundle != -1:
        _check_bundle(group, bundle)
        inherited = dict(inherited, bundle=bundle)
    _check_fit(group, bundle, resources)
    return inherited


def _check_fit(group: Any, bundle: int, resources: Optional[Dict[str, float]]) -> None:
    """Refuses at once what would wait for ever. A group that is gone says so later, by itself."""
    if resources and group.bundle_specs:
        from ray.util.placement_group import check_request_fits

        check_request_fits(group, bundle, resources)


_GROUPS_KEPT = 64
_groups: Dict[str, Any] = {}


def _known_group(group_id: str) -> Any:
    """The group that the running task's children inherit; its bundles are asked for once."""
    from ray.util.placement_group import PlacementGroup, PlacementGroupID

    found = _groups.get(group_id)
    if found is None:
        if len(_groups) >= _GROUPS_KEPT:
            _groups.clear()
        found = _groups[group_id] = PlacementGroup(PlacementGroupID.from_hex(group_id))
    return found


def _check_bundle(group: Any, bundle: int) -> None:
    if not isinstance(bundle, int) or bundle < -1:
        raise ValueError(f"placement group bundle index {bundle!r} is invalid: it is -1 or the number of a bundle.")
    if group.bundle_cache is not None and bundle >= len(group.bundle_cache):
        raise ValueError(
            f"placement group bundle index {bundle} is invalid. Valid placement group indexes: "
            f"0-{len(group.bundle_cache) - 1}"
        )


def _inherited_capture() -> bool:
    task = _holder()
    return bool(task is not None and task.capture_children)


def _holder() -> Any:
    from ray._core import state

    task = state.current_task()
    if (
        task is not None
        and task.placement_group is None
        and state.actor is not None
        and state.actor.creation is not None
    ):
        return state.actor.creation
    return task


def inherited_strategy() -> Optional[Dict[str, Any]]:
    """The group of the running task, if its children go there."""
    task = _holder()
    if task is None or not task.capture_children or task.placement_group is None:
        return None
    return {
        "kind": "PLACEMENT_GROUP",
        "placement_group": task.placement_group.hex(),
        "bundle": -1,
        "capture_children": True,
    }


def env_of(options: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """The runtime environment merged over the submitter's, None if it is the job's own."""
    from ray._core import state

    own = options.get("runtime_env")
    task = _holder()
    parent = (task.runtime_env if task is not None else None) or None
    if not own:
        return parent
    from ray.runtime_env.normalize import merge, normalize_options

    client = state._client
    base = parent or (client.runtime_env if client is not None else {})
    return merge(base, normalize_options(own))


def add_common(template: Dict[str, Any], options: Dict[str, Any]) -> None:
    """Puts strategy, labels and environment into a template."""
    template["strategy"] = strategy_of(options, template.get("placement") or template["resources"])
    if options.get("label_selector"):
        template["label_selector"] = options["label_selector"]
    if options.get("fallback_strategy"):
        template["fallback"] = [item.get("label_selector") or {} for item in options["fallback_strategy"]]
    env = env_of(options)
    if env:
        template["runtime_env"] = env
    extra: Dict[str, Any] = {}
    if options.get("enable_task_events") is False:
        template["unlisted"] = True
    if options.get("_labels"):
        extra["labels"] = options["_labels"]
    if extra:
        template["extra"] = extra


def add_stream(template: Dict[str, Any], options: Dict[str, Any]) -> int:
    """Makes a template that of a generator; gives how many items it may be ahead, 0 for no limit."""
    template["streaming"] = True
    group = options.get("_num_objects_per_yield") or 1
    if group > 1:
        template.setdefault("extra", {})["per_yield"] = group
    limit = options.get("_generator_backpressure_num_objects")
    if limit is None or limit <= 0:
        return 0
    template["backpressure"] = limit
    return limit


def add_retries(template: Dict[str, Any], value: Any) -> None:
    """Puts retry_exceptions into a template; a list travels pickled, for the worker."""
    template["retry_exceptions"] = bool(value)
    if value and not isinstance(value, bool):
        from ray import cloudpickle

        text = base64.b64encode(cloudpickle.dumps(tuple(value))).decode()
        template.setdefault("extra", {})["retry"] = text


def merged(old: Dict[str, Any], new: Dict[str, Any]) -> Dict[str, Any]:
    """Options with some replaced."""
    out = dict(old)
    out.update(new)
    return out


def names_of(items: Any) -> List[str]:
    """Names, sorted, for messages."""
    return sorted(str(item) for item in items)
