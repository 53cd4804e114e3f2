"""A worker process: runs the tasks that its node daemon sends.

The main thread reads the data connection and runs plain tasks and the calls of
ordinary actors, one after the other. Threaded and asynchronous actors run
their calls elsewhere (:mod:`ray._core.concurrency`). A small thread serves the
control connection: recall, cancel, exit.
"""

import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from ray._core import frames, serialization, state
from ray._core.client import Client
from ray._core.connection import HELLO_TIMEOUT_S, dial_unix, greet, greet_control
from ray._core.frames import EXEC_BODY
from ray._core.reader import RefGuard, Shared
from ray._core.serialization import ErrorValue
from ray._core.state import TaskInfo
from ray._core.title import die_with_parent, set_title
from ray._version import __version__

_DONE_INLINE = frames.Struct("<IBBHHBBIIIII24sIBBHI").pack
_exec = EXEC_BODY.unpack_from
_value = frames.VALUE.unpack_from
_perf = time.perf_counter

#: A task that took less than this (seconds) may be followed by its like before its result is sent.
_SHORT_S = 0.0002
#: A result is held back no longer than this (seconds).
_HOLD_S = 0.001


class _ExitNow(BaseException):
    """Takes an idle main thread out of its wait."""


class ActorExit(SystemExit):
    """Raised by ``exit_actor()``."""


class ArgumentFailed(Exception):
    """A dependency holds an error: the task ends with it, without running."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Template:
    """What a worker knows of a template."""

    __slots__ = (
        "json",
        "name",
        "function_name",
        "function_id",
        "method",
        "function",
        "streaming",
        "dynamic",
        "backpressure",
        "max_calls",
        "max_retries",
        "retry",
        "group",
        "info",
        "calls",
        "marker",
    )

    def __init__(self, value: Dict[str, Any]) -> None:
        self.json = value
        self.name: str = value.get("name") or ""
        self.function_name: str = value.get("function") or ""
        self.function_id: str = value.get("function_id") or ""
        self.method: str = value.get("method") or ""
        self.function: Any = None
        self.streaming = bool(value.get("streaming"))
        self.dynamic = bool(value.get("dynamic"))
        self.backpressure: int = value.get("backpressure") or 0
        self.max_calls: int = value.get("max_calls") or 0
        self.max_retries: int = value.get("max_retries") or 0
        self.retry: Any = bool(value.get("retry_exceptions"))
        extra = value.get("extra") or {}
        if self.retry and extra.get("retry"):
            self.retry = extra["retry"]  # pickled classes, loaded when they are needed
        self.group: str = value.get("concurrency_group") or ""
        self.info: Optional[TaskInfo] = None
        self.calls = 0
        self.marker = self.name.rsplit(".", 1)[0] if value.get("kind") != "task" else self.name

    def retries(self, error: BaseException) -> bool:
        """Whether the user's exception is one to be tried again for."""
        if not self.retry:
            return False
        if self.retry is True:
            return True
        if isinstance(self.retry, str):
            import base64

            self.retry = pickle.loads(base64.b64decode(self.retry))
        cause = getattr(error, "cause", None)
        return isinstance(error, self.retry) or isinstance(cause, self.retry)


class Exec:
    """One EXEC frame, taken apart."""

    __slots__ = (
        "kind",
        "flags",
        "seq",
        "epoch",
        "template",
        "nreturns",
        "attempt",
        "task_id",
        "parent_id",
        "deps",
        "payload",
        "guard",
        "refs",
    )

    def __init__(self, data: bytes) -> None:
        (
            own,
            self.kind,
            self.flags,
            self.seq,
            self.epoch,
            self.template,
            self.nreturns,
            self.attempt,
            ndeps,
            nrefs,
            size,
            self.task_id,
            self.parent_id,
        ) = _exec(data, 0)
        pos = own
        self.deps: Any = ()
        self.guard: Any = None
        refs = b""
        if ndeps:
            deps = []
            for _ in range(ndeps):
                ref = data[pos : pos + 56]
                where, inner, place, pos = frames.read_value(data, pos + 56)
                refs += inner
                deps.append((ref, where, place))
            self.deps = deps
        if nrefs:
            refs += data[pos : pos + 56 * nrefs]
            pos += 56 * nrefs
        self.refs = refs
        self.payload = data[pos : pos + size]


