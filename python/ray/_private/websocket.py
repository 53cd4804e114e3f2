"""Reading messages from a WebSocket, with the standard library.

Only what following a log needs: no compression, no sending but control frames.
"""

import base64
import os
import socket
import struct
import urllib.parse
from typing import Dict, Iterator, Optional, Tuple

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_LARGEST = 64 * 1024 * 1024


class WebSocketClosed(Exception):
    """The connection ended. ``normal`` tells whether the server meant it."""

    def __init__(self, normal: bool, reason: str) -> None:
        super().__init__(reason)
        self.normal = normal


class WebSocketRefused(RuntimeError):
    """The server answered the opening with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text}")
        self.status = status


class WebSocket:
    """A connection that is read.

    Args:
        url: http(s)://host:port/path.
        headers: sent with the opening request.
        tls: how an https certificate is checked.
        timeout: most seconds for the opening; reading waits for ever.

    Raises:
        ConnectionError: nobody answers, or the server does not speak WebSocket.
        WebSocketRefused: an error status; the text is the server's.
    """

    def __init__(self, url: str, headers: Dict[str, str], tls: Optional[object] = None, timeout: float = 30) -> None:
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme == "https"
        address = (parts.hostname or "", parts.port or (443 if secure else 80))
        self._socket: socket.socket = socket.create_connection(address, timeout)
        if secure:
            self._socket = tls.wrap_socket(self._socket, server_hostname=parts.hostname)  # type: ignore[union-attr]
        self._buffer = b""
        try:
            self._open(parts, headers)
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)

    def _open(self, parts: urllib.parse.SplitResult, headers: Dict[str, str]) -> None:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or status[1] != b"101":
            code = int(status[1]) if len(status) > 1 and status[1].isdigit() else 500
            raise WebSocketRefused(code, self._rest(head).decode("utf-8", "replace").strip())

    def _rest(self, head: bytes) -> bytes:
        """The body of an answer that is no upgrade; at most 64 KiB of it."""
        length = 65536
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length" and value.strip().isdigit():
                length = min(int(value), length)
        try:
            while len(self._buffer) < length:
                self._receive()
        except (WebSocketClosed, OSError):
            pass  # what came is all there is
        return self._buffer[:length]

    def _receive(self) -> None:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise WebSocketClosed(False, "the server closed the connection")
        self._buffer += chunk

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _frame(self) -> Tuple[int, bool, bytes]:
        """(kind, last of its message?, payload)."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._take(8))
        if length > _LARGEST:
            raise WebSocketClosed(False, f"a frame of {length} bytes is too long")
        mask = self._take(4) if second & 0x80 else b""
        payload = self._take(length)
        return first & 0x0F, bool(first & 0x80), _masked(payload, mask) if mask else payload

    def messages(self) -> Iterator[Tuple[bool, bytes]]:
        """(binary?, content) of each message, until the server closes the connection on purpose.

        Raises:
            WebSocketClosed: it broke.
        """
        message, binary = b"", False
        while True:
            kind, last, payload = self._frame()
            if kind == _CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1000
                self._send(_CLOSE, payload[:2])
                if code in (1000, 1001):
                    return
                raise WebSocketClosed(False, payload[2:].decode("utf-8", "replace") or f"code {code}")
            if kind == _PING:
                self._send(_PONG, payload)
            elif kind in (0, _TEXT, _BINARY):
                message += payload
                binary = kind == _BINARY if kind else binary
                if last:
                    yield binary, message
                    message = b""

    def _send(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4)
        head = bytes([0x80 | kind, 0x80 | min(len(payload), 125)])
        try:
            self._socket.sendall(head + mask + _masked(payload[:125], mask))
        except OSError:
            pass  # the other side is gone: the next read says so

    def close(self) -> None:
        """Ends the connection; a read of another thread ends, too."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
        self._socket.close()


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
