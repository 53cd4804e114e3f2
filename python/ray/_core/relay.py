"""A socket of this process whose other end is a daemon on another machine.

The client reads and writes one end of a socket pair as if the daemon were on
this machine. A thread carries the bytes of the other end in a session
(:mod:`ray._core.numbering`): a network connection that breaks is made again
and everything goes on where it was. Only when none comes back within the
grace that the daemon named does the client's end see the end of the stream.
"""

import json
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from ray._core.frames import FATAL, HEADER, HELLO, HELLO_OK, json_frame
from ray._core.numbering import ACK, DATA, END, END_FRAME, PIECE_BYTES, Broken, Ledger, ack_frame

#: Silence of the daemon after which its connection counts as gone, in seconds.
SILENCE_S = 12.0
#: Something is said at least so often, in seconds.
PING_S = 3.0
#: How long a connection that broke is missed, unless the daemon says otherwise.
GRACE_S = 30.0
#: How long the daemon may take to answer the greeting.
HELLO_S = 10.0

_ACK_DELAY_S = 0.04
_ACK_BYTES = 256 * 1024
_READ = 256 * 1024
_HELLO_LIMIT = 1 << 16
_PAUSE_S = (0.05, 2.0)
_LONGEST_FRAME = 1 << 17

# What a socket that does not block says when it has nothing or takes nothing.
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Refused(ConnectionError):
    """The daemon does not want the session (any more): trying again is useless."""


