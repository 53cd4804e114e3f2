"""Byte streams to a node daemon, and the greeting at their start."""

import json
import os
import socket
import struct
import time
from typing import Any, Callable, Dict, List, Tuple

from ray._core import frames

#: How long the daemon may take to answer a greeting, in seconds.
HELLO_TIMEOUT_S = 15.0

_HELLO_LIMIT = 1 << 24


def dial_unix(path: str, timeout: float) -> socket.socket:
    """A connection to a daemon of this machine."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def greet(sock: Any, hello: Dict[str, Any]) -> Tuple[Dict[str, Any], List[int]]:
    """Sends HELLO and waits for HELLO_OK.

    Returns:
        The daemon's greeting and the descriptors of the arena and of its part on disk, as far as they came.
    """
    sock.sendall(frames.json_frame(frames.HELLO, hello))
    head, descriptors = _receive_exactly(sock, frames.HEADER.size)
    length, kind, _, _ = frames.HEADER.unpack(head)
    if not 4 <= length <= _HELLO_LIMIT:
        _close_all(descriptors)
        raise ConnectionError("the other side does not speak this protocol: is the address right?")
    body, more = _receive_exactly(sock, length - 4)
    descriptors += more
    if kind == frames.FATAL:
        _close_all(descriptors)
        from ray._core.errors import from_info

        raise from_info(json.loads(body))
    if kind != frames.HELLO_OK:
        _close_all(descriptors)
        raise ConnectionError(f"the daemon answered the greeting with a frame of type {kind:#x}")
    return json.loads(body), descriptors


def greet_control(dial: Callable[[], Any], hello: Dict[str, Any]) -> Any:
    """The second connection of a client, ready for use.

    The daemon may be an instant behind with what the first one said.
    """
    deadline = time.monotonic() + 2.0
    while True:
        sock = dial()
        try:
            sock.settimeout(HELLO_TIMEOUT_S)
            greet(sock, dict(hello, conn="control"))
            sock.settimeout(None)
            return sock
        except ConnectionError:
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        except BaseException:
            sock.close()
            raise


def _close_all(descriptors: List[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _receive_exactly(sock: Any, size: int) -> Tuple[bytes, List[int]]:
    data = b""
    descriptors: List[int] = []
    while len(data) < size:
        if isinstance(sock, socket.socket) and sock.family == socket.AF_UNIX:
            part, ancillary, _, _ = sock.recvmsg(size - len(data), socket.CMSG_SPACE(16))
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    count = len(payload) // 4
                    descriptors += struct.unpack(f"{count}i", payload[: 4 * count])
        else:
            part = sock.recv(size - len(data))
        if not part:
            _close_all(descriptors)
            raise ConnectionError("the daemon closed the connection during the greeting")
        data += part
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, descriptors
