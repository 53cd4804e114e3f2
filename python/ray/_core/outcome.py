"""How a task ends: its results or its error, as DONE carries them."""

import asyncio
import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from ray._core import causes, frames, serialization, state
from ray._core.process import ArgumentFailed
from ray.exceptions import (
    ActorDiedError,
    AsyncioActorExit,
    RayError,
    RayTaskError,
    TaskCancelledError,
    UnserializableException,
)

if TYPE_CHECKING:
    from ray._core.assignment import Exec, Template
    from ray._core.client import Client
    from ray._core.process import Process

Values = List[Tuple[int, bytes]]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Files whose frames say nothing to users.
_MACHINERY = tuple(
    _PACKAGE + name for name in ("_core" + os.sep, "_private" + os.sep, "actor" + os.sep, "remote_function.py")
)

# Characters of a traceback that the state API keeps: its end, where the message is.
_RAISED = 2000

#: Return index that stands for every return.
ALL = 0


class Cancelled(BaseException):
    """The task was cancelled before it began, or heeded the order itself."""


class PackedTaskError:
    """A RayTaskError whose cause is pickled apart, so that its text survives a cause that cannot be read."""

    def __init__(self, fields: Dict[str, Any], cause: bytes, chain: bytes = b"") -> None:
        self.fields = fields
        self.cause = cause
        self.chain = chain

    def __reduce__(self) -> tuple:
        return load_task_error, (self.fields, self.cause, self.chain)


def load_task_error(fields: Dict[str, Any], cause: bytes, chain: bytes = b"") -> BaseException:
    """The inverse of packing."""
    import pickle

    try:
        error = pickle.loads(cause)
    except Exception:
        return UnserializableException(fields["traceback_str"])
    causes.put_back(error, chain)
    return RayTaskError(cause=error, **fields)


def returns(worker: "Process", item: "Exec", template: "Template", result: Any) -> Values:
    """The results of a task as values."""
    client = worker.client
    if template.dynamic:
        result = _dynamic(worker, item, template, result)
    count = item.nreturns
    if count and inspect.isgenerator(result):
        return _yielded(client, item, result)
    if count == 1:
        return [(1, _value(client, item.task_id, 1, result))]
    if count == 0:
        return []
    if not hasattr(result, "__len__"):
        try:
            result = list(result)
        except TypeError:
            raise TypeError(f"Task returned a {type(result).__name__}, but num_returns={count}.") from None
    if len(result) != count:
        raise ValueError(f"Task returned {len(result)} objects, but num_returns={count}.")
    return [(i + 1, _value(client, item.task_id, i + 1, value)) for i, value in enumerate(result)]


class Partial(BaseException):
    """A generator with a number of returns has filled the first of them and then failed."""

    def __init__(self, cause: BaseException, values: Values) -> None:
        self.cause = cause
        self.values = values


def _yielded(client: "Client", item: "Exec", generator: Any) -> Values:
    """The returns that a generator fills, each stored before the next is made.

    Raises:
        Partial: it raised, or yielded too few.
    """
    from ray._core.performing import call_user

    values: Values = []
    end = object()
    try:
        for index in range(1, item.nreturns + 1):
            value = call_user(next, (generator, end), {})
            if value is end:
                raise ValueError(f"Task yielded {index - 1} objects, but num_returns={item.nreturns}.")
            values.append((index, _value(client, item.task_id, index, value)))
        if call_user(next, (generator, end), {}) is not end:
            print(f"More is yielded than num_returns={item.nreturns}: it is lost.", file=sys.stderr)
            generator.close()
    except BaseException as error:
        raise Partial(error, values) from error
    return values


def _value(client: "Client", task_id: bytes, index: int, result: Any) -> bytes:
    blob, serialized = serialization.serialize_small(result)
    if serialized is None:
        if len(blob) <= client.inline_limit:
            return frames.VALUE.pack(frames.INLINE, 0, 0, len(blob)) + blob
        serialized = serialization.serialize(result)
    return client.encode_value(task_id + frames.U32.pack(index), serialized)[0]


class Broken(BaseException):
    """A generator whose items become references has failed after some of them."""

    def __init__(self, cause: BaseException, sink: Any, refs: List[Any]) -> None:
        self.cause = cause
        self.sink = sink
        self.refs = refs


def _dynamic(worker: "Process", item: "Exec", template: "Template", result: Any) -> Any:
    from ray._core.generators import DynamicObjectRefGenerator
    from ray._core.performing import StreamSink, call_user

    sink = StreamSink(worker, item, template)
    refs: List[Any] = []
    items, end = iter(result), object()
    try:
        while True:
            value = call_user(next, (items, end), {})
            if value is end:
                return DynamicObjectRefGenerator(refs)
            sink.put(value)
            refs.append(sink.last())
    except BaseException as error:
        raise Broken(error, sink, refs) from error


