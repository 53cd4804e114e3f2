"""Sessions of remote drivers: numbers, and a peer that is cut off at every possible place."""

import json
import random
import socket
import struct
import threading

import pytest
from ray._core import numbering
from ray._core.frames import HELLO_OK, json_frame
from ray._core.numbering import WINDOW, Broken, Ledger, ack_frame
from ray._core.relay import Refused, Relay


def body(frame):
    return memoryview(frame)[8:]


def test_any_losses_any_order_of_resumes_keep_the_stream():
    """Two ledgers and a line that forgets a random tail of what is on its way."""
    for seed in range(300):
        dice = random.Random(seed)
        near, far = Ledger(), Ledger()
        sent, got, line = b"", b"", []
        for _ in range(120):
            what = dice.random()
            if what < 0.5:
                payload = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 9)))
                sent += payload
                line.append(near.push(payload))
            elif what < 0.8 and line:
                got += bytes(far.accept(body(line.pop(0))))
            elif what < 0.9:
                near.acknowledge(dice.randrange(near.acked, far.received + 1))
            else:
                line = near.resume(far.received)
                if dice.random() < 0.3 and far.received:  # a frame that was seen comes again
                    line = list(line)
        for frame in near.resume(far.received):
            got += bytes(far.accept(body(frame)))
        assert got == sent
        near.acknowledge(far.received)
        assert near.unacked == 0 and near.acked == near.sent


def test_a_piece_is_taken_once_and_gaps_are_errors():
    near, far = Ledger(), Ledger()
    first, second, third = near.push(b"a"), near.push(b"b"), near.push(b"c")
    assert bytes(far.accept(body(first))) == b"a"
    assert bytes(far.accept(body(first))) == b""
    with pytest.raises(Broken, match="piece 3 came after 1"):
        far.accept(body(third))
    assert bytes(far.accept(body(second))) == b"b"
    with pytest.raises(Broken, match="acknowledged piece 9 of 3"):
        near.acknowledge(9)
    near.acknowledge(2)
    with pytest.raises(Broken, match="it has piece 1"):
        near.resume(1)
    for bad in (b"", b"short", bytes(16)):
        with pytest.raises(Broken):
            far.accept(memoryview(bad))


def test_the_window_closes_and_opens():
    ledger = Ledger()
    while ledger.has_room():
        ledger.push(bytes(numbering.PIECE_BYTES))
    assert WINDOW <= ledger.unacked < WINDOW + 2 * numbering.PIECE_BYTES
    ledger.acknowledge(1)
    ledger.acknowledge(ledger.sent)
    assert ledger.unacked == 0 and ledger.has_room()


class Echo(threading.Thread):
    """A listener that speaks sessions, echoes what it gets, and hangs up after so many bytes."""

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.dice = random.Random(seed)
        self.ledger = Ledger()
        self.greetings = []
        self.ended = threading.Event()
        self.answer = {}
        self.start()

    def dial(self):
        return socket.create_connection(self.listener.getsockname(), 5)

    def run(self):
        while not self.ended.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                try:
                    self.serve(conn)
                except (OSError, EOFError):
                    pass

    def serve(self, conn):
        _, greeting = self.frame(conn)
        self.greetings.append(json.loads(greeting))
        answer = {"received": self.ledger.received, "peer": "x", "grace_s": 5, **self.answer}
        conn.sendall(json_frame(HELLO_OK, answer))
        if answer.get("unknown"):
            return
        out = b"".join(self.ledger.resume(self.greetings[-1]["received"]))
        left = self.dice.randrange(1, 200_000)
        while True:
            if len(out) > left:
                conn.sendall(out[:left])
                return
            conn.sendall(out)
            left -= len(out)
            kind, got = self.frame(conn)
            out = b""
            if kind == numbering.ACK:
                self.ledger.acknowledge(int.from_bytes(got[:8], "little"))
            elif kind == numbering.END:
                self.ended.set()
                return
            else:
                payload = bytes(self.ledger.accept(memoryview(got)))
                if payload:
                    out = ack_frame(self.ledger.received) + self.ledger.push(payload)

    @staticmethod
    def frame(conn):
        def exactly(n):
            data = b""
            while len(data) < n:
                part = conn.recv(n - len(data))
                if not part:
                    raise EOFError
                data += part
            return data

        length, kind, _, _ = struct.unpack("<IBBH", exactly(8))
        return kind, exactly(length - 4)

    def close(self):
        self.ended.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.join(5)


@pytest.fixture
def echo(request):
    made = Echo(1)
    yield made
    made.close()


def test_bytes_survive_cuts_at_every_place(echo):
    relay = Relay(echo.dial, "relay")
    data = random.Random(2).getrandbits(8 * 1_500_000).to_bytes(1_500_000, "little")
    threading.Thread(target=relay.sock.sendall, args=(data,), daemon=True).start()
    got = b""
    relay.sock.settimeout(60)
    while len(got) < len(data):
        got += relay.sock.recv(1 << 16)
    assert got == data
    assert len(echo.greetings) > 5
    assert [greeting.get("new") for greeting in echo.greetings[:2]] == [True, None]
    assert len({greeting["session"] for greeting in echo.greetings}) == 1
    relay.sock.close()
    relay.finish(10)
    assert echo.ended.wait(10), "END was not told"


def test_a_daemon_that_has_forgotten_the_session(echo):
    relay = Relay(echo.dial, "relay")
    echo.answer = {"unknown": True}
    echo.dice = random.Random(0)
    relay.sock.settimeout(60)
    relay.sock.sendall(bytes(300_000))
    try:
        while relay.sock.recv(1 << 16):
            pass
    except ConnectionResetError:  # what was sent was not all taken
        pass
    relay.finish(10)
    assert "does not know this driver any more" in relay.why
    relay.sock.close()
    with pytest.raises(Refused):
        Relay(echo.dial, "relay")
