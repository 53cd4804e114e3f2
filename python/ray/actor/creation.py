"""Making an actor: its class, options and arguments become a creation task."""

from typing import TYPE_CHECKING, Any, Dict, Tuple

from ray import _options
from ray._core import frames, inspection, state
from ray._core.signature import Signature
from ray.actor.descriptions import ClassInfo
from ray.actor.handles import ActorHandle

if TYPE_CHECKING:
    from ray.actor.classes import ActorClass

#: Calls at a time of an async actor that does not say how many.
DEFAULT_ASYNC_CONCURRENCY = 1000


def _no_arguments(self: Any) -> None:
    """What the constructor of a class takes that has none of its own."""


def _constructor(cls: Any) -> Any:
    inherited: Any = object
    if cls.__init__ is inherited.__init__ and cls.__new__ is inherited.__new__:
        return _no_arguments
    return cls.__init__


def create(actor_class: "ActorClass", args: tuple, kwargs: Dict[str, Any], options: Dict[str, Any]) -> "ActorHandle":
    client = state.client()
    if actor_class._init_signature is None:
        actor_class._init_signature = Signature.of(_constructor(actor_class._class), skip_first=True)
    actor_class._init_signature.check(args, kwargs)
    name, namespace = options.get("name"), options.get("namespace") or client.namespace
    template, info = _creation_template(actor_class, client, options, namespace)
    function_id, code, held = actor_class._pickled(client)
    actor_id = client.next_actor_id()
    if name is not None:
        reply, _ = client.call("actor.reserve", {"actor_id": actor_id.hex(), "options": template["actor"]})
        existing = (reply or {}).get("existing")
        if existing:
            return ActorHandle._from_info(existing)
    client.export(function_id, code, held)
    number = client.template(frames.dump_json(template))
    try:
        _, refs = client.submit(frames.KIND_ACTOR_CREATE, number, 1, args, kwargs, actor_id)
    except inspection.UnpicklableArguments as error:
        raise inspection.bad_argument(error, template["function"], args, kwargs) from error
    detached = template["actor"].get("detached", False)
    handle: ActorHandle[Any] = ActorHandle(info, actor_id, client.node_id, refs[0])
    if detached:
        handle._weaken()
    return handle


def _creation_template(
    actor_class: "ActorClass", client: Any, options: Dict[str, Any], namespace: str
) -> Tuple[Dict[str, Any], ClassInfo]:
    function_id, _, _ = actor_class._pickled(client)
    is_async = actor_class._is_async()
    groups = options.get("concurrency_groups") or {}
    if isinstance(groups, list):
        groups = {item["name"]: item.get("max_concurrency", 1) for item in groups}
    concurrency = options.get("max_concurrency") or None
    if concurrency is None:
        concurrency = DEFAULT_ASYNC_CONCURRENCY if is_async else 1
    out_of_order = options.get("allow_out_of_order_execution")
    concurrent = is_async or concurrency > 1 or bool(groups)
    if out_of_order is False and (is_async or concurrency > 1):
        raise ValueError(
            "If you're using async actors or threaded actors (max_concurrency > 1), "
            "allow_out_of_order_execution cannot be False."
        )
    lifetime = options.get("lifetime")
    if lifetime is None:
        lifetime = (client.job_config.get("metadata") or {}).get("default_actor_lifetime", "non_detached")
    retries = options.get("max_task_retries") or 0
    info = ClassInfo(
        actor_class._class_name,
        actor_class._short_name,
        actor_class.__module__,
        actor_class._method_infos(),
        function_id.hex(),
        is_async,
        -1 if options.get("max_pending_calls") is None else options["max_pending_calls"],
        retries,
        options.get("enable_task_events") is False,
    )
    resources, placement = _options.actor_resources(options)
    template: Dict[str, Any] = {
        "kind": "actor_create",
        "function_id": function_id.hex(),
        "name": f"{actor_class._short_name}.__init__",
        "function": f"{actor_class.__module__}.{actor_class._class_name}.__init__",
        "resources": resources,
        "max_retries": 0,
        "retry_exceptions": False,
        "actor": {
            "class_name": actor_class._class_name,
            "name": options.get("name") or "",
            "namespace": namespace,
            "detached": lifetime == "detached",
            "get_if_exists": bool(options.get("get_if_exists")),
            "max_restarts": options.get("max_restarts") or 0,
            "max_task_retries": retries,
            "max_concurrency": concurrency,
            "groups": groups,
            "async": is_async,
            "out_of_order": concurrent if out_of_order is None else bool(out_of_order),
            "handle": info.to_json(),
        },
    }
    if placement is not None:
        template["placement"] = placement
    _options.add_common(template, options)
    return template, info
