"""The connection of this process to its node daemon.

Surface for public modules::

    Client.call(method, params={}, tail=b"", timeout=None) -> (result, tail)
    Client.get(refs, timeout=None), .wait(refs, num_returns, timeout, fetch_local), .put(value)
    Client.job_id, .node_id, .worker_id      bytes (4, 28, 28)
    Client.node_ip, .namespace, .session_dir, .gcs_address
    Client.hello                             dict of HELLO_OK
    Client.mode                              "driver" or "worker"
    Client.runtime_env                       dict: the job's
    Client.next_placement_group_id()         bytes (18)

Errors that the daemon reports are raised as the exceptions they name.

How it works. Exactly one thread at a time has the *reading role*: it reads
the data connection for everybody (:mod:`ray._core.reader`). A thread that
waits takes the role if it is free; else it sleeps until the reader wakes it
or leaves. What is written goes to one buffer, in order; a thread that is about
to wait sends it, and a small thread sends what nobody waits for within a
millisecond or two. Dropped references are noted in a queue (``__del__`` may
run anywhere) and released with the next batch.
"""

import os
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ray._core import frames, serialization, state
from ray._core.arena import Arena
from ray._core.reader import (
    ELSEWHERE,
    LOCAL,
    PENDING,
    CreateRequest,
    GetRequest,
    Inline,
    Reader,
    Reply,
    Shared,
    WaitRequest,
)
from ray._core.refs import ObjectRef
from ray._core.serialization import ErrorValue

