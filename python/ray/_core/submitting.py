"""Submitting tasks, actors' creations and calls."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ray._core import frames, serialization, state
from ray._core.entries import PENDING
from ray._core.inspection import UnpicklableArguments
from ray._core.link import FLUSH_BYTES, FLUSH_FRAMES, TASK_ID
from ray._core.putting import Puts
from ray._core.refs import ObjectRef

_SUBMIT = frames.SUBMIT_HEAD.pack
_ONE = b"\x01\x00\x00\x00"


class Submits(Puts):
    """The part of a client that submits work."""

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
            if len(code) > FLUSH_BYTES:
                self._flush_locked()

    def submit_plain(self, template: int, payload: bytes) -> ObjectRef:
        """A task with one return and no references in its arguments: the fast way."""
        info = state._task.get() or state._process_task
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._task_counter = counter = self._task_counter + 1
            task_id = TASK_ID.pack(self.process, counter, self._task_suffix)
            size = len(payload)
            out = self._out
            out.append(
                _SUBMIT(72 + size, 0x12, 0, 0, 68, 0, 0, template, 1, 0, 0, size, task_id, info.task_id)  # type: ignore[union-attr]
                + payload
            )
            oid = task_id + _ONE
            self._objects[oid] = PENDING
            self._count[oid] = 1
            if len(out) > FLUSH_FRAMES or size > FLUSH_BYTES:
                self._flush_locked()
        if not self._flusher_awake:
            self._wake_flusher()
        if self.record_sites:
            self._note_site("task call", [oid])
        return ObjectRef(oid, self.node_id, self)

    def submit_plain_call(self, template: int, actor_id: bytes, payload: bytes) -> ObjectRef:
        """As :meth:`submit_plain`, for a method of an actor."""
        info = state._task.get() or state._process_task
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._task_counter = counter = self._task_counter + 1
            task_id = TASK_ID.pack(self.process, counter, actor_id)
            size = len(payload)
            out = self._out
            out.append(
                _SUBMIT(72 + size, 0x12, 0, 0, 68, 2, 0, template, 1, 0, 0, size, task_id, info.task_id)  # type: ignore[union-attr]
                + payload
            )
            oid = task_id + _ONE
            self._objects[oid] = PENDING
            self._count[oid] = 1
            if len(out) > FLUSH_FRAMES or size > FLUSH_BYTES:
                self._flush_locked()
        if not self._flusher_awake:
            self._wake_flusher()
        if self.record_sites:
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
                task_id = TASK_ID.pack(self.process, self._task_counter, actor_id or self._task_suffix)
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
            if len(self._out) > FLUSH_FRAMES or self._out_bytes > FLUSH_BYTES:
                self._flush_locked()
        if self.record_sites:
            made = ids + [keep[0]._bin] if keep and keep[0] else ids
            self._note_site("actor call" if actor_id else "task call", made)
        del keep
        if not self._flusher_awake:
            self._wake_flusher()
        return task_id, [ObjectRef(oid, self.node_id, self) for oid in ids]

    def _pack_args(self, args: tuple, kwargs: Dict[str, Any]) -> Tuple[bytes, bytes, bytes, int, Any]:
        """Payload, dependencies, nested references, flags, and what must live until it is sent."""
        if not args and not kwargs:
            return b"", b"", b"", 0, None
        deps: List[ObjectRef] = []
        args, kwargs = _take_out_refs(args, kwargs, deps)
        if deps:
            self._look_at(deps)
        if serialization.args_are_plain(args, kwargs) and not deps:
            payload = serialization.plain_args_blob(args, kwargs)
            if len(payload) <= self.inline_limit:
                return payload, b"", b"", 0, None
        try:
            serialized = serialization.serialize_args(args, kwargs)
        except TypeError as error:
            raise UnpicklableArguments(str(error)) from error
        if serialized.held:
            self._look_at(serialized.held)
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
