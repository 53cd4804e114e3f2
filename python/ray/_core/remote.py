"""The way of a driver to a daemon on another machine: TLS, and the proof of the token.

docs/PROTOCOL.md, section 5. The certificate is not checked against a chain:
both sides prove that they hold the token, bound to the certificate that they
see.
"""

import hashlib
import hmac
import os
import socket
import ssl
from typing import Any, Optional

_MAGIC = b"RAY1"
_CLIENT_FRAMES = b"C"


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
            stream = sock = _wrap(sock, host)
            certificate = hashlib.sha256(stream.getpeercert(True) or b"").digest()
        _prove(stream, (token or "").encode(), certificate)
        sock.settimeout(None)
        return stream
    except socket.timeout as error:
        sock.close()
        raise ConnectionError(f"{host}:{port} accepts connections but does not answer as a Ray daemon") from error
    except BaseException:
        sock.close()
        raise


def _wrap(sock: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["ray/1"])
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLError as error:
        raise ConnectionError(f"{host} does not speak the cluster's TLS: {error}") from error


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
            "What answers there is part of this cluster but takes no drivers. Give the head's port (6379 unless told) "
            "or the one that `ray start` names for ray:// drivers (10001 unless told)."
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