def _broken(worker: "Process", item: "Exec", template: "Template", error: Broken) -> Tuple[int, Values, int]:
    """The items that there are, and one more that is the error, unless the task is to be tried again."""
    from ray._core.generators import DynamicObjectRefGenerator

    if not isinstance(error.cause, Exception) or isinstance(error.cause, Cancelled) or template.retries(error.cause):
        return failure(worker, item, template, error.cause)
    client = worker.client
    _, packed = _task_error(worker, template, error.cause)
    error.sink.send(serialization.serialize_error(packed))
    value: DynamicObjectRefGenerator[Any] = DynamicObjectRefGenerator([*error.refs, error.sink.last()])
    return frames.OK, [(1, _value(client, item.task_id, 1, value))], 0


def failure(worker: "Process", item: "Exec", template: "Template", error: BaseException) -> Tuple[int, Values, int]:
    """Status, returns and items of a task that raised."""
    from ray._core.process import ActorExit

    if isinstance(error, Broken):
        return _broken(worker, item, template, error)
    if isinstance(error, Partial):
        status, values, items = failure(worker, item, template, error.cause)
        if status == frames.RAISED and len(error.values) == item.nreturns:
            print(f"{template.name} raised after all of its {item.nreturns} returns were made:", file=sys.stderr)
            traceback.print_exception(type(error.cause), error.cause, error.cause.__traceback__)
            return frames.OK, error.values, items
        if status == frames.RAISED and values and values[0][0] == ALL:
            rest = range(len(error.values) + 1, item.nreturns + 1)
            values = error.values + [(index, values[0][1]) for index in rest]
        return status, values, items
    items = worker.consumed.pop(item.task_id, 0) if template.streaming else 0
    client = worker.client
    if isinstance(error, Cancelled):
        from ray._core.ids import TaskID

        return frames.CANCELLED, _error(client, item, TaskCancelledError(TaskID(item.task_id))), items
    if isinstance(error, asyncio.CancelledError) or (
        isinstance(error, KeyboardInterrupt) and worker.delivered == item.task_id
    ):
        return frames.CANCELLED, _interrupted(worker, item, template, error), items
    if isinstance(error, ArgumentFailed) and error.error is worker.broken:
        text = str(error.error)
        status, values = _creation(worker, item, frames.RAISED, _error(client, item, _undual(error.error)), text)
        return status, values, items
    if item.kind != frames.KIND_TASK and (
        isinstance(error, (ActorExit, AsyncioActorExit)) or (isinstance(error, SystemExit) and error.code in (0, None))
    ):
        actor = state.actor
        exited = isinstance(error, (ActorExit, AsyncioActorExit))
        how = "with exit_actor()" if exited else "by sys.exit(), with exit code 0"
        died = ActorDiedError(
            actor.actor_id.hex() if actor else None,
            "The actor is dead because its worker process has died. Worker exit type: INTENDED_USER_EXIT: "
            f"it exited on purpose, {how}.",
        )
        return frames.ACTOR_EXIT, _error(client, item, died), items
    if isinstance(error, SystemExit):
        _crash(worker, error)
    if isinstance(error, KeyboardInterrupt):  # raised by the task itself: to its callers it was interrupted
        error = _cancelled(item, error)
    wrapped, packed = _task_error(worker, template, error)
    worker.note("task.raised", {"task_id": item.task_id.hex(), "text": wrapped.traceback_str[-_RAISED:]})
    if item.kind == frames.KIND_ACTOR_CREATE:
        died = ActorDiedError(wrapped)
        died._actor_id = item.task_id[8:].hex()
        print(f"Exception raised in creation task: {died}", file=sys.stderr)
        status, values = _creation(worker, item, frames.RAISED, _error(client, item, died), str(died))
        return status, values, items
    again = not isinstance(error, ArgumentFailed) and template.retries(error)
    status = frames.RAISED_RETRY if again else frames.RAISED
    return status, _error(client, item, packed, wrapped), items


def _interrupted(worker: "Process", item: "Exec", template: "Template", error: BaseException) -> Values:
    """The error of a task that was cancelled while it ran: it says where that found it."""
    wrapped, packed = _task_error(worker, template, _cancelled(item, error))
    return _error(worker.client, item, packed, wrapped)


def _cancelled(item: "Exec", error: BaseException) -> TaskCancelledError:
    from ray._core.ids import TaskID

    return TaskCancelledError(TaskID(item.task_id)).with_traceback(error.__traceback__)


def _creation(worker: "Process", item: "Exec", status: int, values: Values, text: str) -> Any:
    if item.kind == frames.KIND_ACTOR_CREATE:
        worker.note("actor.init_error", {"text": text})
    return status, values


