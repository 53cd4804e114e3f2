"""Plain HTTP calls with the standard library."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ray._private import auth

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class Response:
    """An answer: status code, body, headers."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def status_code(self) -> int:
        """The status, by the name that ``requests`` has for it."""
        return self.status

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            RuntimeError: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise RuntimeError(f"the server did not answer with JSON but with: {self.text[:300]!r}") from None


class HttpClient:
    """Calls to one server.

    Args:
        base: http(s)://host:port.
        headers: sent with every call, beside the token.
        verify: whether to check an https certificate, or the file to check it against.
        cookies: sent with every call.
    """

    def __init__(
        self,
        base: str,
        headers: Optional[Dict[str, str]] = None,
        verify: Union[bool, str, None] = True,
        cookies: Optional[Dict[str, str]] = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.verify = verify
        self.headers = dict(headers or {})
        if cookies:
            self.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        handlers: List[Any] = []
        if urllib.parse.urlsplit(self.base).hostname in _LOCAL_HOSTS:
            handlers.append(urllib.request.ProxyHandler({}))
        if self.base.startswith("https"):
            handlers.append(urllib.request.HTTPSHandler(context=self.tls()))
        self._opener = urllib.request.build_opener(*handlers)

    def tls(self) -> ssl.SSLContext:
        """How https certificates are checked."""
        if self.verify is False:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        return ssl.create_default_context(cafile=self.verify if isinstance(self.verify, str) else None)

    def all_headers(self) -> Dict[str, str]:
        """Headers of a call: the caller's win over the token's."""
        return auth.headers(self.headers)

    def request(
        self,
        method: str,
        path: str,
        query: Optional[List[Tuple[str, str]]] = None,
        json_body: Any = None,
        data: Optional[bytes] = None,
        timeout: float = 30,
    ) -> Response:
        """One call. An error status is an answer, too.

        Raises:
            ConnectionError: nobody answers at that address.
        """
        with self._open(method, path, query, json_body, data, timeout) as answer:
            return Response(answer.status, answer.read(), answer.headers)

    def stream(self, path: str, query: Optional[List[Tuple[str, str]]] = None, timeout: float = 30) -> Iterator[bytes]:
        """Chunks of the answer to a GET, as they come.

        Raises:
            ConnectionError: nobody answers at that address.
            RuntimeError: an error status.
        """
        with self._open("GET", path, query, None, None, timeout) as answer:
            if answer.status != 200:
                raise RuntimeError(answer.read().decode("utf-8", "replace"))
            while True:
                chunk = answer.read1(65536)
                if not chunk:
                    return
                yield chunk

    def _open(
        self,
        method: str,
        path: str,
        query: Optional[List[Tuple[str, str]]],
        json_body: Any,
        data: Optional[bytes],
        timeout: float,
    ) -> Any:
        url = self.base + path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = self.all_headers()
        if json_body is not None:
            data = json.dumps(json_body).encode()
            headers["Content-Type"] = "application/json"
        elif data is not None:
            headers["Content-Type"] = "application/octet-stream"
        call = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            return self._opener.open(call, timeout=timeout)
        except urllib.error.HTTPError as error:
            return _check_auth(error)
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(
                f"Failed to connect to Ray at address: {self.base} ({reason}). "
                "Check that the cluster runs there and that its dashboard is on."
            ) from error


def _check_auth(error: urllib.error.HTTPError) -> Any:
    """An error answer as it is; a refused token raises AuthenticationError."""
    if error.code not in (401, 403):
        return _ErrorAnswer(error)
    from ray import exceptions

    text = error.read().decode("utf-8", "replace").strip()
    raise exceptions.AuthenticationError(
        f"{text or 'The server refused the token.'} Put the cluster's token into RAY_AUTH_TOKEN or "
        "~/.ray/auth_token; `ray get-auth-token` on the head prints it."
    )


class _ErrorAnswer:
    """An HTTPError with the interface of a response."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status = error.code
        self.headers = error.headers
        self._error = error

    def read(self) -> bytes:
        return self._error.read()

    def __enter__(self) -> "_ErrorAnswer":
        return self

    def __exit__(self, *exc: Any) -> None:
        self._error.close()