class Worker:
    """The state of a worker process."""

    def __init__(self, client: Client, control: Any) -> None:
        self.client = client
        self.control = control
        self.control_lock = threading.Lock()
        self.templates: Dict[int, Template] = {}
        self.code: Dict[str, bytes] = {}
        self.functions: Dict[str, Any] = {}
        self.queue: Deque[Any] = deque()
        self.lock = threading.Lock()  # guards what is running, against recall and cancel
        self.recalled = 0
        self.given_up = 0  # tasks of this epoch and older belong to the daemon
        self.seq = 0
        self.begun = 0  # the last task begun, running or ended
        self.running: Optional[TaskInfo] = None
        self.cancelled: Dict[bytes, bool] = {}
        self.interrupting: Optional[bytes] = None
        self.delivered: Optional[bytes] = None
        self.idle = False
        self.lease: Dict[str, Any] = {}
        self.runtime_env = client.runtime_env
        self.broken: Optional[BaseException] = None  # why this process cannot run anything
        self.consumed: Dict[bytes, int] = {}
        self.consumed_changed = threading.Condition()
        self.executor: Any = None  # of a threaded or asynchronous actor
        self.exiting: Optional[Tuple[bool, str]] = None
        self.marker = ""
        self.title = ""
        self.held_since = 0.0
        self.last_template = -1
        self.last_short = False
        arena, slot = client.arena, client.slot
        self._set_slot = arena.set_word if arena is not None and slot is not None else _no_slot
        self._slot = slot or 0
        client.on_exec = self.queue.append
        client.on_lease = self.queue.append
        client.on_code = self._on_code
        client.on_block = self._on_block
        client.on_unblock = self._on_unblock
        client.on_death = self._on_death

    # ------------------------------------------------------------ main loop

    def run(self) -> None:
        """Runs tasks until the daemon or the actor says that it is over."""
        client, queue = self.client, self.queue

        def some() -> bool:
            return bool(queue) or self.exiting is not None

        def keys() -> Tuple[str, ...]:
            return ("exec",)

        while True:
            if not queue:
                self.held_since = 0.0
                self.idle = True
                try:
                    client.wait_until(some, keys, None)
                except _ExitNow:
                    self.finish()
                self.idle = False
            if self.exiting is not None and not queue:
                self.finish()
            while queue:
                item = queue.popleft()
                if type(item) is dict:
                    self._new_lease(item)
                else:
                    self._execute(item)

    def _on_code(self, kind: int, body: bytes) -> None:
        if kind == frames.TEMPLATE:
            number = frames.U32.unpack_from(body, 0)[0]
            self.templates[number] = Template(frames.load_json(body[4:]))
        else:
            self.code[body[:28].hex()] = body[28:]

    def _new_lease(self, lease: Dict[str, Any]) -> None:
        self.lease = lease
        gpus = lease.get("gpu_ids") or []
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(item) for item in gpus)
        cpus = (lease.get("resources") or {}).get("CPU", 0)
        if "OMP_NUM_THREADS" not in os.environ or os.environ.get("RAY_OMP_NUM_THREADS_SET") == "1":
            os.environ["OMP_NUM_THREADS"] = str(max(1, int(cpus)))
            os.environ["RAY_OMP_NUM_THREADS_SET"] = "1"
        for template in self.templates.values():
            template.info = None

    # -------------------------------------------------------------- one task

    def _execute(self, data: bytes) -> None:
        item = Exec(data)
        client = self.client
        if item.refs:
            client.hold(item.refs)
            item.guard = RefGuard(client._gone, item.refs)
        with self.lock:
            epoch = item.epoch
            if epoch and (epoch <= self.recalled or epoch <= self.given_up) and item.kind != frames.KIND_ACTOR_CALL:
                skip = True
            else:
                skip = False
                if self.executor is None:
                    self.seq = self.begun = item.seq
                    self._set_slot(self._slot, item.seq)
        if skip:
            self._drop(item)
            return
        template = self.templates[item.template]
        if self.executor is not None:
            self.executor.submit(item, template)
            return
        if client._out and not (
            self.last_short and self.last_template == item.template and _perf() - self.held_since < _HOLD_S
        ):
            client.flush()
        self.last_template = item.template
        started = _perf()
        info = self._info(item, template)
        state._process_task = info
        self.running = info
        self._show(template)
        status, values, items = self.perform(item, template, info)
        self.running = None
        item.guard = None
        item.deps = ()
        sys.stdout.flush()
        sys.stderr.flush()
        ended = _perf()
        self.last_short = ended - started < _SHORT_S
        if not client._out:
            self.held_since = ended
        self.report(item, template, status, values, items, int((ended - started) * 1e6))
        with self.lock:
            self.seq = 0
            self._set_slot(self._slot, 0)
        if status in (frames.OK_EXIT, frames.ACTOR_EXIT) or (self.exiting is not None and not self.queue):
            self.finish()

    def _drop(self, item: Exec) -> None:
        """Lets go of what came with a task that is not run."""
        client = self.client
        for ref, where, _ in item.deps:
            if where == frames.ARENA:
                client._unpinned.append(ref[:28])
        item.guard = None

    def _info(self, item: Exec, template: Template) -> TaskInfo:
        """The task's facts; one object serves all tasks of a template under a lease."""
        info = template.info
        if info is None or item.kind == frames.KIND_ACTOR_CREATE:
            info = self.new_info(item, template)
            template.info = info
            return info
        info.task_id = item.task_id
        info.parent_id = item.parent_id
        info.attempt = item.attempt
        info.seq = item.seq
        info.epoch = item.epoch
        info.canceled = False
        return info

    def new_info(self, item: Exec, template: Template) -> TaskInfo:
        """A new TaskInfo for the task."""
        kind = ("task", "actor_create", "actor_call")[item.kind]
        info = TaskInfo(item.task_id, kind, template.name, template.function_name)
        info.parent_id = item.parent_id
        info.attempt = item.attempt
        info.seq = item.seq
        info.epoch = item.epoch
        info.template = template.json
        info.runtime_env = template.json.get("runtime_env") or self.runtime_env
        creation = state.actor.creation if state.actor is not None else None
        if item.kind == frames.KIND_ACTOR_CALL and creation is not None:
            info.actor_id = creation.actor_id
            info.resources = creation.resources
            info.gpu_ids = creation.gpu_ids
            info.placement_group = creation.placement_group
            info.capture_children = creation.capture_children
            info.runtime_env = creation.runtime_env
            return info
        lease = self.lease
        info.resources = lease.get("resources") or {}
        info.gpu_ids = lease.get("gpu_ids") or []
        group = lease.get("placement_group") or ""
        info.placement_group = bytes.fromhex(group) if group.strip("0") else None
        info.capture_children = bool(lease.get("capture_children"))
        if item.kind == frames.KIND_ACTOR_CREATE:
            info.actor_id = item.task_id[8:]
        return info

    def _show(self, template: Template) -> None:
        """Tells the log and ps what runs now."""
        if self.marker != template.marker:
            self.marker = template.marker
            self.mark(":task_name:" if template.json.get("kind") == "task" else ":actor_name:", template.marker)
        if self.title != template.name:
            self.title = template.name
            set_title(f"ray::{template.name}")

    @staticmethod
    def mark(prefix: str, name: str) -> None:
        """Prints a marker line to both streams: the name of what prints from here on."""
        line = f"{prefix}{name}\n"
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.write(line)
                stream.flush()
            except (OSError, ValueError):
                pass

    # ---------------------------------------------------------- running code

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
            if template.streaming:
                self._user_stream(function, args, kwargs, item, template)
                return frames.OK, [(1, _NONE_VALUE)], self.consumed.pop(item.task_id, 0)
            result = _call_user(function, args, kwargs)
            del args, kwargs
            values = outcome.returns(self.client, item, template, result)
            status = frames.OK
            if template.max_calls:
                template.calls += 1
                if template.calls >= template.max_calls:
                    status = frames.OK_EXIT
            if template.method == "__ray_terminate__":
                status = frames.ACTOR_EXIT
            return status, values, 0
        except BaseException as error:
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
            actor.instance = _call_user(_construct, (cls, args, kwargs), {})
        del args, kwargs
        self._tell_repr(actor, short)
        self.executor = executor
        set_title(f"ray::{short}")
        self.title = short
        return frames.OK, [(1, _NONE_VALUE)], 0

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

    def _user_stream(self, function: Any, args: tuple, kwargs: Dict[str, Any], item: Exec, template: Template) -> None:
        """Runs a generator and sends what it yields."""
        import inspect

        sink = StreamSink(self, item, template)
        generator = _call_user(function, args, kwargs)
        if inspect.isasyncgen(generator):
            import asyncio

            async def drain() -> None:
                async for value in generator:
                    sink.put(value)

            _call_user(asyncio.run, (drain(),), {})
        else:
            iterator = iter(generator)
            while True:
                value = _call_user(next, (iterator, _END), {})
                if value is _END:
                    break
                sink.put(value)
        self.consumed[item.task_id] = sink.count

    # --------------------------------------------------------------- results

    def report(
        self, item: Exec, template: Template, status: int, values: List[Tuple[int, bytes]], items: int, micros: int
    ) -> None:
        """Sends DONE, soon."""
        if len(values) == 1:
            returns = frames.U32.pack(values[0][0]) + values[0][1]
        else:
            returns = b"".join([frames.U32.pack(index) + value for index, value in values])
        frame = frames.done_frame(status, item.seq, item.epoch, len(values), items, micros, item.task_id, returns)
        client = self.client
        with client._lock:
            client._out.append(frame)
            client._out_bytes += len(frame)
            if client._out_bytes > 65536:
                client._flush_locked()
        if not client._flusher_awake:
            client._wake_flusher()

    def note(self, method: str, params: Any, tail: bytes = b"") -> None:
        """Tells the daemon something, in order with results."""
        with self.client._lock:
            self.client._out.append(frames.call_frame(frames.NOTE, 0, method, params, tail))

    # -------------------------------------------------------------- blocking

    def _on_block(self) -> Any:
        if threading.current_thread() is not self.client._main:
            return None
        info = self.running
        if info is None or info.kind != "task":
            return None
        client = self.client
        # What has arrived behind this task, under whatever epoch, must not wait for it.
        epoch = max([info.epoch] + [_exec(data, 0)[4] for data in list(self.queue) if type(data) is bytes])
        with self.lock:
            self.given_up = max(self.given_up, epoch)
        client.send_now(frames.pair_frame(frames.BLOCKED, info.seq, epoch))
        self._drop_queued()
        client.careful = True
        return (info.seq, epoch)

    def _on_unblock(self, token: Any) -> None:
        client = self.client
        client.careful = False
        if client.dead is None:
            client.send(frames.pair_frame(frames.UNBLOCKED, *token))

    def _drop_queued(self) -> None:
        """Drops tasks that have arrived and belong to the daemon again."""
        kept = []
        queue = self.queue
        while queue:
            data = queue.popleft()
            if type(data) is dict:
                kept.append(data)
                continue
            epoch = _exec(data, 0)[4]
            if epoch and epoch <= self.given_up:
                item = Exec(data)
                if item.refs:
                    self.client.hold(item.refs)
                    item.guard = RefGuard(self.client._gone, item.refs)
                self._drop(item)
            else:
                kept.append(data)
        queue.extendleft(reversed(kept))

    # --------------------------------------------------------------- control

    def serve_control(self) -> None:
        """Reads the control connection until it ends."""
        sock = self.control
        data = b""
        while True:
            try:
                part = sock.recv(65536)
            except OSError:
                return
            if not part:
                return
            data += part
            while len(data) >= 8:
                length, kind, _, _ = frames.HEADER.unpack_from(data, 0)
                if len(data) < 4 + length:
                    break
                body, data = data[8 : 4 + length], data[4 + length :]
                self._control_frame(kind, body)

    def _control_frame(self, kind: int, body: bytes) -> None:
        if kind == frames.RECALL:
            (epoch,) = frames.U32.unpack_from(body, 0)
            with self.lock:
                self.recalled = max(self.recalled, epoch)
                seq = self.begun
            self.send_control(frames.pair_frame(frames.RECALLED, epoch, seq))
        elif kind == frames.CANCEL:
            task_id, _ = frames.CANCEL_BODY.unpack_from(body, 0)
            self._cancel(task_id)
        elif kind == frames.EXIT:
            order = frames.load_json(body)
            self._exit_order(bool(order.get("graceful")), order.get("reason") or "")
        elif kind == frames.GEN_CONSUMED:
            task_id, count = frames.CONSUMED_BODY.unpack_from(body, 0)
            with self.consumed_changed:
                self.consumed[task_id] = max(count, self.consumed.get(task_id, 0))
                self.consumed_changed.notify_all()
        elif kind == frames.STACK:
            self.send_control(frames.call_frame(frames.NOTE, 0, "stack", {}, stack_text().encode()))

    def send_control(self, frame: bytes) -> None:
        """Sends a frame on the control connection."""
        with self.control_lock:
            try:
                self.control.sendall(frame)
            except OSError:
                pass

    def _exit_order(self, graceful: bool, reason: str) -> None:
        if not graceful:
            os._exit(0)
        self.exiting = (graceful, reason)
        with self.client._lock:
            self.client._wake("exec")
        # The main thread may be in recv: a signal takes it out.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)  # type: ignore[arg-type]

    def _cancel(self, task_id: bytes) -> None:
        executor = self.executor
        if executor is not None:
            if not executor.cancel(task_id):
                self.cancelled[task_id] = True
            return
        with self.lock:
            info = self.running
            if info is None or info.task_id != task_id or self.seq != info.seq:
                self.cancelled[task_id] = True
                if len(self.cancelled) > 10000:
                    self.cancelled.clear()
                return
            if info.kind != "task":
                info.canceled = True
                return
            self.interrupting = task_id
        self._interrupt(task_id)

    def _interrupt(self, task_id: bytes) -> None:
        """Raises KeyboardInterrupt in the main thread while it runs the task."""
        main = threading.main_thread().ident
        for _ in range(3000):
            info = self.running
            if self.interrupting != task_id or info is None or info.task_id != task_id:
                return
            signal.pthread_kill(main, signal.SIGINT)  # type: ignore[arg-type]
            time.sleep(0.01)

    def on_sigint(self, _: int, frame: Any) -> None:
        """Runs in the main thread: interrupts the user's code, never this package's."""
        target = self.interrupting
        info = self.running
        if target is None or info is None or info.task_id != target:
            return
        if not _interruptible(frame):
            return  # the control thread tries again
        self.interrupting = None
        self.delivered = target
        raise KeyboardInterrupt()

    def on_exit_signal(self, _: int, frame: Any) -> None:
        """Runs in the main thread: ends an idle wait; a busy thread looks by itself."""
        if self.idle and self.exiting is not None and not self.queue:
            raise _ExitNow()

    def _on_death(self) -> None:
        # The daemon is gone: so is everything that this process could do.
        if not self.client._closing:
            os._exit(1)

    def finish(self) -> None:
        """Ends the process in order: exit handlers run, output is sent."""
        client = self.client
        executor, self.executor = self.executor, None
        if executor is not None:
            executor.stop()
        actor = state.actor
        if actor is not None and actor.instance is not None:
            hook = getattr(actor.instance, "__ray_shutdown__", None)
            if callable(hook):
                try:
                    hook()
                except Exception:
                    import traceback

                    traceback.print_exc()
        try:
            client.flush()
        except Exception:
            pass
        import atexit

        try:
            atexit._run_exitfuncs()
        except BaseException:
            pass
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            client.flush()
        finally:
            os._exit(0)