_PUT_INLINE = frames.Struct("<IBBHHHI28sBBHI")
_SUBMIT = frames.SUBMIT_HEAD.pack
_TASK_ID = frames.Struct("<II16s")
_ONE = b"\x01\x00\x00\x00"
_FLUSH_FRAMES = 96
_FLUSH_BYTES = 64 * 1024
# Whether the daemon is told which line made each reference; `ray memory` shows it.
_RECORD_SITES = os.environ.get("RAY_record_ref_creation_sites", "0").lower() in ("1", "true")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Client(Reader):
    """One process's connection to the cluster."""

    def __init__(self, sock: Any, hello: Dict[str, Any], descriptors: List[int], mode: str) -> None:
        super().__init__(sock)
        self.hello = hello
        self.mode = mode
        self.job_id: bytes = bytes.fromhex(hello.get("job_id") or "") or b"\xff" * 4
        self.node_id: bytes = bytes.fromhex(hello["node_id"])
        self.worker_id: bytes = bytes.fromhex(hello["client_id"])
        self.node_ip: str = hello.get("node_ip") or "127.0.0.1"
        self.namespace: str = hello.get("namespace") or ""
        self.session_dir: str = hello.get("session_dir") or ""
        self.gcs_address: str = hello.get("gcs_address") or ""
        self.inline_limit: int = hello.get("inline_limit") or 102400
        self.process: int = hello["process"]
        job = hello.get("job") or {}
        self.job_config: Dict[str, Any] = job
        self.runtime_env: Dict[str, Any] = job.get("runtime_env") or {}
        self.job_config_logs = bool(job.get("log_to_driver", True))
        self._task_suffix = b"\xff" * 12 + self.job_id
        self._put_prefix = _TASK_ID.pack(self.process, 0, self._task_suffix)
        self._task_counter = 0
        self._put_counter = 0
        self._actor_counter = 0
        self._group_counter = 0
        self._template_counter = 0
        self._templates: Dict[bytes, int] = {}
        self._exports: Set[bytes] = set()
        self._for_good: List[Any] = []
        arena = hello.get("arena") or {}
        self.slot: Optional[int] = None
        if descriptors and arena.get("size"):
            self.arena = Arena(descriptors, arena["size"], self._unpinned.append)
            self.slot = arena.get("slot")
        self._flusher_parked = threading.Lock()
        self._flusher_parked.acquire()
        self._flusher: Optional[threading.Thread] = None
        self._main = threading.main_thread()
        self._on_close: List[Callable[[], None]] = []

    # ------------------------------------------------------------- lifetime

    def check_alive(self) -> None:
        """Raises what ended the connection, if it has ended."""
        if self.dead is not None:
            raise self.dead if isinstance(self.dead, BaseException) else RuntimeError(str(self.dead))

    def start(self) -> None:
        """Starts the thread that sends what nobody waits for."""
        self._flusher = threading.Thread(target=self._flush_loop, name="ray-flusher", daemon=True)
        self._flusher.start()

    def poll(self) -> None:
        """Handles what has arrived, without waiting."""
        self.wait_until(_never, _no_keys, 0.0)

    def is_pending(self, ref: ObjectRef) -> bool:
        """Whether the task of ref, submitted here, has not ended."""
        return self._objects.get(ref._bin) is PENDING

    def close(self, reason: str = "ray.shutdown() has been called") -> None:
        """Sends what is left and disconnects."""
        from ray.exceptions import RaySystemError

        with self._lock:
            if self.dead is None:
                try:
                    self._flush_locked()
                except Exception:
                    pass
        self._die(RaySystemError(f"This process is not connected to a cluster any more: {reason}."))
        self._closing = True
        for callback in self._on_close:
            callback()
        self._wake_flusher()
        self._reader_wanted.set()
        for thread in (self._flusher, self._reader_thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(1.0)
        self._sock.close()
        if self.arena is not None:
            self.arena.close()

    def abandon(self) -> None:
        """Makes the client useless in a forked child, without a word to the daemon."""
        self.dead = RuntimeError(
            "This process was forked from one that is connected to a Ray cluster, and a connection cannot be shared. "
            "Call ray.init() before forking only in the parent, or use multiprocessing's 'spawn' method; in this "
            "process call ray.shutdown() and ray.init() first."
        )
        self._lock = threading.RLock()
        self._gone = _ignore  # type: ignore[assignment]
        try:
            self._sock.close()
        except Exception:
            pass

    # -------------------------------------------------------------- sending

    def _flush_loop(self) -> None:
        idle = 0
        while self.dead is None:
            time.sleep(0.001)
            if self.arena is not None and self.arena.idle:
                self.arena.end_idle()
            if self._out or self._dead_refs or self._unpinned:
                idle = 0
                try:
                    self.flush()
                except Exception:
                    return
            elif idle < 50:
                idle += 1
            else:
                self._flusher_awake = False
                if not self._out:
                    self._flusher_parked.acquire(timeout=0.1)
                self._flusher_awake = True

    def _wake_flusher(self) -> None:
        self._flusher_awake = True
        try:
            self._flusher_parked.release()
        except RuntimeError:
            pass

    def send(self, frame: bytes) -> None:
        """Appends a frame to what goes out; it is sent soon."""
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frame)
        if not self._flusher_awake:
            self._wake_flusher()

    def send_now(self, frame: bytes) -> None:
        """Appends a frame and sends everything."""
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frame)
            self._flush_locked()

    # ---------------------------------------------------------------- calls

    def call(
        self,
        method: str,
        params: Any = None,
        tail: bytes = b"",
        timeout: Optional[float] = None,
        blocking: bool = False,
    ) -> Tuple[Any, bytes]:
        """Asks the daemon; gives the result and the bytes that came with it.

        blocking: the answer may take long, so that a worker lends its CPU meanwhile.
        """
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            number = self._next_request()
            reply = self._requests[number] = Reply()
            self._out.append(frames.call_frame(frames.CALL, number, method, params or {}, tail))
            self._flush_locked()
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if not self.wait_until(lambda: reply.done, lambda: (number,), deadline, blocking, True):
                from ray.exceptions import GetTimeoutError

                raise GetTimeoutError(f"the node did not answer {method!r} within {timeout} s")
        finally:
            self._requests.pop(number, None)
        if reply.error:
            from ray._core.errors import from_info

            raise from_info(reply.result)
        return reply.result, reply.tail

    # ------------------------------------------------------------------ ids

    def next_placement_group_id(self) -> bytes:
        """A new id for a placement group."""
        with self._lock:
            self._group_counter += 1
            return _TASK_ID.pack(self.process, self._group_counter, b"\0" * 16)[:14] + self.job_id

    def next_actor_id(self) -> bytes:
        """A new id for an actor."""
        with self._lock:
            self._actor_counter += 1
            return _TASK_ID.pack(self.process, self._actor_counter, b"\0" * 16)[:12] + self.job_id

    # ----------------------------------------------------------- references

    def adopt(self, binary: bytes, owner: bytes) -> ObjectRef:
        """A Python object for a reference that was unpickled."""
        if self.dead is not None:
            return ObjectRef(binary, owner)
        with self._lock:
            held = self._count.get(binary)
            if held is None:
                # Nothing was delivered with it: there is nothing to release either.
                self._count[binary] = 1
                self._extra[binary] = self._extra.get(binary, 0) - 1
            else:
                self._count[binary] = held + 1
        return ObjectRef(binary, owner, self)

    def pin_for_good(self, ref: Any) -> None:
        """Keeps ref alive as long as this process is connected."""
        self._for_good.append(ref)

    def hold(self, refs: bytes) -> None:
        """Notes one delivery of each reference; :meth:`let_go` undoes it."""
        with self._lock:
            self._hold_locked(refs)

    def let_go(self, refs: bytes) -> None:
        """Drops what :meth:`hold` held."""
        for i in range(0, len(refs), 56):
            self._gone(refs[i : i + 28])

    # ------------------------------------------------------------------ put

    def put(self, value: Any) -> ObjectRef:
        """Stores value as a new object."""
        blob, serialized = serialization.serialize_small(value)
        if serialized is not None and not serialized.held and serialized.size <= self.inline_limit:
            blob, serialized = serialized.to_bytes(), None
        if serialized is None and (len(blob) <= self.inline_limit or self.arena is None):
            size = len(blob)
            with self._lock:
                if self.dead is not None:
                    self.check_alive()
                self._put_counter = index = self._put_counter + 1
                oid = self._put_prefix + frames.U32.pack(index)
                head = _PUT_INLINE.pack(48 + size, 0x13, 0, 0, 36, 0, 0, oid, 0, 0, 0, size)
                out = self._out
                if size > 8192:
                    out.append(head)
                    out.append(blob)
                else:
                    out.append(head + blob)
                self._objects[oid] = blob
                self._count[oid] = 1
                self._out_bytes += size
                if len(out) > _FLUSH_FRAMES or self._out_bytes > _FLUSH_BYTES:
                    self._flush_locked()
            if not self._flusher_awake:
                self._wake_flusher()
            if _RECORD_SITES:
                self._note_site("put object", [oid])
            return ObjectRef(oid, self.node_id, self)
        if serialized is None:
            serialized = serialization.serialize(value)
        with self._lock:
            self._put_counter += 1
            oid = self._put_prefix + frames.U32.pack(self._put_counter)
        return self._put_serialized(oid, serialized)

    def _put_serialized(self, oid: bytes, serialized: Any) -> ObjectRef:
        encoded, inline = self.encode_value(oid, serialized)
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._out.append(frames.put_frame(oid, encoded))
            self._count[oid] = 1
            if inline is not None and not serialized.held:
                self._objects[oid] = inline
            else:
                self._objects[oid] = LOCAL
            self._flush_locked()
        if _RECORD_SITES:
            self._note_site("put object", [oid])
        return ObjectRef(oid, self.node_id, self)

    def _note_site(self, what: str, ids: List[bytes]) -> None:
        """Tells the daemon which line of the user's code made references."""
        caller = sys._getframe(1)
        while caller.f_back is not None and os.path.abspath(caller.f_code.co_filename).startswith(_PACKAGE):
            caller = caller.f_back
        code = caller.f_code
        site = f"({what}) | {code.co_filename}:{code.co_name}:{caller.f_lineno}"
        params = {"ids": [oid.hex() for oid in ids], "site": site}
        self.send(frames.call_frame(frames.NOTE, 0, "ref.site", params, b""))

    def encode_value(self, oid: bytes, serialized: Any) -> Tuple[bytes, Optional[bytes]]:
        """The value as it travels; in the arena if it is large. Gives the blob too if it is inline."""
        if serialized.size <= self.inline_limit or self.arena is None:
            if serialized.size > frames.MAX_FRAME - 4096:
                raise ValueError(
                    f"a value of {serialized.size} bytes is too large for one message (1 GiB); a driver on one of the "
                    "cluster's machines can store it in shared memory, or split the value"
                )
            blob = serialized.to_bytes()
            return frames.value_inline(blob, serialized.refs), blob
        offset = self._allocate(oid, serialized)
        return frames.value_arena(offset, serialized.size, serialized.refs), None

    def _allocate(self, oid: bytes, serialized: Any) -> int:
        if self.arena.idle:  # type: ignore[union-attr]
            self.arena.end_all_idle()  # type: ignore[union-attr]
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            number = self._next_request()
            request = self._requests[number] = CreateRequest()
            self._out.append(frames.create_frame(number, oid, serialized.size))
            self._flush_locked()
        try:
            self.wait_until(lambda: request.done, lambda: (number,), None)
        finally:
            self._requests.pop(number, None)
        if request.error is not None:
            from ray._core.errors import from_info

            raise from_info(request.error)
        try:
            self.arena.write(request.offset, serialized.size, serialized, request.warm)  # type: ignore[union-attr]
        except BaseException:
            self.send(frames.frame(frames.ABORT, oid))
            raise
        return request.offset

    # --------------------------------------------------------------- submit

    def template(self, key: bytes) -> int:
        """The number of a template (its JSON), sent before its first use."""
        with self._lock:
            number = self._templates.get(key)
            if number is None:
                self._template_counter += 1
                number = self._templates[key] = self._template_counter
                self._out.append(frames.NUMBERED.pack(8 + len(key), frames.TEMPLATE, 0, 0, number) + key)
            return number

    def export(self, function_id: bytes, code: bytes, held: Sequence[Any]) -> None:
        """Sends a function or class once; what it captured stays alive."""
        with self._lock:
            if function_id in self._exports:
                return
            self._exports.add(function_id)
            self._for_good.extend(held)
            self._out.append(frames.frame(frames.EXPORT, function_id + code))
            if len(code) > _FLUSH_BYTES:
                self._flush_locked()

    def submit_plain(self, template: int, payload: bytes) -> ObjectRef:
        """A task with one return and no references in its arguments: the fast way."""
        info = state._task.get() or state._process_task
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._task_counter = counter = self._task_counter + 1
            task_id = _TASK_ID.pack(self.process, counter, self._task_suffix)
            size = len(payload)
            out = self._out
            out.append(
                _SUBMIT(72 + size, 0x12, 0, 0, 68, 0, 0, template, 1, 0, 0, size, task_id, info.task_id)  # type: ignore[union-attr]
                + payload
            )
            oid = task_id + _ONE
            self._objects[oid] = PENDING
            self._count[oid] = 1
            if len(out) > _FLUSH_FRAMES or size > _FLUSH_BYTES:
                self._flush_locked()
        if not self._flusher_awake:
            self._wake_flusher()
        if _RECORD_SITES:
            self._note_site("task call", [oid])
        return ObjectRef(oid, self.node_id, self)

    def submit_plain_call(self, template: int, actor_id: bytes, payload: bytes) -> ObjectRef:
        """As :meth:`submit_plain`, for a method of an actor."""
        info = state._task.get() or state._process_task
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._task_counter = counter = self._task_counter + 1
            task_id = _TASK_ID.pack(self.process, counter, actor_id)
            size = len(payload)
            out = self._out
            out.append(
                _SUBMIT(72 + size, 0x12, 0, 0, 68, 2, 0, template, 1, 0, 0, size, task_id, info.task_id)  # type: ignore[union-attr]
                + payload
            )
            oid = task_id + _ONE
            self._objects[oid] = PENDING
            self._count[oid] = 1
            if len(out) > _FLUSH_FRAMES or size > _FLUSH_BYTES:
                self._flush_locked()
        if not self._flusher_awake:
            self._wake_flusher()
        if _RECORD_SITES:
            self._note_site("actor call", [oid])
        return ObjectRef(oid, self.node_id, self)

    def submit(
        self,
        kind: int,
        template: int,
        nreturns: int,
        args: tuple,
        kwargs: Dict[str, Any],
        actor_id: Optional[bytes] = None,
        extra_refs: Sequence[ObjectRef] = (),
        stream: Any = None,
    ) -> Tuple[bytes, List[ObjectRef]]:
        """Submits a task, an actor's creation or a call; gives its id and references to its returns.

        extra_refs are held for the task besides those in its arguments. The items of a
        streaming task go to stream.
        """
        payload, deps, nested, flags, keep = self._pack_args(args, kwargs)
        if extra_refs:
            nested += b"".join(ref._bin + ref._owner for ref in extra_refs)
        info = state.current_task()
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            if kind == frames.KIND_ACTOR_CREATE:
                task_id = b"\xff" * 8 + actor_id  # type: ignore[operator]
            else:
                self._task_counter += 1
                task_id = _TASK_ID.pack(self.process, self._task_counter, actor_id or self._task_suffix)
            frame = frames.submit_frame(
                kind,
                flags,
                template,
                nreturns,
                deps,
                nested,
                payload,
                task_id,
                info.task_id,  # type: ignore[union-attr]
            )
            self._out.append(frame)
            ids = [task_id + frames.U32.pack(i + 1) for i in range(nreturns)]
            for oid in ids:
                self._objects[oid] = PENDING
                self._count[oid] = 1
            if stream is not None:
                self._streams[task_id] = stream
            if nreturns > 1:
                self._multi[task_id] = nreturns
            self._out_bytes += len(frame)
            if len(self._out) > _FLUSH_FRAMES or self._out_bytes > _FLUSH_BYTES:
                self._flush_locked()
        del keep
        if not self._flusher_awake:
            self._wake_flusher()
        if _RECORD_SITES:
            self._note_site("actor call" if actor_id else "task call", ids)
        return task_id, [ObjectRef(oid, self.node_id, self) for oid in ids]

    def _pack_args(self, args: tuple, kwargs: Dict[str, Any]) -> Tuple[bytes, bytes, bytes, int, Any]:
        """Payload, dependencies, nested references, flags, and what must live until it is sent."""
        if not args and not kwargs:
            return b"", b"", b"", 0, None
        deps: List[ObjectRef] = []
        args, kwargs = _take_out_refs(args, kwargs, deps)
        if serialization.args_are_plain(args, kwargs) and not deps:
            payload = serialization.plain_args_blob(args, kwargs)
            if len(payload) <= self.inline_limit:
                return payload, b"", b"", 0, None
        serialized = serialization.serialize_args(args, kwargs)
        flags, keep = 0, None
        if serialized.size > self.inline_limit:
            with self._lock:
                self._put_counter += 1
                oid = self._put_prefix + frames.U32.pack(self._put_counter)
            keep = self._put_serialized(oid, serialized)
            deps.insert(0, keep)
            flags, payload, nested = frames.ARGS_IN_OBJECT, b"", b""
        else:
            payload, nested = serialized.to_bytes(), serialized.refs
        if len(deps) > 65535 or len(serialized.held) > 65535:
            raise ValueError(f"a task takes at most 65535 references, got {max(len(deps), len(serialized.held))}")
        return payload, b"".join([r._bin + r._owner for r in deps]), nested, flags, (keep, serialized.held)

    # ------------------------------------------------------------------ get

    def get(self, refs: Sequence[ObjectRef], timeout: Optional[float] = None) -> List[Any]:
        """The values of refs; raises the first error among them."""
        objects = self._objects
        entries: List[Any] = [objects.get(ref._bin) for ref in refs]
        missing = [i for i, entry in enumerate(entries) if entry is None or type(entry) is int]
        if missing and self.arena is not None:
            missing = self._reuse(refs, entries, missing)
        if missing:
            self._fetch(refs, entries, missing, timeout)
        out = []
        for ref, entry in zip(refs, entries):
            value = serialization.deserialize(entry) if type(entry) is bytes else self._open(ref._bin, entry)
            if type(value) is ErrorValue:
                raise self._to_raise(value.error)
            out.append(value)
        return out

    def _reuse(self, refs: Sequence[ObjectRef], entries: List[Any], missing: List[int]) -> List[int]:
        """Fills in what is still pinned for this process; gives the places that are left."""
        left = []
        for i in missing:
            found = None if entries[i] is PENDING else self.arena.reuse(refs[i]._bin)
            if found is None:
                left.append(i)
            else:
                entries[i] = Shared(found[0], found[1], None)
        return left

    def get_one(self, ref: ObjectRef) -> Any:
        """The value of one reference, without a time limit."""
        entry = self._objects.get(ref._bin)
        if type(entry) is not bytes:
            return self.get([ref])[0]
        value = serialization.deserialize(entry)
        if type(value) is ErrorValue:
            raise self._to_raise(value.error)
        return value

    def value_of(self, ref: ObjectRef, entry: Any) -> Any:
        """The value of what :meth:`subscribe` delivered."""
        value = self._open(ref._bin, entry)
        if type(value) is ErrorValue:
            raise self._to_raise(value.error)
        return value

    def _open(self, oid: bytes, entry: Any) -> Any:
        kind = type(entry)
        if kind is bytes:
            return serialization.deserialize(entry)
        if isinstance(entry, Inline):
            return serialization.deserialize(entry.blob)
        if kind is Shared:
            return serialization.deserialize(entry.view, entry.view)
        raise RuntimeError(f"object {oid.hex()} has no value here: {entry!r}")

    @staticmethod
    def _to_raise(error: BaseException) -> BaseException:
        convert = getattr(error, "as_instanceof_cause", None)
        return convert() if convert is not None else error

    def _fetch(
        self, refs: Sequence[ObjectRef], entries: List[Any], missing: List[int], timeout: Optional[float]
    ) -> None:
        """Fills in the entries at the places in missing, or raises GetTimeoutError.

        Returns early, with some entries left out, when one of them is an error.
        """
        objects = self._objects
        deadline = None if timeout is None else time.monotonic() + timeout
        requests: List[int] = []
        places: Dict[int, List[Tuple[int, GetRequest, int]]] = {}
        left = deque(missing)
        errors_seen = self._errors

        def ask(wanted: List[int]) -> None:
            if not wanted:
                return
            flags = frames.BLOCKS if threading.current_thread() is self._main else 0
            number, request = self._send_get([refs[i] for i in wanted], flags)
            requests.append(number)
            for k, i in enumerate(wanted):
                places.setdefault(i, []).append((number, request, k))

        def arrived(i: int) -> bool:
            where = places.get(i)
            if where is not None:
                entry = where[-1][1].values[where[-1][2]]
                if entry is not None:
                    entries[i] = entry
                    return True
                return False
            entry = objects.get(refs[i]._bin)
            if entry is PENDING:
                return False
            if entry is None or type(entry) is int:
                # Its task is done but the value did not come with the news.
                ask([j for j in left if j not in places and objects.get(refs[j]._bin) is not PENDING])
                return False
            entries[i] = entry
            return True

        def done() -> bool:
            nonlocal errors_seen
            while left:
                if arrived(left[0]):
                    left.popleft()
                    continue
                if self._errors != errors_seen:
                    errors_seen = self._errors
                    for i in left:
                        if arrived(i) and _is_error_entry(entries[i]):
                            raise _Failed(i)
                return False
            return True

        def keys() -> Tuple[Any, ...]:
            first = left[0]
            where = places.get(first)
            return (where[-1][0],) if where is not None else (refs[first]._bin,)

        try:
            ask([i for i in missing if objects.get(refs[i]._bin) is not PENDING])
            if done():
                return
            only_requests = all(i in places for i in left)
            if timeout is not None and timeout < 0.1 and places:
                self._settle_round_trip(done)
                if not left:
                    return
            if not self.wait_until(done, keys, deadline, blocking=True, patient=only_requests):
                from ray.exceptions import GetTimeoutError

                raise GetTimeoutError(
                    f"Get timed out: some object(s) not ready: {len(left)} of {len(refs)} after {timeout} s, "
                    f"the first is {refs[left[0]]!r}."
                )
        except _Failed as failed:
            value = self._open(refs[failed.index]._bin, entries[failed.index])
            raise self._to_raise(value.error) from None
        finally:
            self._end_gets(requests)

    def _send_get(self, refs: Sequence[ObjectRef], flags: int, callback: Any = None) -> Tuple[int, GetRequest]:
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            number = self._next_request()
            request = self._requests[number] = GetRequest([ref._bin for ref in refs], callback)
            listed = b"".join([ref._bin + ref._owner for ref in refs])
            self._out.append(frames.get_frame(frames.GET, flags, number, listed))
        return number, request

    def _end_gets(self, requests: List[int]) -> None:
        for number in requests:
            with self._lock:
                request = self._requests.pop(number, None)
                if request is not None and request.left and self.dead is None:
                    self._out.append(frames.NUMBERED.pack(8, frames.FORGET, 0, 0, number))
                    self._forgotten[number] = request.ids
                    if len(self._forgotten) > 256:
                        del self._forgotten[next(iter(self._forgotten))]

    # ------------------------------------------------------------ subscribe

    def subscribe(self, ref: ObjectRef, callback: Callable[[Any], None]) -> None:
        """Calls ``callback(entry or exception)`` once, from any thread, when ref's value is here."""
        oid = ref._bin
        ready: Any = None
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            entry = self._objects.get(oid)
            if entry is PENDING:
                self._callbacks.setdefault(oid, []).append((ref, callback))
            elif entry is None or type(entry) is int:
                self._request_for(ref, callback)
            else:
                ready = entry
        if ready is not None:
            callback(ready)
        else:
            self.want_reader()
            if not self._flusher_awake:
                self._wake_flusher()

    def _request_for(self, ref: ObjectRef, callback: Callable[[Any], None]) -> None:
        self._subscribed += 1
        # The reference must live until the value has come.
        self._send_get([ref], 0, lambda entry, _=ref: callback(entry))

    def on_value(self, ref: ObjectRef, callback: Callable[[Any], None]) -> None:
        """Calls ``callback((value,))`` or ``callback(exception)`` in a thread that may block."""
        workers = self._callback_pool()

        def read(entry: Any) -> None:
            if isinstance(entry, BaseException):
                callback(entry)
                return
            try:
                value = self.value_of(ref, entry)
            except BaseException as error:
                callback(error)
            else:
                callback((value,))

        self.subscribe(ref, lambda entry: workers.put((read, entry)))

    def _callback_pool(self) -> Any:
        if self._callback_queue is None:
            import queue

            with self._lock:
                if self._callback_queue is None:
                    self._callback_queue = queue.SimpleQueue()
                    self._on_close.append(lambda: self._callback_queue.put(None))
                    thread = threading.Thread(target=self._callback_loop, name="ray-callbacks", daemon=True)
                    thread.start()
        return self._callback_queue

    def _callback_loop(self) -> None:
        while True:
            item = self._callback_queue.get()
            if item is None:
                return
            try:
                item[0](item[1])
            except Exception:
                import logging

                logging.getLogger("ray").exception("A callback of an object reference raised.")

    # ----------------------------------------------------------------- wait

    def wait(
        self, refs: Sequence[ObjectRef], num_returns: int, timeout: Optional[float], fetch_local: bool
    ) -> Tuple[List[Any], List[Any]]:
        """Those of refs that are ready (at most num_returns) and the others, in their order."""
        objects = self._objects
        ready: Set[int] = set()
        unknown: List[int] = []
        pending: List[int] = []
        for i, ref in enumerate(refs):
            entry = objects.get(ref._bin)
            if entry is PENDING:
                pending.append(i)
            elif entry is None or (entry is ELSEWHERE and fetch_local):
                unknown.append(i)
            else:
                ready.add(i)
                if len(ready) >= num_returns:
                    break
        if len(ready) < num_returns:
            self._wait_more(refs, num_returns, timeout, fetch_local, ready, unknown, pending)
        first: List[Any] = []
        rest: List[Any] = []
        for i, ref in enumerate(refs):
            (first if i in ready and len(first) < num_returns else rest).append(ref)
        return first, rest

    def _wait_more(
        self,
        refs: Sequence[ObjectRef],
        num_returns: int,
        timeout: Optional[float],
        fetch_local: bool,
        ready: Set[int],
        unknown: List[int],
        pending: List[int],
    ) -> None:
        objects = self._objects
        deadline = None if timeout is None else time.monotonic() + timeout
        flags = (frames.FETCH_LOCAL if fetch_local else 0) | (
            frames.BLOCKS if threading.current_thread() is self._main else 0
        )
        requests: List[Tuple[int, WaitRequest, List[int]]] = []
        arrivals = self._arrivals - 1

        def ask(wanted: List[int]) -> None:
            if not wanted:
                return
            with self._lock:
                if self.dead is not None:
                    self.check_alive()
                number = self._next_request()
                request = self._requests[number] = WaitRequest()
                listed = b"".join([refs[i]._bin + refs[i]._owner for i in wanted])
                self._out.append(frames.get_frame(frames.WAIT, flags, number, listed))
            requests.append((number, request, wanted))

        def done() -> bool:
            nonlocal pending, arrivals
            for _, request, wanted in requests:
                if request.fresh:
                    fresh, request.fresh = request.fresh, []
                    ready.update(wanted[k] for k in fresh)
            if pending and self._arrivals != arrivals:
                arrivals = self._arrivals
                still, elsewhere = [], []
                for i in pending:
                    entry = objects.get(refs[i]._bin)
                    if entry is PENDING:
                        still.append(i)
                    elif entry is None or (entry is ELSEWHERE and fetch_local):
                        elsewhere.append(i)
                    else:
                        ready.add(i)
                pending = still
                if elsewhere:
                    ask(elsewhere)
                    self.flush()
            return len(ready) >= num_returns

        def keys() -> Tuple[Any, ...]:
            return tuple([number for number, _, _ in requests] + [refs[i]._bin for i in pending])

        ask(unknown)
        try:
            patient = bool(unknown) and not pending
            if timeout is not None and timeout < 0.1 and unknown and self._settle_round_trip(done):
                return
            self.wait_until(done, keys, deadline, blocking=True, patient=patient)
        finally:
            with self._lock:
                for number, request, wanted in requests:
                    self._requests.pop(number, None)
                    if request.count < len(wanted) and self.dead is None:
                        self._out.append(frames.NUMBERED.pack(8, frames.FORGET, 0, 0, number))

    def _settle_round_trip(self, done: Callable[[], bool]) -> bool:
        """Lets what the daemon answers at once arrive: a call behind the question marks the end.

        A time limit shorter than a round trip would otherwise never find anything.
        """
        with self._lock:
            number = self._next_request()
            reply = self._requests[number] = Reply()
            self._out.append(frames.call_frame(frames.CALL, number, "objects.locations", {"ids": []}))
        finished = False

        def done_or_settled() -> bool:
            nonlocal finished
            finished = done()
            return finished or reply.done

        try:
            self.wait_until(done_or_settled, lambda: (number,), None)
        finally:
            self._requests.pop(number, None)
        return finished or done()


