"""What one call of an actor's method takes, worked out once for each client and method."""

from typing import Any, Dict

from ray import _options
from ray._core import frames, serialization
from ray.actor.descriptions import ClassInfo, MethodInfo
from ray.remote_function import INVOCATION_DECORATOR, submit_general


class CallPlan:
    """What calling a method takes, worked out once a client."""

    __slots__ = (
        "client",
        "function_name",
        "template",
        "fast",
        "nreturns",
        "signature",
        "streaming",
        "backpressure",
    )

    def __init__(self, client: Any, info: ClassInfo, method_info: MethodInfo, options: Dict[str, Any]) -> None:
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
        listed = merged.get("enable_task_events")
        if listed is False or listed is None and info.unlisted:
            template["unlisted"] = True
        self.function_name = template["function"]
        self.template = client.template(frames.dump_json(template))
        self.fast = self.nreturns == 1 and not self.streaming and info.max_pending <= 0

    def submit(self, client: Any, handle: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
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


class DecoratedPlan(CallPlan):
    """The plan of a method that has a decorator for its invocations."""

    __slots__ = ("decorator",)

    def __init__(self, client: Any, info: ClassInfo, method_info: MethodInfo, options: Dict[str, Any]) -> None:
        super().__init__(client, info, method_info, options)
        self.decorator = method_info.options[INVOCATION_DECORATOR]

    def submit(self, client: Any, handle: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
        """What the decorated submission gives for these arguments."""

        def invocation(args: Any, kwargs: Any) -> Any:
            return super(DecoratedPlan, self).submit(client, handle, tuple(args), dict(kwargs))

        return self.decorator(invocation)(args, kwargs)


def plan_of(client: Any, info: ClassInfo, method: MethodInfo, options: Dict[str, Any]) -> CallPlan:
    """The plan for calls of a method with these options."""
    kind = DecoratedPlan if INVOCATION_DECORATOR in method.options else CallPlan
    return kind(client, info, method, options)


def _check_pending(client: Any, handle: Any) -> None:
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


def _note_pending(handle: Any, result: Any) -> None:
    first = result[0] if isinstance(result, list) else getattr(result, "_generator_ref", result)
    if first is not None:
        handle._pending.append(first)