class StreamSink:
    """Sends the items of a generator, and waits where the consumer is behind."""

    def __init__(self, worker: Worker, item: Exec, template: Template) -> None:
        self._worker = worker
        self._item = item
        self._limit = template.backpressure
        self.count = 0
        self._flushed = 0.0

    def put(self, value: Any) -> None:
        """Sends one item."""
        self.wait_for_room()
        worker, item, client = self._worker, self._item, self._worker.client
        index = self.count + 2
        serialized = serialization.serialize(value)
        encoded, _ = client.encode_value(item.task_id + frames.U32.pack(index), serialized)
        sys.stdout.flush()
        frame = frames.yield_frame(item.seq, item.epoch, index, item.task_id, encoded)
        now = _perf()
        if now - self._flushed > _HOLD_S:
            client.send_now(frame)
            self._flushed = now
        else:
            client.send(frame)
        self.count += 1
        del worker

    def has_room(self) -> bool:
        """Whether another item may be made."""
        if self._limit <= 0:
            return True
        return self.count - self._worker.consumed.get(self._item.task_id, 0) < self._limit

    def wait_for_room(self) -> None:
        """Waits for the consumer."""
        if self.has_room():
            return
        worker = self._worker
        worker.client.flush()
        while not self.has_room():
            with worker.consumed_changed:
                if not self.has_room():
                    _wait_consumed(worker.consumed_changed)


