"""A node daemon of a few lines, in this process: for tests of the client alone.

It keeps blobs inline, runs nothing, and answers as the test tells it to.
"""

import json
import os
import socket
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from ray._core import frames, serialization, state
from ray._core.client import Client
from ray._core.connection import dial_unix, greet

NODE = bytes(range(28))
JOB = b"\x01\0\0\0"


class FakeDaemon:
    """Serves one data connection.

    Attributes:
        submitted: (task id, payload) of each SUBMIT, in order.
        released: object id to deliveries given back.
        objects: object id to blob, from PUT and from what the test sets.
        on_submit: gives the blob to push for a task, None to push nothing.
        calls: methods that answer CALL.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "node.sock")
        self.submitted: List[Tuple[bytes, bytes]] = []
        self.released: Dict[bytes, int] = {}
        self.objects: Dict[bytes, bytes] = {}
        self.frames: List[int] = []
        self.on_submit: Callable[[bytes, bytes], Optional[bytes]] = lambda task_id, payload: None
        self.calls: Dict[str, Callable[[Any], Any]] = {"objects.locations": lambda params: {}}
        self.changed = threading.Condition()
        self._waiting: List[Tuple[int, int, bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(4)
        self._sock: Any = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connect(self) -> Client:
        """A connected client, made the client of this process."""
        sock = dial_unix(self.path, 5)
        answer, _ = greet(sock, {"proto": 1, "role": "driver", "conn": "data"})
        sock.settimeout(None)
        client = Client(sock, answer, None, state.DRIVER)
        state.set_process_task(state.TaskInfo(b"\xff" * 20 + JOB))
        state.set_client(client)
        client.start()
        return client

    def close(self) -> None:
        """Ends the connection and the thread."""
        client = state._client
        state.set_client(None)
        state.set_process_task(None)
        if client is not None:
            client.close()
        self._listener.close()
        if self._sock is not None:
            self._sock.close()
        self._thread.join(5)

    def hang_up(self) -> None:
        """Closes the connection as a dying daemon does."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Waits until something has been received."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "the client did not send it"

    def push(self, task_id: bytes, blob: bytes, index: int = 1, flags: int = 0, items: int = 0) -> None:
        """Sends PUSH of one return."""
        value = frames.value_inline(blob)
        body = frames.PUSH_BODY.pack(40, flags, 0, 1, items, 0, task_id) + frames.U32.pack(index) + value
        self._sock.sendall(frames.frame(frames.PUSH, body))

    def push_elsewhere(self, task_id: bytes) -> None:
        """Sends PUSH of a return that exists and must be asked for."""
        value = frames.VALUE.pack(frames.ELSEWHERE, 0, 0, 0)
        body = frames.PUSH_BODY.pack(40, 0, 0, 1, 0, 0, task_id) + frames.U32.pack(1) + value
        self._sock.sendall(frames.frame(frames.PUSH, body))

    def set(self, object_id: bytes, blob: bytes) -> None:
        """Makes an object exist; whoever waits for it is told."""
        self.objects[object_id] = blob
        for waiter in list(self._waiting):
            if waiter[2] == object_id:
                self._waiting.remove(waiter)
                self._send_obj(*waiter)

    def _serve(self) -> None:
        try:
            self._sock, _ = self._listener.accept()
        except OSError:
            return
        data = b""
        while True:
            try:
                part = self._sock.recv(65536)
            except OSError:
                return
            if not part:
                return
            data += part
            while len(data) >= 8:
                length, kind, flags, _ = frames.HEADER.unpack_from(data, 0)
                if len(data) < 4 + length:
                    break
                body, data = data[8 : 4 + length], data[4 + length :]
                self._frame(kind, body)
                with self.changed:
                    self.frames.append(kind)
                    self.changed.notify_all()

    def _frame(self, kind: int, body: bytes) -> None:
        if kind == frames.HELLO:
            hello = {
                "client_id": "aa" * 28,
                "job_id": JOB.hex(),
                "process": 1,
                "node_id": NODE.hex(),
                "inline_limit": 102400,
            }
            self._sock.sendall(frames.json_frame(frames.HELLO_OK, hello))
        elif kind == frames.SUBMIT:
            fields = frames.Struct("<HBBIIHHI24s24s").unpack_from(body, 0)
            ndeps, nrefs, size, task_id = fields[5], fields[6], fields[7], fields[8]
            payload = body[68 + 56 * (ndeps + nrefs) :][:size]
            self.submitted.append((task_id, payload))
            blob = self.on_submit(task_id, payload)
            if blob is not None:
                self.push(task_id, blob)
        elif kind == frames.PUT:
            object_id = body[8:36]
            _, _, blob, _ = frames.read_value(body, 36)
            self.objects[object_id] = bytes(blob)
        elif kind == frames.RELEASE:
            for i in range(0, len(body), 32):
                object_id, n = frames.ID_COUNT.unpack_from(body, i)
                self.released[object_id] = self.released.get(object_id, 0) + n
        elif kind in (frames.GET, frames.WAIT):
            _, _, _, number, n = frames.Struct("<HBBII").unpack_from(body, 0)
            for i in range(n):
                object_id = body[12 + 56 * i : 40 + 56 * i]
                if object_id not in self.objects:
                    self._waiting.append((number, i, object_id))
                elif kind == frames.GET:
                    self._send_obj(number, i, object_id)
                else:
                    self._sock.sendall(frames.frame(frames.READY, frames.Struct("<III").pack(number, 1, i)))
        elif kind == frames.CALL:
            number, method, params, _ = frames.read_call(body, 0, len(body))
            answer = self.calls.get(method)
            if answer is None:
                error = {"type": "ValueError", "message": f"no method {method}"}
                self._sock.sendall(frames.reply_frame(number, error, error=True))
            else:
                self._sock.sendall(frames.reply_frame(number, answer(params)))

    def _send_obj(self, number: int, index: int, object_id: bytes) -> None:
        value = frames.value_inline(self.objects[object_id])
        self._sock.sendall(frames.frame(frames.OBJ, frames.OBJ_BODY.pack(12, 0, number, index) + value))


def blob_of(value: Any) -> bytes:
    """The blob of a value."""
    return serialization.serialize(value).to_bytes()


def daemon_error(kind: str, message: str) -> bytes:
    """The blob of an error that a daemon makes."""
    text = json.dumps({"type": kind, "message": message}).encode()
    return serialization.HEAD.pack(serialization.DAEMON_ERROR, 1, 0, len(text)) + text