class _Failed(Exception):
    def __init__(self, index: int) -> None:
        self.index = index


def _ignore(_: Any) -> None:
    return None


def _is_error_entry(entry: Any) -> bool:
    kind = type(entry)
    if kind is bytes:
        return serialization.is_error(entry)
    if isinstance(entry, Inline):
        return serialization.is_error(entry.blob)
    if kind is Shared:
        return serialization.is_error(entry.view)
    return False


def _take_out_refs(args: tuple, kwargs: Dict[str, Any], deps: List[ObjectRef]) -> Tuple[tuple, Dict[str, Any]]:
    """Replaces top-level references by slots and lists them in deps, each object once."""
    from ray._core.slots import Slot

    seen: Dict[bytes, int] = {}

    def slot(ref: ObjectRef) -> Slot:
        place = seen.get(ref._bin)
        if place is None:
            place = seen[ref._bin] = len(deps)
            deps.append(ref)
        return Slot(place)

    if any(type(item) is ObjectRef for item in args):
        args = tuple(slot(item) if type(item) is ObjectRef else item for item in args)
    if kwargs and any(type(item) is ObjectRef for item in kwargs.values()):
        kwargs = {key: slot(item) if type(item) is ObjectRef else item for key, item in kwargs.items()}
    return args, kwargs


def _never() -> bool:
    return False


def _no_keys() -> Tuple[Any, ...]:
    return ()