def _wait_consumed(condition: threading.Condition) -> None:
    condition.wait(0.5)


_END = object()
_NONE_VALUE = frames.value_inline(serialization.NONE_BLOB)


def _no_slot(_: int, __: int) -> None:
    return None


def _nothing() -> None:
    return None


def _true() -> bool:
    return True


def _construct(cls: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
    return cls(*args, **kwargs)


def _call_user(function: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
    """Calls the user's code: the frame below which a cancel may interrupt."""
    return function(*args, **kwargs)


_USER_CODE = _call_user.__code__


def _interruptible(frame: Any) -> bool:
    """Whether the interrupted code is the user's, or a wait of this package below it."""
    from ray._core.reader import SAFE_CODES

    top = frame.f_code
    if top is _USER_CODE:
        return False
    safe = top in SAFE_CODES
    while frame is not None:
        code = frame.f_code
        if code is _USER_CODE:
            return True
        if not safe and frame.f_globals.get("__name__", "").startswith("ray._core"):
            return False
        frame = frame.f_back
    return False


def stack_text() -> str:
    """The stacks of all threads."""
    import traceback

    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"Process {os.getpid()}: {state._process_task.name if state._process_task else 'idle'}"]
    for ident, frame in sys._current_frames().items():
        parts.append(f"Thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame)))
    return "\n".join(parts) + "\n"


# ------------------------------------------------------------------ starting


def start_in_child(spec: Dict[str, Any], descriptors: List[int]) -> None:
    """Makes a freshly forked process a worker and runs it."""
    os.setpgid(0, 0)
    die_with_parent()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if len(descriptors) == 2:
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[1], 2)
        for descriptor in descriptors:
            if descriptor > 2:
                os.close(descriptor)
    run_worker(spec)


def run_worker(spec: Dict[str, Any]) -> None:
    """Takes on the environment of the specification, connects and works."""
    import random

    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False, encoding="utf-8", errors="backslashreplace")
    sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8", errors="backslashreplace")
    for name in ("stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    random.seed()
    for name in spec.get("unset") or []:
        os.environ.pop(name, None)
    os.environ.update(spec.get("env") or {})
    for path in reversed(spec.get("sys_path") or []):
        if path not in sys.path:
            sys.path.insert(0, path)
    cwd = spec.get("cwd")
    if cwd:
        try:
            os.chdir(cwd)
        except OSError as error:
            print(f"The working directory {cwd} is not there: {error}", file=sys.stderr)
    set_title(spec.get("title") or "ray::IDLE")
    hello = {
        "proto": 1,
        "version": __version__,
        "role": "worker",
        "conn": "data",
        "python": "%d.%d" % sys.version_info[:2],
        "pid": os.getpid(),
        "client_id": spec["worker_id"],
    }
    try:
        sock = dial_unix(spec["socket"], HELLO_TIMEOUT_S)
        answer, descriptor = greet(sock, hello)
        sock.settimeout(None)
        client = Client(sock, answer, descriptor, state.WORKER)
        control = greet_control(lambda: dial_unix(spec["socket"], HELLO_TIMEOUT_S), hello)
    except OSError as error:
        print(f"The worker could not connect to its node daemon: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    state.set_client(client)
    worker = Worker(client, control)
    state.set_process_task(TaskInfo(b"\xff" * 20 + client.job_id, "task", "", ""))
    _set_the_scene(worker)
    client.start()
    threading.Thread(target=worker.serve_control, name="ray-control", daemon=True).start()
    Worker.mark(":job_id:", client.job_id.hex())
    _run_setup_hook(worker)
    worker.run()


def _set_the_scene(worker: Worker) -> None:
    """Signals, and the module that tells how deep the user's code is."""
    signal.signal(signal.SIGINT, worker.on_sigint)
    signal.signal(signal.SIGUSR2, worker.on_exit_signal)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _run_setup_hook(worker: Worker) -> None:
    """Calls the hook of the runtime environment; if it fails, so does every task that this worker is given."""
    if not os.environ.get("RAY_WORKER_SETUP_HOOK"):
        return
    from ray.runtime_env import hooks

    try:
        hooks.run()
    except Exception as error:
        import traceback

        from ray.exceptions import RuntimeEnvSetupError

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        print(f"The worker_process_setup_hook failed.\n{text}", file=sys.stderr)
        worker.broken = RuntimeEnvSetupError(f"Failed to execute the setup hook method.\n{text}")


def main(text: Optional[str] = None) -> None:
    """Runs a worker whose specification is JSON text, or in RAY_WORKER_SPEC."""
    import json

    run_worker(json.loads(text or os.environ["RAY_WORKER_SPEC"]))
