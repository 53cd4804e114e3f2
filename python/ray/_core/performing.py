"""Running the user's code: tasks, actors' constructors, generators."""

import inspect
import pickle
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from ray._core import frames, serialization, state
from ray._core.assignment import Exec, Template
from ray._core.entries import Shared
from ray._core.process import ArgumentFailed, Process
from ray._core.refs import ObjectRef
from ray._core.serialization import ErrorValue
from ray._core.state import TaskInfo
from ray._core.title import set_title
from ray.exceptions import RaySystemError, TaskCancelledError

_END = object()
NONE_VALUE = frames.value_inline(serialization.NONE_BLOB)
# Items of a generator are held back no longer than this (seconds).
_HOLD_S = 0.001


class Performer(Process):
    """The part of a worker that runs the user's code."""

    def perform(self, item: Exec, template: Template, info: TaskInfo) -> Tuple[int, List[Tuple[int, bytes]], int]:
        """Runs the task: status of DONE, returns (index, value), items yielded."""
        from ray._core import outcome

        try:
            if self.cancelled.pop(item.task_id, None) is not None:
                raise outcome.Cancelled()
            if self.broken is not None:
                raise ArgumentFailed(self.broken)
            if item.kind == frames.KIND_ACTOR_CREATE:
                return self._create_actor(item, template, info)
            function = template.function
            if function is None or item.kind == frames.KIND_ACTOR_CALL:
                function = self.callable_of(item, template)
            args, kwargs = self.arguments(item)
            if self.interrupting is not None and self.interrupting == item.task_id:
                # Cancelled while the arguments were read, where nothing may be interrupted.
                self.interrupting = None
                raise outcome.Cancelled()
            if template.streaming:
                self._user_stream(function, args, kwargs, item, template, info)
                return frames.OK, [(1, NONE_VALUE)], self.consumed.pop(item.task_id, 0)
            result = call_user(function, args, kwargs)
            del args, kwargs
            if info.canceled:  # only calls of actors: what they return then is nobody's
                raise outcome.Cancelled()
            values = outcome.returns(self, item, template, result)
            status = frames.OK
            if template.max_calls:
                template.calls += 1
                if template.calls >= template.max_calls:
                    status = frames.OK_EXIT
            if template.method == "__ray_terminate__":
                status = frames.ACTOR_EXIT
            return status, values, 0
        except BaseException as error:
            if info.canceled and isinstance(error, TaskCancelledError):
                error = outcome.Cancelled()  # it waited for a child that was cancelled with it
            return outcome.failure(self, item, template, error)

    def callable_of(self, item: Exec, template: Template) -> Any:
        """The function or bound method that the task calls."""
        if item.kind == frames.KIND_TASK:
            template.function = self.load(template.function_id)
            return template.function
        actor = state.actor
        if actor is None:
            raise RuntimeError("a call reached a worker in which no actor lives")
        name = template.method
        if name == "__ray_terminate__":
            return _nothing
        if name == "__ray_ready__":
            return _true
        if name == "__ray_call__":
            return lambda function, *args, **kwargs: function(actor.instance, *args, **kwargs)
        # The class comes first: an attribute of the same name that the instance has is no method.
        method = inspect.getattr_static(type(actor.instance), name, None)
        if inspect.isfunction(method):
            return method.__get__(actor.instance)
        return getattr(actor.instance, name)

    def load(self, function_id: str) -> Any:
        """The function or class of that id, unpickled once."""
        found = self.functions.get(function_id)
        if found is None:
            code = self.code.pop(function_id, None)
            if code is None:
                raise RuntimeError(f"the code of function {function_id} was not sent to this worker")
            try:
                found = self.functions[function_id] = pickle.loads(code)
            except Exception:
                self.code[function_id] = code
                raise
        return found

    def arguments(self, item: Exec) -> Tuple[tuple, Dict[str, Any]]:
        """The arguments, with values in place of references.

        Raises:
            ArgumentFailed: one of the references is an error.
        """
        payload = item.payload
        if not item.deps:
            if not payload:
                return (), {}
            return serialization.deserialize(payload)
        values = [self._dependency(*dep) for dep in item.deps]
        for value in values:
            if type(value) is ErrorValue:
                raise ArgumentFailed(value.error)
        if item.flags & frames.ARGS_IN_OBJECT:
            args, kwargs = values.pop(0)
        elif payload:
            args, kwargs = serialization.deserialize(payload)
        else:
            return (), {}
        return serialization.resolve_slots(args, kwargs, values)

    def _dependency(self, ref: bytes, where: int, place: Any) -> Any:
        if where == frames.INLINE:
            return serialization.deserialize(place)
        client = self.client
        if where == frames.ARENA:
            exporter, view = client.arena.view(ref[:28], *place)
            return client._open(ref[:28], Shared(exporter, view, None))
        target = client.adopt(ref[:28], ref[28:])
        try:
            return client.get([target])[0]
        except Exception as error:
            return ErrorValue(error)

    def _create_actor(self, item: Exec, template: Template, info: TaskInfo) -> Tuple[int, List[Tuple[int, bytes]], int]:
        options = template.json.get("actor") or {}
        actor = state.ActorState(info.actor_id)  # type: ignore[arg-type]
        actor.class_name = options.get("class_name") or ""
        actor.name = options.get("name") or ""
        actor.namespace = options.get("namespace") or ""
        actor.handle = options.get("handle") or {}
        actor.creation = info
        actor.reconstructed = item.attempt > 0
        actor.is_async = bool(options.get("async"))
        actor.owner = self.client.node_id
        state.set_actor(actor)
        short = (actor.handle.get("short") or actor.class_name) if actor.handle else actor.class_name
        self.title = f"{short}.__init__"
        set_title(f"ray::{short}.__init__")
        cls = self.load(template.function_id)
        args, kwargs = self.arguments(item)
        from ray._core import concurrency

        executor = concurrency.executor_for(self, options)
        if executor is not None:
            actor.instance = executor.call(_construct, cls, args, kwargs)
        else:
            actor.instance = call_user(_construct, (cls, args, kwargs), {})
        del args, kwargs
        self._tell_repr(actor, short)
        self.executor = executor
        set_title(f"ray::{short}")
        self.title = short
        return frames.OK, [(1, NONE_VALUE)], 0

    def _tell_repr(self, actor: state.ActorState, short: str) -> None:
        """A __repr__ of the user's own is the actor's name in logs."""
        cls = type(actor.instance)
        if cls.__repr__ is object.__repr__:
            return
        try:
            text = repr(actor.instance)
        except Exception:
            return
        self.marker = text
        self.mark(":actor_name:", text)
        self.note("actor.repr", {"repr": text})
        for template in self.templates.values():
            if template.json.get("kind") != "task":
                template.marker = text
        self._actor_marker = text

    def _user_stream(
        self, function: Any, args: tuple, kwargs: Dict[str, Any], item: Exec, template: Template, info: TaskInfo
    ) -> None:
        """Runs a generator and sends what it yields."""
        sink = StreamSink(self, item, template, info)
        generator = call_user(function, args, kwargs)
        if inspect.isasyncgen(generator):
            import asyncio

            async def drain() -> None:
                async for value in generator:
                    for part in sink.parts(value):
                        sink.put(part)
                        sink.wait_for_room()

            call_user(asyncio.run, (drain(),), {})
        else:
            iterator = iter(generator)
            while True:
                value = call_user(next, (iterator, _END), {})
                if value is _END:
                    break
                for part in sink.parts(value):
                    sink.put(part)
                    sink.wait_for_room()
        self.consumed[item.task_id] = sink.count


