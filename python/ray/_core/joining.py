"""Connecting a driver to a node daemon."""

import json
import os
import select
import socket
import sys
from typing import Any, Dict, List, Optional

from ray._core import frames, state
from ray._core.connection import HELLO_TIMEOUT_S, dial_unix, greet, greet_control
from ray._core.session import session
from ray._version import __version__

#: Seconds after which an address that does not answer is given up.
DIAL_TIMEOUT_S = 4.0


def _hello(job: Dict[str, Any], cluster_id: Optional[str]) -> Dict[str, Any]:
    hello = {
        "proto": 1,
        "version": __version__,
        "role": "driver",
        "conn": "data",
        "python": "%d.%d" % sys.version_info[:2],
        "pid": os.getpid(),
        "job": job,
    }
    if cluster_id:
        hello["cluster_id"] = cluster_id
    return hello


def connect_local(row: Dict[str, Any], job: Dict[str, Any]) -> Any:
    """A client of a daemon of this machine."""
    path = row["socket"]
    hello = _hello(job, row.get("cluster_id"))

    def dial() -> Any:
        try:
            return dial_unix(path, DIAL_TIMEOUT_S)
        except OSError as error:
            raise ConnectionError(
                f"The node daemon (pid {row.get('pid')}) that announced itself does not answer at {path}: {error}. "
                "If it hangs, `ray stop --force` ends it."
            ) from error

    return _connect(dial, hello)


def connect_remote(host: str, port: int, job: Dict[str, Any]) -> Any:
    """A client of a daemon elsewhere, over the network."""
    from ray._core import remote
    from ray._core.relay import Relay
    from ray._private.auth import token

    plain = os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled"
    relays: List[Any] = []

    def dial() -> Any:
        relay = Relay(
            lambda: remote.dial(host, port, DIAL_TIMEOUT_S, token(), plain), f"ray-session-{len(relays) % 2 + 1}"
        )
        relays.append(relay)
        return relay.sock

    client = _connect(dial, _hello(job, None))
    client.why_lost = lambda: relays[0].why
    session.relays = relays
    return client


def _connect(dial: Any, hello: Dict[str, Any]) -> Any:
    from ray._core.client import Client

    sock = dial()
    try:
        sock.settimeout(HELLO_TIMEOUT_S)
        answer, descriptor = greet(sock, hello)
        sock.settimeout(None)
        client = Client(sock, answer, descriptor, state.DRIVER)
        client.look_for_signals()
        control = greet_control(dial, dict(hello, client_id=answer["client_id"], job=None))
    except socket.timeout as error:
        sock.close()
        raise ConnectionError(
            f"the node daemon accepts connections but did not answer within {HELLO_TIMEOUT_S:.0f} s"
        ) from error
    except BaseException:
        sock.close()
        raise
    session.control = control
    return client


def serve_control(sock: Any, printer: Any, log_to_driver: bool) -> None:
    """Reads the control connection of a driver: prints what workers print."""
    data = b""
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    while True:
        try:
            if not poll.poll(1000):
                printer.tick()
                continue
            part = sock.recv(65536)
        except (OSError, ValueError):
            return
        if not part:
            return
        data += part
        while len(data) >= 8:
            length, kind, _, _ = frames.HEADER.unpack_from(data, 0)
            if len(data) < 4 + length:
                break
            body, data = data[8 : 4 + length], data[4 + length :]
            if kind == frames.LOG and log_to_driver:
                printer.show(json.loads(body) or [])
            elif kind == frames.COLLECT and state._client is not None:
                state._client.collect()
            elif kind == frames.STACK:
                from ray._core.stacks import stack_text

                try:
                    sock.sendall(frames.call_frame(frames.NOTE, 0, "stack", {}, stack_text().encode()))
                except OSError:
                    return
