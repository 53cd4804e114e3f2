"""Actors that run several calls at a time: threads, or one event loop.

Each concurrency group (the default one is ``""``) has a limit of its own.
"""

import asyncio
import contextvars
import inspect
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, List, Set

from ray._core import aio, frames, state
from ray._core.state import TaskInfo
from ray.exceptions import AsyncioActorExit

if TYPE_CHECKING:
    from ray._core.assignment import Exec, Template
    from ray._core.runner import Worker

#: Groups that every actor has, one call at a time: for those who keep a loop or a device transfer in an actor
#: beside its own calls.
SYSTEM_GROUPS = ("_ray_system", "_ray_system_error")

# How long the other calls of an actor that exits by exit_actor() may go on (seconds): they may never end.
_EXIT_PATIENCE_S = 1.0


def executor_for(worker: Any, options: Dict[str, Any]) -> Any:
    """What runs the calls of an actor with these options; None for the main thread."""
    groups = dict(options.get("groups") or {})
    limit = options.get("max_concurrency") or 1
    if options.get("async"):
        return AsyncExecutor(worker, limit, groups)
    if limit > 1 or groups:
        return ThreadExecutor(worker, limit, groups)
    return None


def system_executor_of(worker: Any) -> "ThreadExecutor":
    """What runs the calls of the system's groups of an actor whose other calls run in the main thread."""
    if worker.system_executor is None:
        worker.system_executor = ThreadExecutor(worker, 1, {})
    return worker.system_executor


def _named(groups: Any) -> List[str]:
    return sorted(name for name in groups if name and name not in SYSTEM_GROUPS)


def _begin(worker: "Worker", item: "Exec", template: "Template") -> TaskInfo:
    info = worker.new_info(item, template)
    state._task.set(info)
    return info


class ThreadExecutor:
    """Calls on threads, one pool a group."""

    def __init__(self, worker: "Worker", limit: int, groups: Dict[str, int]) -> None:
        self._worker = worker
        self._queues: Dict[str, Any] = {}
        self._load: Dict[str, int] = {}  # calls accepted and not ended
        self._threads: Dict[str, List[threading.Thread]] = {}
        self._limits = {**dict.fromkeys(SYSTEM_GROUPS, 1), **groups, "": limit}
        self._lock = threading.Lock()
        self._running: Dict[bytes, TaskInfo] = {}
        self._waiting: Dict[bytes, Any] = {}  # calls not begun; who takes one out answers it
        for name in self._limits:
            self._queues[name] = queue.SimpleQueue()
            self._threads[name] = []
            self._load[name] = 0

    def call(self, function: Any, *args: Any) -> Any:
        """Runs the constructor: in the main thread, as for other actors."""
        from ray._core.performing import call_user

        return call_user(function, args, {})

    def submit(self, item: "Exec", template: "Template") -> None:
        """Queues a call in its group."""
        name = template.group
        if name not in self._queues:
            known = _named(self._limits)
            self._fail(item, template, ValueError(f"the actor has no concurrency group {name!r}; it has {known}"))
            return
        self._waiting[item.task_id] = item, template
        if self._worker.cancelled and self._cancel_waiting(item.task_id):
            return  # the order to cancel it came first, on its own connection
        with self._lock:
            self._queues[name].put((item, template))
            threads = self._threads[name]
            self._load[name] += 1
            # Not by counting idle threads: one that has just taken a call is not idle, and does not know it yet.
            if len(threads) < min(self._load[name], self._limits[name]):
                thread = threading.Thread(target=self._loop, args=(name,), name=f"ray-call-{name}", daemon=True)
                threads.append(thread)
                thread.start()

    def _fail(self, item: "Exec", template: "Template", error: BaseException) -> None:
        from ray._core import outcome

        status, values, items = outcome.failure(self._worker, item, template, error)
        item.guard = None
        self._worker.report(item, template, status, values, items, 0)

    def _loop(self, name: str) -> None:
        calls = self._queues[name]
        while True:
            entry = calls.get()
            if entry is None:
                return
            if self._waiting.pop(entry[0].task_id, None) is not None:
                contextvars.copy_context().run(self._run, *entry)
            with self._lock:
                self._load[name] -= 1

    def _run(self, item: "Exec", template: "Template") -> None:
        worker = self._worker
        info = _begin(worker, item, template)
        self._running[item.task_id] = info
        started = time.perf_counter()
        status, values, items = worker.perform(item, template, info)
        self._running.pop(item.task_id, None)
        item.guard = None
        item.deps = ()
        sys.stdout.flush()
        sys.stderr.flush()
        worker.report(item, template, status, values, items, int((time.perf_counter() - started) * 1e6))
        # With more to do, the results of several calls go together: the client sends them within a millisecond.
        if self._queues[template.group].empty():
            worker.client.flush()
        if status == frames.ACTOR_EXIT:
            worker._exit_order(True, "the actor exits")

    def cancel(self, task_id: bytes) -> bool:
        """Sets the flag of a running call; one that waits is answered at once.

        The order is noted already: who queues a call, or begins it, looks there after that.
        """
        info = self._running.get(task_id)
        if info is not None:
            info.canceled = True
            self._worker.tell_cancelled(task_id)
            return True
        return self._cancel_waiting(task_id)

    def _cancel_waiting(self, task_id: bytes) -> bool:
        """Answers a call that is to be cancelled and has not begun."""
        from ray._core import outcome

        if task_id not in self._worker.cancelled:
            return False
        waiting = self._waiting.pop(task_id, None)
        if waiting is None:
            return False
        self._worker.cancelled.pop(task_id, None)
        item, template = waiting
        self._fail(item, template, outcome.Cancelled())
        return True

    def stop(self) -> None:
        """Lets what runs end, for a moment."""
        for name, threads in self._threads.items():
            for _ in threads:
                self._queues[name].put(None)
        deadline = time.monotonic() + 30
        for threads in self._threads.values():
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join(max(0.0, deadline - time.monotonic()))


