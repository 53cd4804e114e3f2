"""Actors: classes whose instances live in worker processes of their own."""

import hashlib
import inspect
import json
from collections import deque
from typing import Any, Dict, List, Optional, Tuple, Type, TypeVar, Union

from ray import _options
from ray._core import frames, inspection, serialization, state
from ray._core.refs import ObjectRef
from ray._core.signature import Signature
from ray._core.typed import Of
from ray.remote_function import _check_size, submit_general

#: Calls at a time of an async actor that does not say how many.
DEFAULT_ASYNC_CONCURRENCY = 1000

#: Methods that every actor has, and their parameters besides self.
HIDDEN_METHODS = ("__ray_ready__", "__ray_call__", "__ray_terminate__")

_METHOD_ATTRIBUTE = "__ray_method_options__"


class ActorClassInheritanceException(TypeError):
    """A class was derived from a class that is an actor class already."""

T = TypeVar("T")

#: What type checkers may know of an actor: a handle whose ``@ray.method`` methods have types.
ActorProxy = Union["ActorHandle[T]", Type[T]]


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
        setattr(function, _METHOD_ATTRIBUTE, dict(kwargs))
        return function

    return annotate


def exit_actor() -> None:
    """Ends the actor whose method calls this, for good.

    Raises:
        TypeError: called outside of an actor.
    """
    if state.actor is None:
        raise TypeError("exit_actor API is called on a non-actor worker. It is only available in an actor's methods.")
    from ray._core.process import ActorExit
    from ray.exceptions import AsyncioActorExit

    if state.actor.is_async:
        raise AsyncioActorExit()
    raise ActorExit(0)


class _MethodInfo:
    """What a handle knows about one method."""

    __slots__ = ("name", "signature", "options", "is_generator")

    def __init__(self, name: str, signature: Signature, options: Dict[str, Any], is_generator: bool) -> None:
        self.name = name
        self.signature = signature
        self.options = options
        self.is_generator = is_generator


class _ClassInfo:
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
        "_json",
        "plans",
    )

    def __init__(
        self,
        class_name: str,
        short_name: str,
        module: str,
        methods: Dict[str, _MethodInfo],
        function_id: str,
        is_async: bool,
        max_pending: int,
        max_task_retries: int,
    ) -> None:
        self.class_name = class_name
        self.short_name = short_name
        self.module = module
        self.methods = methods
        self.function_id = function_id
        self.is_async = is_async
        self.max_pending = max_pending
        self.max_task_retries = max_task_retries
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
        return self._json

    @classmethod
    def from_json(cls, value: Dict[str, Any]) -> "_ClassInfo":
        """The inverse of :meth:`to_json`; equal objects share one."""
        key = json.dumps(value, sort_keys=True)
        found = _known_classes.get(key)
        if found is None:
            methods = {
                name: _MethodInfo(name, Signature.from_list(row[0]), _options_from_json(row[1]), row[2])
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
            )
            if len(_known_classes) > 1000:
                _known_classes.clear()
            _known_classes[key] = found
        return found


_known_classes: Dict[str, _ClassInfo] = {}


def _json_options(options: Dict[str, Any]) -> Dict[str, Any]:
    out = dict(options)
    retry = out.get("retry_exceptions")
    if retry is not None and not isinstance(retry, bool):
        import base64

        from ray import cloudpickle

        out["retry_exceptions"] = base64.b64encode(cloudpickle.dumps(tuple(retry))).decode()
    return out


def _options_from_json(options: Dict[str, Any]) -> Dict[str, Any]:
    retry = options.get("retry_exceptions")
    if isinstance(retry, str):
        import base64
        import pickle

        options = dict(options, retry_exceptions=list(pickle.loads(base64.b64decode(retry))))
    return options