class Relay:
    """One session. ``sock`` is the client's end."""

    def __init__(self, dial: Callable[[], Any], name: str) -> None:
        self._dial = dial
        self._id = "%032x" % random.SystemRandom().getrandbits(128)
        self._new = True
        self._grace = GRACE_S
        self.ledger = Ledger()
        self.sock, self._near = socket.socketpair()
        for end in (self.sock, self._near):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._near.setblocking(False)
        self._inbound: Deque[Tuple[int, memoryview]] = deque()  # for the client: a piece's number, what is left of it
        self._taken = 0  # every piece up to here has been given to the client
        self._taken_bytes = 0  # since the last acknowledgement
        self._closed = False  # the client has closed its end
        self.why: Optional[str] = None  # the session has ended, for this reason
        self._conn: Any = None
        try:
            self._first = self._connect()
        except BaseException:
            self.sock.close()
            self._near.close()
            raise
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Waits until what the client has sent is delivered; it has closed its end."""
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def abandon(self) -> None:
        """In a forked child: lets go of what belongs to the parent."""
        for sock in (self._near, self._conn):
            try:
                if sock is not None:
                    sock.close()
            except OSError:
                pass

    # ------------------------------------------------------------ connections

    def _connect(self) -> "_Carrier":
        """A connection on which the session goes on.

        Raises:
            Refused: the daemon knows nothing of the session, or ends it.
            OSError: no connection; one may come later.
        """
        conn = self._dial()
        try:
            conn.settimeout(HELLO_S)
            hello = {"session": self._id, "peer": "driver", "received": self.ledger.received}
            if self._new:
                hello["new"] = True
            conn.sendall(json_frame(HELLO, hello))
            answer = _answer(conn)
            if answer.get("unknown"):
                raise Refused("it does not know this driver any more: it was restarted, or has given the driver up")
            self._new = False
            self._grace = answer.get("grace_s") or GRACE_S
            pending = self.ledger.resume(answer["received"])
            conn.setblocking(False)
        except BaseException:
            conn.close()
            raise
        self._conn = conn
        return _Carrier(self, conn, pending)

    def _run(self) -> None:
        carrier: Optional[_Carrier] = self._first
        self._first = None  # type: ignore[assignment]
        try:
            while carrier is not None:
                why = carrier.carry()
                carrier.conn.close()
                self._conn = None
                if self.why is None:
                    carrier = self._reconnect(why)
                else:
                    carrier = None
        except Exception as error:  # a defect here must not leave the client waiting for ever
            self.why = f"the connection's own thread failed: {error!r}"
            raise
        finally:
            self._near.close()

    def _reconnect(self, why: str) -> Optional["_Carrier"]:
        end = time.monotonic() + self._grace
        pause = _PAUSE_S[0]
        while True:
            try:
                return self._connect()
            except Refused as error:
                self.why = str(error)
                return None
            except OSError as error:
                why = str(error) or why
            except Exception as error:  # AuthenticationError: another cluster is there
                self.why = str(error)
                return None
            left = end - time.monotonic()
            if left <= 0:
                self.why = f"no connection came back within {self._grace:.0f} s ({why})"
                return None
            self._wait(min(left, pause * random.uniform(1, 1.5)))
            pause = min(2 * pause, _PAUSE_S[1])

    def _wait(self, seconds: float) -> None:
        """A pause in which the client may go on sending, as far as there is room."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._near.fileno(), select.POLLIN)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return
            if self._closed or not self.ledger.has_room():
                time.sleep(left)
            elif poll.poll(left * 1000):
                self.read_client()

    # ------------------------------------------------------------- the client

    def read_client(self) -> Optional[bytes]:
        """What the client has written, as a frame; None if there is nothing or it has closed."""
        try:
            data = self._near.recv(PIECE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if data:
            return self.ledger.push(data)
        self._closed = True
        return None

    def deliver(self, payload: memoryview) -> None:
        """Gives the client a piece, now or when it takes it."""
        self._inbound.append((self.ledger.received, payload))

    def give(self) -> None:
        """Gives the client what it takes."""
        inbound = self._inbound
        while inbound:
            number, rest = inbound[0]
            try:
                n = self._near.send(rest)
            except BlockingIOError:
                return
            except OSError:  # it has closed: nobody is interested
                n = len(rest)
                self._closed = True
            self._taken_bytes += n
            if n < len(rest):
                inbound[0] = (number, rest[n:])
                return
            inbound.popleft()
            self._taken = number


class _Carrier:
    """One connection of a relay, from its beginning to its end."""

    def __init__(self, relay: Relay, conn: Any, pending: List[bytes]) -> None:
        self.relay = relay
        self.conn = conn
        self.pending: Deque[bytes] = deque(pending)
        self.current: Optional[memoryview] = None  # the rest of the frame that is being sent
        self.buffer = bytearray()
        self.acked = relay.ledger.received  # the greeting has said so much
        self.ack_at: Optional[float] = None
        self.ended = False  # END is on its way
        self.more = False  # TLS may hold input that poll does not see

    def carry(self) -> str:
        """Carries bytes until the connection breaks or the session ends; says why."""
        relay, conn = self.relay, self.conn
        near, far = relay._near.fileno(), conn.fileno()
        poll = select.poll()
        poll.register(near, 0)
        poll.register(far, select.POLLIN)
        heard = spoke = time.monotonic()
        events: Dict[int, int] = {near: 0, far: select.POLLIN}
        try:
            while True:
                now = time.monotonic()
                if self._send(now, spoke):
                    spoke = now
                relay.give()
                if relay.why is not None:
                    return relay.why
                self._ask(poll, events, near, far)
                found = dict(poll.poll(self._patience(now, spoke) * 1000))
                if found.get(far) or self.more:
                    if self._receive():
                        heard = time.monotonic()
                elif time.monotonic() - heard > SILENCE_S:
                    return f"it has said nothing for {SILENCE_S:.0f} s"
                if found.get(near, 0) & ~select.POLLOUT and not relay._closed:
                    frame = relay.read_client()
                    if frame is not None:
                        self.pending.append(frame)
        except OSError as error:
            return str(error) or type(error).__name__

    def _ask(self, poll: Any, events: Dict[int, int], near: int, far: int) -> None:
        """Tells poll what is of interest now."""
        relay = self.relay
        mine = 0
        if not relay._closed:
            mine = (select.POLLIN if relay.ledger.has_room() else 0) | (select.POLLOUT if relay._inbound else 0)
        theirs = select.POLLIN | (select.POLLOUT if self.current is not None else 0)
        if events[far] != theirs:
            events[far] = theirs
            poll.modify(far, theirs)
        if relay._closed:
            if near in events:  # a closed end would wake us for ever
                poll.unregister(near)
                del events[near]
        elif events[near] != mine:
            events[near] = mine
            poll.modify(near, mine)

    def _patience(self, now: float, spoke: float) -> float:
        """Seconds until something is due although nothing happens."""
        if self.more or (self.current is None and self.pending):
            return 0.0
        until = spoke + PING_S
        if self.ack_at is not None and self.ack_at < until:
            until = self.ack_at
        return max(0.0, until - now)

    def _send(self, now: float, spoke: float) -> bool:
        """Sends what the connection takes: frames, acknowledgements between them, and END after all."""
        said = False
        relay = self.relay
        if self.ack_at is None and relay._taken > self.acked:
            self.ack_at = now if relay._taken_bytes >= _ACK_BYTES else now + _ACK_DELAY_S
        elif relay._taken_bytes >= _ACK_BYTES:
            self.ack_at = now
        while True:
            if self.current is None:
                if (self.ack_at is not None and now >= self.ack_at) or now - spoke >= PING_S and not said:
                    self.acked = max(self.acked, relay._taken)
                    relay._taken_bytes, self.ack_at = 0, None
                    self.current = memoryview(ack_frame(self.acked))
                elif self.pending:
                    self.current = memoryview(self.pending.popleft())
                elif relay._closed and not self.ended:
                    self.ended = True
                    self.current = memoryview(END_FRAME)
                else:
                    return said
            try:
                n = self.conn.send(self.current)
            except _NOT_NOW:
                return said
            said = True
            self.current = self.current[n:] if n < len(self.current) else None
            if self.ended and self.current is None:
                relay.why = "it was closed here"
                self._linger()
                return said

    def _linger(self) -> None:
        """Lets END arrive: a close with unread input would destroy it on its way."""
        self.conn.settimeout(0.5)
        end = time.monotonic() + 0.5
        try:
            while time.monotonic() < end and self.conn.recv(_READ):
                pass
        except OSError:
            pass

    def _receive(self) -> bool:
        """Reads and handles what has arrived; whether anything has."""
        got = 0
        while got < 4 * _READ:
            try:
                data = self.conn.recv(_READ)
            except _NOT_NOW:
                self.more = False
                return got > 0
            if not data:
                raise ConnectionError("the connection was closed")
            got += len(data)
            self.buffer += data
            self._handle()
        self.more = True
        return True

    def _handle(self) -> None:
        relay, buffer = self.relay, self.buffer
        pos, size = 0, len(buffer)
        while size - pos >= 8:
            length, kind, _, _ = HEADER.unpack_from(buffer, pos)
            if not 4 <= length <= _LONGEST_FRAME:
                raise Broken(f"it has sent a frame of {length} bytes")
            end = pos + 4 + length
            if end > size:
                break
            body = memoryview(bytes(buffer[pos + 8 : end]))
            pos = end
            if kind == DATA:
                payload = relay.ledger.accept(body)
                if payload:
                    relay.deliver(payload)
            elif kind == ACK and len(body) >= 8:
                relay.ledger.acknowledge(int.from_bytes(body[:8], "little"))
            elif kind == END:
                self._drain()
                relay.why = "the daemon has ended the connection"
                return
            else:
                raise Broken(f"it has sent a frame of type {kind:#x}")
        del buffer[:pos]

    def _drain(self) -> None:
        """Gives the client the last pieces, as long as it takes them."""
        relay = self.relay
        end = time.monotonic() + 5.0
        while relay._inbound and time.monotonic() < end:
            relay.give()
            if relay._inbound:
                select.select([], [relay._near], [], 0.1)


def _answer(conn: Any) -> Dict[str, Any]:
    head = _exactly(conn, HEADER.size)
    length, kind, _, _ = HEADER.unpack(head)
    if not 4 <= length <= _HELLO_LIMIT:
        raise Broken("what answers there does not speak this protocol")
    body = json.loads(_exactly(conn, length - 4))
    if kind == FATAL:
        raise Refused(body.get("message") or "it has refused the session")
    if kind != HELLO_OK:
        raise Broken(f"it has answered the greeting with a frame of type {kind:#x}")
    return body


def _exactly(conn: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = conn.recv(size - len(data))
        if not part:
            raise ConnectionError("the connection was closed during the greeting")
        data += part
    return data
