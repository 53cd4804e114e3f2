"""The way of a driver to a daemon on another machine: TLS, and the proof of the token.

docs/PROTOCOL.md, section 5. The certificate is not checked against a chain:
both sides prove that they hold the token, bound to the certificate that they
see.
"""

import hashlib
import hmac
import os
import select
import socket
import threading
from typing import Any, Optional

_MAGIC = b"RAY1"
_CLIENT_FRAMES = b"C"
_CHUNK = 1 << 16


def dial(host: str, port: int, timeout: float, token: Optional[str], plain: bool) -> Any:
    """A connection that is ready for HELLO.

    Raises:
        ConnectionError: nobody answers there, or something else than a daemon does.
        AuthenticationError: the other side has another token.
    """
    try:
        sock = socket.create_connection((host, port), timeout)
    except OSError as error:
        raise ConnectionError(f"no connection to {host}:{port}: {error}") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if plain:
            stream: Any = sock
            certificate = b"\0" * 32
        else:
            stream = TLSStream(sock, host)
            certificate = stream.certificate_hash()
        _prove(stream, (token or "").encode(), certificate)
        sock.settimeout(None)
        return stream
    except socket.timeout as error:
        sock.close()
        raise ConnectionError(f"{host}:{port} accepts connections but does not answer as a Ray daemon") from error
    except BaseException:
        sock.close()
        raise


def _prove(stream: Any, token: bytes, certificate: bytes) -> None:
    mine = os.urandom(32)
    stream.sendall(_MAGIC + mine)
    answer = _exactly(stream, 64)
    theirs, proof = answer[:32], answer[32:]
    expected = hmac.new(token, b"listener" + mine + certificate, hashlib.sha256).digest()
    if not hmac.compare_digest(proof, expected):
        raise _auth_error()
    stream.sendall(hmac.new(token, b"dialler" + theirs + certificate, hashlib.sha256).digest() + _CLIENT_FRAMES)
    # The other side holds our token, or its proof would have been wrong.
    try:
        welcome = _exactly(stream, 1)
    except ConnectionError:
        welcome = b""
    if welcome != b"\0":
        raise ConnectionError(
            "What answers there is part of this cluster but takes no drivers: it is the head's own port. Give the "
            "port that `ray start` names for ray:// drivers (10001 unless told), or the address without ray://."
        )


def _auth_error() -> BaseException:
    from ray.exceptions import AuthenticationError

    return AuthenticationError(
        "The cluster has another token than this process. Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's, "
        "or copy ~/.ray/auth_token from its head machine (`ray get-auth-token` prints it there)."
    )


def _exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise ConnectionError(
                "the other side closed the connection: is it a Ray daemon, with the same RAY_AUTH_MODE?"
            )
        data += part
    return data


class TLSStream:
    """A TLS connection that one thread may read while another writes."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["ray/1"])
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._want_read = ssl.SSLWantReadError
        self._end = ssl.SSLZeroReturnError
        self._error = ssl.SSLError
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._shake_hands(host)

    def _shake_hands(self, host: str) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except self._want_read:
                self._send_pending()
                data = self._sock.recv(_CHUNK)
                if not data:
                    raise ConnectionError(f"{host} closed the connection during the TLS handshake") from None
                self._in.write(data)
            except self._error as error:
                raise ConnectionError(f"{host} does not speak the cluster's TLS: {error}") from error
        self._send_pending()

    def _send_pending(self) -> None:
        data = self._out.read()
        if data:
            self._sock.sendall(data)

    def certificate_hash(self) -> bytes:
        """SHA-256 of the other side's certificate."""
        return hashlib.sha256(self._tls.getpeercert(True) or b"").digest()

    def recv(self, size: int) -> bytes:
        """Reads at least one byte; b"" at the end."""
        while True:
            with self._lock:
                try:
                    return self._tls.read(size)
                except self._want_read:
                    pass
                except (self._end, self._error):
                    return b""
            data = self._sock.recv(_CHUNK)
            if not data:
                return b""
            with self._lock:
                self._in.write(data)

    def pending(self) -> bool:
        """Whether recv would not have to wait for the network."""
        with self._lock:
            return self._tls.pending() > 0 or self._in.pending > 0

    def sendall(self, data: bytes) -> None:
        """Writes everything."""
        view = memoryview(data)
        with self._send_lock:
            for start in range(0, len(view), 1 << 20):
                with self._lock:
                    self._tls.write(view[start : start + (1 << 20)])
                    encrypted = self._out.read()
                self._sock.sendall(encrypted)

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._sock.fileno()

    def settimeout(self, seconds: Optional[float]) -> None:
        """As for sockets."""
        self._sock.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """As for sockets."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """As for sockets."""
        self._sock.close()

    def wait(self, timeout: float) -> bool:
        """Whether something arrives within timeout seconds."""
        return self.pending() or bool(select.select([self._sock], [], [], timeout)[0])