class GroupLoop:
    """The event loop of one concurrency group, on a thread of its own: what blocks it blocks no other group."""

    def __init__(self, name: str, limit: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.semaphore: Any = None
        self._limit = limit
        self._started = threading.Event()
        self.thread = threading.Thread(target=self._main, name=f"ray-asyncio-{name}".rstrip("-"), daemon=True)
        self.thread.start()
        self._started.wait()
        self.bridge = aio.bridge_to(self.loop)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.semaphore = asyncio.Semaphore(self._limit)
        self._started.set()
        self.loop.run_forever()

    def stop(self) -> None:
        """Ends the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(2)


class AsyncExecutor:
    """Calls on event loops, one a group; the constructor runs in the default group's."""

    def __init__(self, worker: "Worker", limit: int, groups: Dict[str, int]) -> None:
        self._worker = worker
        self._loops = {name: GroupLoop(name, most) for name, most in {**groups, "": limit}.items()}
        self._lock = threading.Lock()
        self._patience_s = 30.0
        self._tasks: Dict[bytes, Any] = {}
        self._cancelled: Set[bytes] = set()  # of those: what is to be cancelled

    def call(self, function: Any, *args: Any) -> Any:
        """Runs function(*args) in the loop and waits for it."""

        async def run() -> Any:
            state._task.set(state._process_task)
            return _call_constructor(function, args)

        return asyncio.run_coroutine_threadsafe(run(), self._loops[""].loop).result()

    def submit(self, item: "Exec", template: "Template") -> None:
        """Starts a call in the loop of its group; one of no group there is fails in the default one."""
        group = self._loops.get(template.group)
        if group is None:
            group = self._system_loop(template.group) if template.group in SYSTEM_GROUPS else self._loops[""]
        group.bridge.call(self._start, group, item, template)

    def _system_loop(self, name: str) -> GroupLoop:
        with self._lock:
            if name not in self._loops:
                self._loops[name] = GroupLoop(name, 1)
            return self._loops[name]

    def _start(self, group: GroupLoop, item: "Exec", template: "Template") -> None:
        self._tasks[item.task_id] = group.loop.create_task(self._run(group, item, template))

    async def _run(self, group: GroupLoop, item: "Exec", template: "Template") -> None:
        from ray._core import outcome

        worker = self._worker
        started = time.perf_counter()
        info = _begin(worker, item, template)
        info.is_async = True
        items = 0
        begun = False
        try:
            if template.group not in self._loops:
                raise ValueError(f"the actor has no concurrency group {template.group!r}; it has {_named(self._loops)}")
            async with group.semaphore:
                if worker.cancelled.pop(item.task_id, None) is not None:
                    raise outcome.Cancelled()
                begun = True
                result = await self._call(item, template)
                if template.streaming:
                    items = worker.consumed.pop(item.task_id, 0)
                    from ray._core.performing import NONE_VALUE

                    status, values = frames.OK, [(1, NONE_VALUE)]
                else:
                    status, values = frames.OK, outcome.returns(worker, item, template, result)
                if template.method == "__ray_terminate__":
                    status = frames.ACTOR_EXIT
            if item.task_id in self._cancelled and status == frames.OK:
                raise asyncio.CancelledError()  # the coroutine caught it: its result is nobody's
        except BaseException as error:
            if item.task_id in self._cancelled:
                error = _cancelled_by(error, begun)
            status, values, items = outcome.failure(worker, item, template, error)
        finally:
            self._tasks.pop(item.task_id, None)
            self._cancelled.discard(item.task_id)
        item.guard = None
        item.deps = ()
        sys.stdout.flush()
        sys.stderr.flush()
        worker.report(item, template, status, values, items, int((time.perf_counter() - started) * 1e6))
        if not self._tasks:
            worker.client.flush()
        if status == frames.ACTOR_EXIT:
            if template.method != "__ray_terminate__":
                self._patience_s = _EXIT_PATIENCE_S
            worker._exit_order(True, "the actor exits")

    async def _call(self, item: "Exec", template: "Template") -> Any:
        worker = self._worker
        function = worker.callable_of(item, template)
        if any(where == frames.ELSEWHERE for _, where, _ in item.deps):
            await self._bring(item)
        args, kwargs = worker.arguments(item)
        if template.streaming:
            return await self._stream(function, args, kwargs, item, template)
        result = _call_async(function, args, kwargs)
        if inspect.iscoroutine(result):  # not any awaitable: a reference is a value like others
            result = await _await_user(result)
        return result

    async def _bring(self, item: "Exec") -> None:
        """Waits for arguments that are elsewhere, without blocking the loop."""
        client = self._worker.client
        for ref, where, _ in item.deps:
            if where == frames.ELSEWHERE:
                await aio.future_of(client, client.adopt(ref[:28], ref[28:]), values=False)

    async def _stream(
        self, function: Any, args: tuple, kwargs: Dict[str, Any], item: "Exec", template: "Template"
    ) -> None:
        from ray._core.performing import StreamSink

        sink = StreamSink(self._worker, item, template)
        generator = _call_async(function, args, kwargs)
        try:
            if inspect.isasyncgen(generator):
                async for value in _each_user(generator):
                    for part in sink.parts(value):
                        sink.put(part)
                        await self._room(sink)
            else:
                for value in generator:
                    for part in sink.parts(value):
                        sink.put(part)
                        await self._room(sink)
        finally:
            self._worker.consumed[item.task_id] = sink.count

    async def _room(self, sink: Any) -> None:
        if not sink.has_room():
            self._worker.client.flush()
        while not sink.has_room():
            await asyncio.sleep(0.005)

    def cancel(self, task_id: bytes) -> bool:
        """Cancels a call that has begun."""
        task = self._tasks.get(task_id)
        if task is None:
            return False
        task.get_loop().call_soon_threadsafe(self._cancel, task_id, task)
        return True

    def _cancel(self, task_id: bytes, task: Any) -> None:
        """Runs in the loop of the call."""
        if self._tasks.get(task_id) is task:
            self._cancelled.add(task_id)
            self._worker.tell_cancelled(task_id)
            task.cancel()

    def stop(self) -> None:
        """Lets what runs end, for a moment, and stops the loop."""
        if any(threading.current_thread() is group.thread for group in self._loops.values()):
            return
        deadline = time.monotonic() + self._patience_s
        while self._tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        for group in self._loops.values():
            group.stop()


def _cancelled_by(error: BaseException, begun: bool) -> BaseException:
    """What a call ends with that was cancelled, and raised this."""
    from ray._core import outcome

    if not begun and isinstance(error, asyncio.CancelledError):
        return outcome.Cancelled()
    if isinstance(error, Exception) and not isinstance(error, AsyncioActorExit):
        return asyncio.CancelledError().with_traceback(error.__traceback__)
    return error


def _call_constructor(function: Any, args: tuple) -> Any:
    return function(*args)


def _call_async(function: Any, args: tuple, kwargs: Dict[str, Any]) -> Any:
    return function(*args, **kwargs)


async def _await_user(awaitable: Any) -> Any:
    return await awaitable


async def _each_user(generator: Any) -> Any:
    async for value in generator:
        yield value


#: Code behind which a traceback is the user's.
USER_CODES = frozenset({_call_constructor.__code__, _call_async.__code__, _await_user.__code__, _each_user.__code__})
