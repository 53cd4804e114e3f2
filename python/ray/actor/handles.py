"""References to actors, and their methods."""

import json
from collections import deque
from typing import Any, Dict, List, Optional, Tuple, TypeVar

from ray import _options
from ray._core import state
from ray._core.refs import ObjectRef
from ray._core.typed import Of
from ray.actor.calls import plan_of
from ray.actor.descriptions import ClassInfo, MethodInfo

T = TypeVar("T")


class ActorHandle(Of[T]):
    """A reference to an actor: its attributes are the actor's methods."""

    def __init__(self, info: ClassInfo, actor_id: bytes, owner: bytes, ref: Optional[ObjectRef]) -> None:
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
        return cls(ClassInfo.from_json(handle), bytes.fromhex(row["actor_id"]), bytes.fromhex(owner), None)

    @classmethod
    def _for_current_actor(cls) -> "ActorHandle":
        """A handle to the actor of this process."""
        actor = state.actor
        assert actor is not None
        return cls(ClassInfo.from_json(actor.handle), actor.actor_id, actor.owner, None)

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
        # Pickled by hand, not as part of a value: nobody counts the bytes, so they do not keep the actor alive.
        ref = self._ref and (self._ref._bin, self._ref._owner)
        return _load_uncounted, (json.dumps(self._info.to_json()), self._id, self._owner, ref)

    def _ray_reduce_in_cluster(self) -> tuple:
        return _load_handle, (json.dumps(self._info.to_json()), self._id, self._owner, self._ref)


def _load_handle(info: str, actor_id: bytes, owner: bytes, ref: Optional[ObjectRef]) -> ActorHandle:
    return ActorHandle(ClassInfo.from_json(json.loads(info)), actor_id, owner, ref)


def _load_uncounted(info: str, actor_id: bytes, owner: bytes, ref: Optional[Tuple[bytes, bytes]]) -> ActorHandle:
    """A handle that was pickled by hand; it counts where another one keeps the actor alive."""
    client = state._client
    held = None if ref is None or client is None else client.adopt_held(*ref)
    return _load_handle(info, actor_id, owner, held)


class ActorMethod:
    """A method of an actor; ``.remote()`` calls it."""

    __slots__ = ("_handle", "_method", "_options", "_plan")

    def __init__(self, handle: ActorHandle, method: MethodInfo, options: Optional[Dict[str, Any]] = None) -> None:
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
                plan = plan_of(client, handle._info, self._method, self._options or {})
                if self._options is None:
                    handle._info.plans[self._method.name] = plan
                else:
                    self._plan = plan
        elif plan.client is not client:
            plan = self._plan = plan_of(client, handle._info, self._method, self._options or {})
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


def get_actor(name: str, namespace: Optional[str] = None) -> ActorHandle:
    """A handle to the actor of that name.

    It does not keep the actor alive.

    Args:
        name: the actor's name.
        namespace: where to look; this job's namespace by default.

    Raises:
        ValueError: there is no such actor, or the name is empty.
    """
    if not isinstance(name, str) and name is not None:
        raise TypeError(f"The name of an actor must be a string, got {type(name)}.")
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
