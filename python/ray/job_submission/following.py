"""A job's output as it comes, over broken connections and restarts of the head."""

import threading
import time
from typing import Iterator, Optional

from ray._private.http import HttpClient
from ray._private.websocket import WebSocket, WebSocketClosed, WebSocketRefused

#: Seconds for which a server that is gone is asked again.
PATIENCE = 300.0
RETRY = 0.5


class Follower:
    """Reads a job's output from its beginning; nothing comes twice.

    Args:
        http: the job server.
        job_id: submission id.

    A server of this package tells after each piece where in the output it
    ends, and begins there the next time. Of another one, which begins anew,
    so many bytes are passed over as were read before.
    """

    def __init__(self, http: HttpClient, job_id: str) -> None:
        self._http = http
        self._job_id = job_id
        self._offset: Optional[int] = None
        self._read = 0
        self._socket: Optional[WebSocket] = None
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends the reading; :meth:`pieces` raises or returns soon. From any thread."""
        self._closed.set()
        socket = self._socket
        if socket is not None:
            socket.close()

    def pieces(self) -> Iterator[str]:
        """Texts of one or more lines, until the job has ended and all was read.

        Raises:
            RuntimeError: there is no such job, or the server stayed away.
        """
        heard = time.monotonic()
        while not self._closed.is_set():
            before = self._read
            try:
                yield from self._once()
                return
            except WebSocketRefused as error:
                if error.status < 500:
                    raise RuntimeError(f"Cannot read the logs of job {self._job_id}: {error}") from error
                reason: Exception = error
            except (WebSocketClosed, OSError) as error:
                reason = error
            if self._read > before:
                heard = time.monotonic()
            elif self._ended():
                return
            elif time.monotonic() - heard > PATIENCE:
                raise RuntimeError(f"The connection that carried the logs of job {self._job_id} broke: {reason}")
            self._closed.wait(RETRY)

    def _ended(self) -> bool:
        try:
            answer = self._http.request("GET", f"/api/jobs/{self._job_id}")
            return answer.status == 200 and answer.json().get("status") in ("STOPPED", "SUCCEEDED", "FAILED")
        except (ConnectionError, RuntimeError):
            return False

    def _once(self) -> Iterator[str]:
        """What comes over one connection."""
        url = f"{self._http.base}/api/jobs/{self._job_id}/logs/tail?offset={self._offset or 0}"
        tls = self._http.tls() if url.startswith("https") else None
        self._socket = WebSocket(url, self._http.all_headers(), tls)
        try:
            skip = 0 if self._offset is not None else self._read
            for binary, message in self._socket.messages():
                if binary:
                    self._offset = int(message)
                    continue
                again = min(skip, len(message))
                skip -= again
                if len(message) > again:
                    self._read += len(message) - again
                    yield message[again:].decode("utf-8", "replace")
        finally:
            self._socket.close()
