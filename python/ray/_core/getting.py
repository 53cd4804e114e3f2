"""Reading values."""

import threading
import time
from collections import deque
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ray._core import frames, serialization
from ray._core.entries import PENDING, GetRequest, Inline, Shared
from ray._core.link import Link
from ray._core.refs import ObjectRef
from ray._core.serialization import ErrorValue


class Gets(Link):
    """The part of a client that reads values."""

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
                self._look_at(refs)
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
            self._look_at((ref,))
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

        The first error to be there is raised at once, whatever else is awaited.
        """
        objects = self._objects
        deadline = None if timeout is None else time.monotonic() + timeout
        if len(missing) < len(refs):
            awaited = set(missing)
            for i, entry in enumerate(entries):
                if i not in awaited and _is_error_entry(entry):
                    self._raise(refs, i, entry)
        fetch = _Fetch(self, refs, entries, missing)
        left = fetch.left
        try:
            fetch.ask([i for i in missing if objects.get(refs[i]._bin) is not PENDING])
            if fetch.done():
                return
            only_requests = all(i in fetch.places for i in left)
            if timeout is not None and timeout < 0.1 and fetch.places:
                self._settle_round_trip(fetch.done)
                if not left:
                    return
            if not self.wait_until(fetch.done, fetch.keys, deadline, blocking=True, patient=only_requests):
                from ray.exceptions import GetTimeoutError

                raise GetTimeoutError(
                    f"Get timed out: some object(s) not ready: {len(left)} of {len(refs)} after {timeout} s, "
                    f"the first is {refs[left[0]]!r}."
                )
        except _Failed as failed:
            self._raise(refs, failed.index, entries[failed.index])
        finally:
            self._end_gets(fetch.requests)

    def _raise(self, refs: Sequence[ObjectRef], index: int, entry: Any) -> None:
        value = self._open(refs[index]._bin, entry)
        self._look_at(refs)
        raise self._to_raise(value.error) from None

    def _send_get(self, refs: Sequence[ObjectRef], flags: int, callback: Any = None) -> Tuple[int, GetRequest]:
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            # What was dropped before goes ahead of the request: the room for the value may be what it held.
            if self._dead_refs:
                self._drain_locked()
            if self._unpinned:
                self._drain_unpins_locked()
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


class _Fetch:
    """The values that one ``get`` still waits for, in order."""

    __slots__ = ("_client", "_objects", "_refs", "_entries", "_errors_seen", "_all", "left", "requests", "places")

    def __init__(self, client: Gets, refs: Sequence[ObjectRef], entries: List[Any], missing: List[int]) -> None:
        self._client = client
        self._objects = client._objects
        self._refs = refs
        self._entries = entries
        self._errors_seen = client._errors
        self._all = missing
        self.left = deque(missing)
        self.requests: List[int] = []
        # Where the answer for a place will be: number and object of the request, index in it.
        self.places: Dict[int, Tuple[int, GetRequest, int]] = {}

    def ask(self, wanted: List[int]) -> None:
        """Asks the daemon for the values at these places."""
        if not wanted:
            return
        client = self._client
        if client.arena is not None and client.arena.idle:
            client.arena.bound_idle()
        flags = frames.BLOCKS if threading.current_thread() is client._main else 0
        number, request = client._send_get([self._refs[i] for i in wanted], flags)
        self.requests.append(number)
        for k, i in enumerate(wanted):
            self.places[i] = (number, request, k)

    def _arrived(self, i: int) -> bool:
        where = self.places.get(i)
        if where is not None:
            entry = where[1].values[where[2]]
            if entry is not None:
                self._entries[i] = entry
                return True
            return False
        objects, refs = self._objects, self._refs
        entry = objects.get(refs[i]._bin)
        if entry is PENDING:
            return False
        if entry is None or type(entry) is int:
            # Its task is done but the value did not come with the news.
            self.ask([j for j in self.left if j not in self.places and objects.get(refs[j]._bin) is not PENDING])
            self._client.flush()  # this thread is about to read or to sleep: nobody else would send it soon
            return False
        self._entries[i] = entry
        return True

    def done(self) -> bool:
        """Whether all values are here; raises _Failed as soon as one of them is an error."""
        left = self.left
        while left:
            if self._arrived(left[0]):
                left.popleft()
                continue
            if self._client._errors != self._errors_seen:
                self._errors_seen = self._client._errors
                waiting = set(left)
                for i in self._all:
                    if (i not in waiting or self._arrived(i)) and _is_error_entry(self._entries[i]):
                        raise _Failed(i)
            return False
        return True

    def keys(self) -> Tuple[Any, ...]:
        """What to be woken for: the first value that is left."""
        first = self.left[0]
        where = self.places.get(first)
        return (where[0],) if where is not None else (self._refs[first]._bin,)


class _Failed(Exception):
    def __init__(self, index: int) -> None:
        self.index = index


def _is_error_entry(entry: Any) -> bool:
    kind = type(entry)
    if kind is bytes:
        return serialization.is_error(entry)
    if isinstance(entry, Inline):
        return serialization.is_error(entry.blob)
    if kind is Shared:
        return serialization.is_error(entry.view)
    return False