class ActorClass(Of[T]):
    """A class whose ``.remote()`` makes an actor. Made by ``@ray.remote``."""

    def __new__(cls, *args: Any) -> Any:
        # class B(A), where A is an ActorClass, arrives here as ActorClass("B", (A,), {...}).
        if len(args) == 3 and isinstance(args[0], str) and isinstance(args[1], tuple):
            base = next((item for item in args[1] if isinstance(item, ActorClass)), None)
            raise ActorClassInheritanceException(
                f"Attempted to define subclass '{args[0]}' of actor class "
                f"'{base._class.__name__ if base is not None else ''}'. Inheriting from actor classes is not currently "
                "supported. You can instead inherit from a non-actor base class and make the derived "
                "class an actor class "
                "(with @ray.remote)."
            )
        return super().__new__(cls)

    def __init__(self, cls: type, options: Dict[str, Any]) -> None:
        self._class = cls
        self._default_options = options
        self._class_name = cls.__qualname__
        self._short_name = cls.__name__
        self.__ray_metadata__ = _Metadata(cls)
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__
        self._methods: Optional[Dict[str, _MethodInfo]] = None
        self._init_signature: Optional[Signature] = None
        self._code: Any = None

    def __getstate__(self) -> Dict[str, Any]:
        fields = dict(self.__dict__)
        for name in ("_methods", "_init_signature", "_code"):
            fields[name] = None
        return fields

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{self._class_name}()', "
            f"use '{self._class_name}.remote()'."
        )

    def __repr__(self) -> str:
        return f"ActorClass({self._short_name})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_class":
            raise AttributeError(name)
        # Class attributes and static methods can be used without an actor.
        try:
            found = getattr(self._class, name)
        except AttributeError:
            raise AttributeError(f"actor class {self._short_name!r} has no attribute {name!r}") from None
        return found

    def remote(self, *args: Any, **kwargs: Any) -> "ActorHandle[T]":
        """Creates an actor; returns its handle at once."""
        return _create(self, args, kwargs, self._default_options)

    def _remote(self, args: Any = None, kwargs: Optional[Dict[str, Any]] = None, **options: Any) -> "ActorHandle":
        """As ``options(**options).remote(*args, **kwargs)``, in one call."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def options(self, **options: Any) -> "ActorOptions[T]":
        """This class with some options replaced, for ``.remote()`` on what is returned."""
        _options.check_actor(options, in_options=True)
        return ActorOptions(self, _options.merged(self._default_options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import ClassNode

        return ClassNode(self._class, args, kwargs, self._default_options)

    def _method_infos(self) -> Dict[str, _MethodInfo]:
        if self._methods is None:
            methods: Dict[str, _MethodInfo] = {}
            for name, function in inspect.getmembers(self._class, _is_function):
                static = isinstance(inspect.getattr_static(self._class, name, None), (staticmethod, classmethod))
                options = dict(getattr(function, _METHOD_ATTRIBUTE, {}))
                plain = inspect.unwrap(function)
                generator = inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
                methods[name] = _MethodInfo(name, Signature.of(function, not static), options, generator)
            for name in HIDDEN_METHODS:
                methods[name] = _MethodInfo(name, Signature(None), {}, False)
            self._methods = methods
        return self._methods

    def __dir__(self) -> List[str]:
        names = [name for name, _ in inspect.getmembers(self._class, _is_function) if not name.startswith("_")]
        return sorted({*super().__dir__(), *names})

    def _is_async(self) -> bool:
        return any(
            inspect.iscoroutinefunction(inspect.unwrap(function))
            or inspect.isasyncgenfunction(inspect.unwrap(function))
            for name, function in inspect.getmembers(self._class, _is_function)
            if not (name.startswith("__") and name.endswith("__")) or name == "__call__"
        )

    def _pickled(self, client: Any) -> Any:
        if self._code is None or self._code[3] is not client:
            try:
                code, held = serialization.code_blob(self._class)
            except TypeError as error:
                what = f"Could not serialize the actor class {self.__module__}.{self._class.__qualname__}.__init__"
                raise inspection.explained(what, self._class, error) from error
            _check_size(len(code), self._class.__name__, "actor")
            self._code = (hashlib.sha224(code).digest(), code, held, client)
        return self._code[:3]


class ActorOptions(Of[T]):
    """An actor class with options for one creation."""

    def __init__(self, actor_class: ActorClass[T], options: Dict[str, Any]) -> None:
        self._actor_class = actor_class
        self._options = options

    def remote(self, *args: Any, **kwargs: Any) -> "ActorHandle[T]":
        """As :meth:`ActorClass.remote`."""
        return _create(self._actor_class, args, kwargs, self._options)

    def options(self, **options: Any) -> "ActorOptions[T]":
        """With some options replaced."""
        _options.check_actor(options, in_options=True)
        return ActorOptions(self._actor_class, _options.merged(self._options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import ClassNode

        return ClassNode(self._actor_class._class, args, kwargs, self._options)


class _Metadata:
    """Facts about an actor class under the name that other libraries look for."""

    def __init__(self, cls: type) -> None:
        self.modified_class = cls
        self.class_name = cls.__qualname__


def _is_function(value: Any) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value) or inspect.isbuiltin(value)


def _constructor(cls: Any) -> Any:
    return cls.__init__


def _create(actor_class: ActorClass, args: tuple, kwargs: Dict[str, Any], options: Dict[str, Any]) -> "ActorHandle":
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
    actor_class: ActorClass, client: Any, options: Dict[str, Any], namespace: str
) -> Tuple[Dict[str, Any], _ClassInfo]:
    function_id, _, _ = actor_class._pickled(client)
    is_async = actor_class._is_async()
    groups = options.get("concurrency_groups") or {}
    if isinstance(groups, list):
        groups = {item["name"]: item.get("max_concurrency", 1) for item in groups}
    concurrency = options.get("max_concurrency")
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
    info = _ClassInfo(
        actor_class._class_name,
        actor_class._short_name,
        actor_class.__module__,
        actor_class._method_infos(),
        function_id.hex(),
        is_async,
        -1 if options.get("max_pending_calls") is None else options["max_pending_calls"],
        retries,
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


class ActorHandle(Of[T]):
    """A reference to an actor: its attributes are the actor's methods."""

    def __init__(self, info: _ClassInfo, actor_id: bytes, owner: bytes, ref: Optional[ObjectRef]) -> None:
        self._info = info
        self._id = actor_id
        self._owner = owner
        self._ref = ref
        self._pending: Any = deque() if info.max_pending > 0 else None

    @classmethod
    def _from_info(cls, row: Dict[str, Any]) -> "ActorHandle":
        """A handle for a row of the actor table; it does not keep the actor alive."""
        handle = (row.get("options") or {}).get("handle") or {}
        owner = row.get("owner") or ""
        return cls(_ClassInfo.from_json(handle), bytes.fromhex(row["actor_id"]), bytes.fromhex(owner), None)

    @classmethod
    def _for_current_actor(cls) -> "ActorHandle":
        """A handle to the actor of this process."""
        actor = state.actor
        assert actor is not None
        return cls(_ClassInfo.from_json(actor.handle), actor.actor_id, actor.owner, None)

    def _weaken(self) -> None:
        # A detached actor lives until it is killed: its handles hold nothing.
        client = state._client
        if client is not None and self._ref is not None:
            client.pin_for_good(self._ref)
        self._ref = None

    def __getattr__(self, name: str) -> "ActorMethod":
        info = self.__dict__["_info"].methods.get(name)
        if info is None:
            raise AttributeError(f"'ActorHandle' object has no attribute '{name}'")
        return ActorMethod(self, info)

    @property
    def _actor_id(self) -> Any:
        from ray._core.ids import ActorID

        return ActorID(self._id)

    @property
    def _ray_actor_id(self) -> Any:
        return self._actor_id

    @property
    def __ray_ready__(self) -> "ActorMethod":
        return ActorMethod(self, self._info.methods["__ray_ready__"])

    @property
    def __ray_call__(self) -> "ActorMethod":
        return ActorMethod(self, self._info.methods["__ray_call__"])

    @property
    def __ray_terminate__(self) -> "ActorMethod":
        return ActorMethod(self, self._info.methods["__ray_terminate__"])

    def __dir__(self) -> List[str]:
        inherited = {"__init_subclass__", "__new__", "__subclasshook__"}
        return sorted({"__init__", *self._info.methods} - inherited)

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ActorHandle) and other._id == self._id

    def __repr__(self) -> str:
        return f"Actor({self._info.class_name}, {self._id.hex()})"

    def __reduce__(self) -> tuple:
        return _load_handle, (json.dumps(self._info.to_json()), self._id, self._owner, self._ref)


