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
