"""Functions that run as tasks."""

import functools
import hashlib
import inspect
import os
from typing import Any, Dict, List, Optional

from ray import _options
from ray._core import frames, inspection, serialization, state
from ray._core.signature import Signature

DEFAULT_MAX_RETRIES = 3


def _default_retries() -> int:
    """The max_retries of tasks that set none: RAY_TASK_MAX_RETRIES of this process's environment, or 3."""
    return int(os.environ.get("RAY_TASK_MAX_RETRIES") or DEFAULT_MAX_RETRIES)


#: Attribute of a function or method: a decorator for what submits its calls, ``submit(args, kwargs)``.
INVOCATION_DECORATOR = "__ray_invocation_decorator__"


class RemoteFunction:
    """A function that ``.remote()`` runs as a task in the cluster.

    Made by ``@ray.remote``.
    """

    def __init__(self, function: Any, options: Dict[str, Any]) -> None:
        if inspect.iscoroutinefunction(function):
            raise ValueError(
                "'async def' should not be used for remote tasks. You can wrap the async function with "
                "`asyncio.run(f())`, or use async methods of actors."
            )
        self._function = function
        self._name = getattr(function, "__name__", type(function).__name__)
        module = getattr(function, "__module__", None) or "__main__"
        qualname = getattr(function, "__qualname__", self._name)
        self._function_name = f"{module}.{qualname}"
        self._short_name = f"{module}.{self._name}"
        self._is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self._default_options = options
        self._signature: Optional[Signature] = None
        self._code: Any = None  # (function id, pickle, references in it, client)
        self._plan: Any = None
        functools.update_wrapper(self, function, updated=())
        self._default_options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of running '{self._function_name}()', "
            f"try '{self._function_name}.remote()'."
        )

    def __getstate__(self) -> Dict[str, Any]:
        fields = dict(self.__dict__)
        fields["_plan"] = None
        fields["_code"] = None
        fields["_signature"] = None
        return fields

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submits a task; returns a reference to its result at once.

        A list of references for ``num_returns`` above 1, None for 0, an
        ObjectRefGenerator for generator functions.
        """
        plan = self._plan
        client = state._client
        if plan is None or plan.client is not client or client is None or client.dead is not None or plan.volatile:
            plan = self._plan = _plan_of(self, self._default_options)
            client = plan.client
        return plan.submit(client, args, kwargs)

    def _remote(self, args: Any = None, kwargs: Optional[Dict[str, Any]] = None, **options: Any) -> Any:
        """As ``options(**options).remote(*args, **kwargs)``, in one call."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def options(self, **options: Any) -> "RemoteFunctionOptions":
        """This function with some options replaced, for ``.remote()`` on what is returned."""
        _options.check_task(options, in_options=True)
        _options.check_call(options, self._default_options, self._function)
        return RemoteFunctionOptions(self, _options.merged(self._default_options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import FunctionNode

        return FunctionNode(self._function, args, kwargs, self._default_options)

    def _pickled(self, client: Any) -> Any:
        """Function id, pickle and captured references; made once a connection."""
        if self._code is None or self._code[3] is not client:
            try:
                code, held = serialization.code_blob(self._function)
            except TypeError as error:
                what = f"Could not serialize the function {self._function_name}"
                raise inspection.explained(what, self._function, error) from error
            _check_size(len(code), self._function_name)
            self._code = (hashlib.sha224(code).digest(), code, held, client)
        return self._code[:3]


class RemoteFunctionOptions:
    """A remote function with options for a call."""

    def __init__(self, function: RemoteFunction, options: Dict[str, Any]) -> None:
        self._remote_function = function
        self._options = options
        self._plan: Any = None

    def __getstate__(self) -> Dict[str, Any]:
        return {"_remote_function": self._remote_function, "_options": self._options, "_plan": None}

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`RemoteFunction.remote`."""
        plan = self._plan
        client = state._client
        if plan is None or plan.client is not client or client is None or client.dead is not None or plan.volatile:
            plan = self._plan = _plan_of(self._remote_function, self._options)
            client = plan.client
        return plan.submit(client, args, kwargs)

    def options(self, **options: Any) -> "RemoteFunctionOptions":
        """With some options replaced."""
        _options.check_task(options, in_options=True)
        _options.check_call(options, self._options, self._remote_function._function)
        return RemoteFunctionOptions(self._remote_function, _options.merged(self._options, options))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a task graph."""
        from ray.dag import FunctionNode

        return FunctionNode(self._remote_function._function, args, kwargs, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote_function(*args, **kwargs)


class _Plan:
    """What submitting a function with certain options takes, worked out once a client."""

    __slots__ = (
        "client",
        "function_name",
        "template",
        "fast",
        "nreturns",
        "signature",
        "streaming",
        "dynamic",
        "backpressure",
    )

    #: Whether plans of this process are for one submission, as what it runs enters the templates of its children.
    volatile = False

    def __init__(self, function: RemoteFunction, options: Dict[str, Any]) -> None:
        client = self.client = state.client()
        self.function_name = function._function_name
        if function._signature is None:
            function._signature = Signature.of(function._function)
        self.signature = function._signature
        function_id, code, held = function._pickled(client)
        client.export(function_id, code, held)
        num_returns = options.get("num_returns")
        if num_returns is None:
            num_returns = "streaming" if function._is_generator else 1
        if num_returns == "dynamic":
            import warnings

            from ray.util.annotations import RayDeprecationWarning

            warnings.warn(
                'num_returns="dynamic" is deprecated: use num_returns="streaming".', RayDeprecationWarning, stacklevel=3
            )
        self.streaming = num_returns == "streaming"
        self.dynamic = num_returns == "dynamic"
        self.nreturns = 1 if isinstance(num_returns, str) else num_returns
        self.backpressure = 0
        template: Dict[str, Any] = {
            "kind": "task",
            "function_id": function_id.hex(),
            "name": options.get("name") or function._name,
            "function": function._short_name,
            "resources": _options.resources_of(options, 1.0),
        }
        _options.add_common(template, options)
        retries = options.get("max_retries")
        template["max_retries"] = _default_retries() if retries is None else retries
        _options.add_retries(template, options.get("retry_exceptions"))
        max_calls = options.get("max_calls")
        if max_calls is None:
            max_calls = 1 if options.get("num_gpus") else 0
        if max_calls:
            template["max_calls"] = max_calls
        if self.streaming:
            self.backpressure = _options.add_stream(template, options)
        if self.dynamic:
            template["dynamic"] = True
        if _depends_on_task():
            _Plan.volatile = True
        self.template = client.template(frames.dump_json(template))
        self.fast = self.nreturns == 1 and not self.streaming

    def submit(self, client: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
        """Submits one task."""
        signature = self.signature
        if kwargs or not signature.least <= len(args) <= signature.most:
            signature.check(args, kwargs)
        if self.fast:
            if not args and not kwargs:
                return client.submit_plain(self.template, b"")
            if serialization.args_are_plain(args, kwargs):
                payload = serialization.plain_args_blob(args, kwargs)
                if len(payload) <= client.inline_limit:
                    return client.submit_plain(self.template, payload)
        return submit_general(client, frames.KIND_TASK, self, args, kwargs, None)


class _DecoratedPlan(_Plan):
    """The plan of a function that has a decorator for its invocations."""

    __slots__ = ("decorator",)

    def __init__(self, function: RemoteFunction, options: Dict[str, Any], decorator: Any) -> None:
        super().__init__(function, options)
        self.decorator = decorator

    def submit(self, client: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
        """What the decorated submission gives for these arguments."""

        def invocation(args: Any, kwargs: Any) -> Any:
            return super(_DecoratedPlan, self).submit(client, tuple(args), dict(kwargs))

        return self.decorator(invocation)(args, kwargs)


def _plan_of(function: RemoteFunction, options: Dict[str, Any]) -> _Plan:
    decorator = getattr(function._function, INVOCATION_DECORATOR, None)
    return _Plan(function, options) if decorator is None else _DecoratedPlan(function, options, decorator)


def submit_general(
    client: Any, kind: int, plan: Any, args: tuple, kwargs: Dict[str, Any], actor_id: Optional[bytes]
) -> Any:
    """Submits a task or a call of any shape; gives what ``.remote()`` returns."""
    from ray._core.generators import ObjectRefGenerator, Stream

    try:
        if not plan.streaming:
            _, refs = client.submit(kind, plan.template, plan.nreturns, args, kwargs, actor_id)
            return result_of(refs)
        stream = Stream()
        task_id, refs = client.submit(kind, plan.template, 1, args, kwargs, actor_id, stream=stream)
    except inspection.UnpicklableArguments as error:
        raise inspection.bad_argument(error, plan.function_name, args, kwargs) from error
    return ObjectRefGenerator(client, task_id, stream, refs[0], plan.backpressure > 0)


def result_of(refs: List[Any]) -> Any:
    """What ``.remote()`` returns for these references."""
    if len(refs) == 1:
        return refs[0]
    return refs or None


def children_follow() -> None:
    """From now on a task's group may enter the templates of its children: plans made before hold no more."""
    _Plan.volatile = True


def _depends_on_task() -> bool:
    """Whether the running task's group or environment enters the template."""
    task = state.current_task()
    if task is None or task.kind == state.DRIVER:
        return False
    holder = _options._holder()
    return bool(holder.capture_children or holder.runtime_env)


_WARN_BYTES = 10 << 20
_MOST_BYTES = 95 << 20


def _check_size(size: int, name: str, kind: str = "remote function") -> None:
    if size > _MOST_BYTES:
        raise ValueError(
            f"The {kind} {name} is too large ({size >> 20} MiB > FUNCTION_SIZE_ERROR_THRESHOLD="
            f"{_MOST_BYTES >> 20} MiB). Check that its definition is not implicitly capturing a large array or "
            "other object in scope. Tip: use ray.put() to put large objects in the Ray object store."
        )
    if size > _WARN_BYTES:
        import logging

        logging.getLogger("ray").warning(
            "The remote function or actor %s is very large (%d MiB). Check that its definition does not capture a "
            "large object in scope; ray.put() puts large objects in the object store.",
            name,
            size >> 20,
        )