def _load_handle(info: str, actor_id: bytes, owner: bytes, ref: Optional[ObjectRef]) -> ActorHandle:
    return ActorHandle(_ClassInfo.from_json(json.loads(info)), actor_id, owner, ref)


class ActorMethod:
    """A method of an actor; ``.remote()`` calls it."""

    __slots__ = ("_handle", "_method", "_options", "_plan")

    def __init__(self, handle: ActorHandle, method: _MethodInfo, options: Optional[Dict[str, Any]] = None) -> None:
        self._handle = handle
        self._method = method
        self._options = options
        self._plan: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of running 'object.{self._method.name}()', "
            f"try 'object.{self._method.name}.remote()'."
        )

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method; returns a reference to its result at once."""
        client = state._client
        if client is None or client.dead is not None:
            client = state.client()
        handle = self._handle
        plan = self._plan
        if plan is None:
            if self._options is None:
                plan = handle._info.plans.get(self._method.name)
            if plan is None or plan.client is not client:
                plan = _CallPlan(client, handle._info, self._method, self._options or {})
                if self._options is None:
                    handle._info.plans[self._method.name] = plan
                else:
                    self._plan = plan
        elif plan.client is not client:
            plan = self._plan = _CallPlan(client, handle._info, self._method, self._options or {})
        return plan.submit(client, handle, args, kwargs)

    def options(self, **options: Any) -> "ActorMethod":
        """This method with some options replaced."""
        _options.check_method(options, call=True)
        return ActorMethod(self._handle, self._method, _options.merged(self._options or {}, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import ClassMethodNode

        return ClassMethodNode(self._handle, self._method.name, args, kwargs, self._options or {})

    def _remote(
        self,
        args: Any = (),
        kwargs: Any = None,
        name: str = "",
        num_returns: Any = None,
        concurrency_group: Optional[str] = None,
        **options: Any,
    ) -> Any:
        """As :meth:`remote`, with arguments as values."""
        given = {k: v for k, v in options.items() if k in _options.METHOD and v is not None}
        for key, value in (("name", name), ("num_returns", num_returns), ("concurrency_group", concurrency_group)):
            if value:
                given[key] = value
        return self.options(**given).remote(*(args or ()), **(kwargs or {}))

    def __reduce__(self) -> tuple:
        return ActorMethod, (self._handle, self._method_name_only(), self._options)

    def _method_name_only(self) -> Any:
        return self._method

    def __repr__(self) -> str:
        return f"ActorMethod({self._handle._info.short_name}.{self._method.name})"


class _CallPlan:
    """What calling a method takes, worked out once a client."""

    __slots__ = ("client", "function_name", "template", "fast", "nreturns", "signature", "streaming", "backpressure")

    def __init__(self, client: Any, info: _ClassInfo, method_info: _MethodInfo, options: Dict[str, Any]) -> None:
        self.client = client
        self.signature = method_info.signature
        merged = _options.merged(method_info.options, {k: v for k, v in options.items() if v is not None})
        num_returns = merged.get("num_returns")
        if num_returns is None:
            num_returns = "streaming" if method_info.is_generator else 1
        self.streaming = num_returns == "streaming"
        self.nreturns = 1 if isinstance(num_returns, str) else num_returns
        self.backpressure = 0
        retries = merged.get("max_task_retries")
        template: Dict[str, Any] = {
            "kind": "actor_call",
            "function_id": info.function_id,
            "method": method_info.name,
            "name": merged.get("name") or f"{info.short_name}.{method_info.name}",
            "function": f"{info.module}.{info.class_name}.{method_info.name}",
            "strategy": {"kind": "DEFAULT"},
            "max_retries": info.max_task_retries if retries is None else retries,
        }
        _options.add_retries(template, merged.get("retry_exceptions"))
        if merged.get("concurrency_group"):
            template["concurrency_group"] = merged["concurrency_group"]
        if self.streaming:
            self.backpressure = _options.add_stream(template, merged)
        if num_returns == "dynamic":
            template["dynamic"] = True
        if merged.get("enable_task_events") is False:
            template.setdefault("extra", {})["events"] = False
        self.function_name = template["function"]
        self.template = client.template(frames.dump_json(template))
        self.fast = self.nreturns == 1 and not self.streaming and info.max_pending <= 0

    def submit(self, client: Any, handle: ActorHandle, args: tuple, kwargs: Dict[str, Any]) -> Any:
        """Submits one call."""
        signature = self.signature
        if kwargs or not signature.least <= len(args) <= signature.most:
            signature.check(args, kwargs)
        if self.fast:
            if not args and not kwargs:
                return client.submit_plain_call(self.template, handle._id, b"")
            if serialization.args_are_plain(args, kwargs):
                payload = serialization.plain_args_blob(args, kwargs)
                if len(payload) <= client.inline_limit:
                    return client.submit_plain_call(self.template, handle._id, payload)
        if handle._pending is not None:
            _check_pending(client, handle)
        result = submit_general(client, frames.KIND_ACTOR_CALL, self, args, kwargs, handle._id)
        if handle._pending is not None:
            _note_pending(handle, result)
        return result


def _check_pending(client: Any, handle: ActorHandle) -> None:
    """Raises PendingCallsLimitExceeded if too many calls of this handle are under way."""
    pending = handle._pending
    client.poll()
    while pending and not client.is_pending(pending[0]):
        pending.popleft()
    if len(pending) >= handle._info.max_pending:
        still = [ref for ref in pending if client.is_pending(ref)]
        pending.clear()
        pending.extend(still)
    if len(pending) >= handle._info.max_pending:
        from ray.exceptions import PendingCallsLimitExceeded

        raise PendingCallsLimitExceeded(
            f"The task of {handle!r} has {len(pending)} calls that are not finished, and max_pending_calls is "
            f"{handle._info.max_pending}. Wait for some of them first."
        )


def _note_pending(handle: ActorHandle, result: Any) -> None:
    first = result[0] if isinstance(result, list) else getattr(result, "_generator_ref", result)
    if first is not None:
        handle._pending.append(first)


def get_actor(name: str, namespace: Optional[str] = None) -> ActorHandle:
    """A handle to the actor of that name.

    It does not keep the actor alive.

    Args:
        name: the actor's name.
        namespace: where to look; this job's namespace by default.

    Raises:
        ValueError: there is no such actor, or the name is empty.
    """
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if namespace is not None:
        _options.check_text(namespace, "namespace")
    client = state.client()
    try:
        row, _ = client.call("actor.get", {"name": name, "namespace": namespace or client.namespace})
    except ValueError as error:
        if name in str(error):
            raise
        row = None
    if not row or row.get("state") == "DEAD":
        raise ValueError(
            f"Failed to look up actor with name '{name}'. This could be because 1. you are trying to look up a named "
            "actor that nobody created, 2. the named actor died, or 3. you did not use the namespace of the actor."
        )
    return ActorHandle._from_info(row)
