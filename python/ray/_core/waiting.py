"""Waiting for objects without reading them: ``wait`` and callbacks."""

import threading
import time
from typing import Any, Callable, List, Optional, Sequence, Set, Tuple

from ray._core import frames
from ray._core.entries import ELSEWHERE, PENDING, WaitRequest
from ray._core.getting import Gets
from ray._core.refs import ObjectRef


class Waits(Gets):
    """The part of a client that waits for objects."""

    # ------------------------------------------------------------ subscribe

    def subscribe(self, ref: ObjectRef, callback: Callable[[Any], None]) -> None:
        """Calls ``callback(entry or exception)`` once, from any thread, when ref's value is here."""
        oid = ref._bin
        ready: Any = None
        with self._lock:
            if self.dead is not None:
                self.check_alive()
            self._look_at((ref,))
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
                import traceback

                # As text: a log record with the exception would keep the callback and all that it holds.
                logging.getLogger("ray").error("A callback of an object reference raised.\n%s", traceback.format_exc())
            item = None  # what the callback holds is free while the next one is awaited

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
        if self._unread:
            self._look_at(refs[i] for i in ready)
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
        deadline = None if timeout is None else time.monotonic() + timeout
        more = _Wait(self, refs, num_returns, fetch_local, ready, pending)
        more.ask(unknown)
        try:
            patient = bool(unknown) and not pending
            if timeout is not None and timeout < 0.1 and unknown and self._settle_round_trip(more.done):
                return
            self.wait_until(more.done, more.keys, deadline, blocking=True, patient=patient)
        finally:
            more.end()


class _Wait:
    """What one ``wait`` still waits for."""

    __slots__ = (
        "_client",
        "_refs",
        "_num_returns",
        "_fetch_local",
        "_flags",
        "_ready",
        "_pending",
        "_requests",
        "_seen",
    )

    def __init__(
        self,
        client: Waits,
        refs: Sequence[ObjectRef],
        num_returns: int,
        fetch_local: bool,
        ready: Set[int],
        pending: List[int],
    ) -> None:
        self._client = client
        self._refs = refs
        self._num_returns = num_returns
        self._fetch_local = fetch_local
        self._flags = frames.FETCH_LOCAL if fetch_local else 0
        if threading.current_thread() is client._main:
            self._flags |= frames.BLOCKS
        self._ready = ready
        self._pending = pending
        self._requests: List[Tuple[int, WaitRequest, List[int]]] = []
        self._seen = client._arrivals - 1

    def ask(self, wanted: List[int]) -> None:
        """Asks the daemon to tell when the values at these places are there."""
        if not wanted:
            return
        client, refs = self._client, self._refs
        with client._lock:
            if client.dead is not None:
                client.check_alive()
            number = client._next_request()
            request = client._requests[number] = WaitRequest()
            listed = b"".join([refs[i]._bin + refs[i]._owner for i in wanted])
            client._out.append(frames.get_frame(frames.WAIT, self._flags, number, listed))
        self._requests.append((number, request, wanted))

    def done(self) -> bool:
        """Whether enough values are ready."""
        for _, request, wanted in self._requests:
            if request.fresh:
                fresh, request.fresh = request.fresh, []
                self._ready.update(wanted[k] for k in fresh)
        if self._pending and self._client._arrivals != self._seen:
            self._seen = self._client._arrivals
            self._sort_pending()
        return len(self._ready) >= self._num_returns

    def _sort_pending(self) -> None:
        """Some tasks may have ended: their results are ready, or have to be asked for."""
        objects, refs = self._client._objects, self._refs
        still, elsewhere = [], []
        for i in self._pending:
            entry = objects.get(refs[i]._bin)
            if entry is PENDING:
                still.append(i)
            elif entry is None or (entry is ELSEWHERE and self._fetch_local):
                elsewhere.append(i)
            else:
                self._ready.add(i)
        self._pending = still
        if elsewhere:
            self.ask(elsewhere)
            self._client.flush()

    def keys(self) -> Tuple[Any, ...]:
        """What to be woken for."""
        return tuple([number for number, _, _ in self._requests] + [self._refs[i]._bin for i in self._pending])

    def end(self) -> None:
        """Tells the daemon that nobody waits any more."""
        client = self._client
        with client._lock:
            for number, request, wanted in self._requests:
                client._requests.pop(number, None)
                if request.count < len(wanted) and client.dead is None:
                    client._out.append(frames.NUMBERED.pack(8, frames.FORGET, 0, 0, number))