class StreamSink:
    """Sends the items of a generator.

    After each item, before the generator goes on, it waits until the consumer is not too far behind.
    """

    def __init__(self, worker: Process, item: Exec, template: Template, info: Optional[TaskInfo] = None) -> None:
        self._worker = worker
        self._info = info
        self._item = item
        self._limit = template.backpressure
        self._group = template.per_yield
        self.count = 0
        self._flushed = 0.0

    def parts(self, value: Any) -> Any:
        """The items in what was yielded: itself, or the members of a group.

        Raises:
            TypeError, ValueError: it is no group of ``_num_objects_per_yield`` members.
        """
        if self._group == 1:
            return (value,)
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"the generator yields groups of {self._group} objects, and yielded a {type(value)}")
        if len(value) != self._group:
            raise ValueError(f"the generator yields groups of {self._group} objects, and yielded one of {len(value)}")
        return value

    def put(self, value: Any) -> None:
        """Sends one item."""
        self.send(serialization.serialize(value))

    def last(self) -> ObjectRef:
        """A reference to the item that was sent last, for the task's return: its owner counts it from there on."""
        return self._worker.client.adopt(self._item.task_id + frames.U32.pack(self.count + 1), self._item.owner)

    def send(self, serialized: Any) -> None:
        """Sends one item, or an error in the place of one."""
        item, client = self._item, self._worker.client
        index = self.count + 2
        oid = item.task_id + frames.U32.pack(index)
        encoded = self._encode(oid, serialized)
        sys.stdout.flush()
        frame = frames.yield_frame(item.seq, item.epoch, index, item.task_id, encoded)
        now = time.perf_counter()
        if now - self._flushed > _HOLD_S:
            client.send_now(frame)
            self._flushed = now
        else:
            client.send(frame)
        self.count += 1

    def _encode(self, oid: bytes, serialized: Any) -> bytes:
        try:
            return self._worker.client.encode_value(oid, serialized)[0]
        except RaySystemError as error:
            # An earlier attempt left the item here: its owner has it, and takes no other.
            if self._item.attempt and "object exists already" in str(error):
                return NONE_VALUE
            raise

    def has_room(self) -> bool:
        """Whether another item may be made."""
        if self._limit <= 0:
            return True
        return self.count - self._worker.consumed.get(self._item.task_id, 0) < self._limit

    def wait_for_room(self) -> None:
        """Waits for the consumer; raises Cancelled where the call is cancelled, so that nobody takes any more."""
        self._go_on()
        if self.has_room():
            return
        worker = self._worker
        worker.client.flush()
        while not self.has_room():
            with worker.consumed_changed:
                if not self.has_room():
                    _wait_consumed(worker.consumed_changed)
            self._go_on()

    def _go_on(self) -> None:
        if self._info is not None and self._info.canceled:
            from ray._core.outcome import Cancelled

            raise Cancelled()


def _wait_consumed(condition: threading.Condition) -> None:
    condition.wait(0.5)


def _nothing() -> None:
    return None


def _true() -> bool:
    return True


def _construct(cls: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
    return cls(*args, **kwargs)


def call_user(function: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
    """Calls the user's code: the frame below which a cancel may interrupt."""
    return function(*args, **kwargs)


#: Frames of the user's code lie below this one.
USER_CODE = call_user.__code__
CONSTRUCT_CODE = _construct.__code__