def _crash(worker: "Process", error: SystemExit) -> None:
    """sys.exit() in a task ends the worker: the task counts as crashed."""
    traceback.print_exception(type(error), error, error.__traceback__)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        worker.note("actor.left", {})
        worker.client.flush()
    finally:
        code = 0 if error.code is None else error.code  # as Python itself takes it
        os._exit(code & 0xFF if isinstance(code, int) else 1)


def _undual(error: BaseException) -> BaseException:
    return getattr(error, "_plain", error)


def _error(client: "Client", item: "Exec", error: Any, fallback: Any = None) -> Values:
    try:
        serialized = serialization.serialize_error(error)
    except Exception as problem:
        text = str(fallback if fallback is not None else error)
        serialized = serialization.serialize_error(
            RayTaskError("task", text, RayError(f"The exception of the task cannot be pickled ({problem}): {text}"))
        )
    if serialized.size > client.inline_limit and client.arena is not None:
        encoded = client.encode_value(item.task_id + frames.U32.pack(1), serialized)[0]
        return [(1, encoded)]
    return [(ALL, frames.value_inline(serialized.to_bytes(), serialized.refs))]


def _task_error(worker: "Process", template: "Template", error: BaseException) -> Tuple[RayTaskError, Any]:
    cause = error.error if isinstance(error, ArgumentFailed) else error
    if isinstance(cause, RayTaskError):
        # The error of a task further down, passed on: its own cause counts, not the wrapper.
        cause = cause.cause if cause.cause is not None else cause
    actor = state.actor
    fields = {
        "function_name": template.name,
        "traceback_str": _text(worker, template, error),
        "proctitle": f"ray::{template.name}",
        "pid": os.getpid(),
        "ip": worker.client.node_ip,
        "actor_repr": _actor_repr(error),
        "actor_id": actor.actor_id.hex() if actor is not None else None,
    }
    wrapped = RayTaskError(cause=cause, **fields)
    try:
        return wrapped, PackedTaskError(fields, serialization.dump_any(cause, None), causes.packed(cause))
    except Exception as problem:
        text = fields["traceback_str"]
        cause = RayError(f"The exception of the task cannot be pickled ({problem}). Its text is:\n{text}")
        wrapped = RayTaskError(cause=cause, **fields)
        return wrapped, PackedTaskError(fields, serialization.dump_any(cause, None))


def _actor_repr(error: BaseException) -> Any:
    actor = state.actor
    if actor is None:
        return None
    instance = actor.instance if actor.instance is not None else _unfinished(error)
    if instance is None:
        return None
    try:
        return repr(instance)
    except Exception:
        return object.__repr__(instance)


def _unfinished(error: BaseException) -> Any:
    """The instance whose constructor raised, None if the error came from elsewhere."""
    tb = error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        if code.co_name == "__init__" and code.co_argcount:
            return tb.tb_frame.f_locals.get(code.co_varnames[0])
        tb = tb.tb_next
    return None


def _text(worker: "Process", template: "Template", error: BaseException) -> str:
    """The traceback as users see it: where it ran, then the frames of their code."""
    more = ""
    actor = state.actor
    if actor is not None:
        more = f", actor_id={actor.actor_id.hex()}, repr={_actor_repr(error)}"
    if isinstance(error, ArgumentFailed):
        return RayTaskError.of_argument(template.name, error.error, worker.client.node_ip, more).traceback_str
    lines = "".join(_user_lines(error))
    head = "Traceback (most recent call last):\n"
    if lines.startswith(head):
        lines = lines[len(head) :]
    return f"ray::{template.name}() (pid={os.getpid()}, ip={worker.client.node_ip}{more})\n{lines}"


def _user_lines(error: BaseException) -> Iterator[str]:
    """The formatted traceback, and those of its causes, without the frames of this package's own machinery."""
    found = traceback.TracebackException(type(error), error, _user_part(error.__traceback__))
    link: Optional[traceback.TracebackException] = found
    seen = 0
    while link is not None and seen < 100:
        link.stack[:] = [frame for frame in link.stack if not frame.filename.startswith(_MACHINERY)]
        link = link.__cause__ or link.__context__
        seen += 1
    return found.format()


def _user_part(tb: Any) -> Any:
    """The traceback without this package's frames at its start."""
    from ray._core import concurrency, performing

    inner = tb
    while inner is not None:
        code = inner.tb_frame.f_code
        inner = inner.tb_next
        if code is performing.USER_CODE or code in concurrency.USER_CODES:
            tb = inner
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_code is performing.CONSTRUCT_CODE:
        tb = tb.tb_next
    return tb
