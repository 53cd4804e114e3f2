"""What one side of a session remembers: docs/PROTOCOL.md, section 5.

A session is a byte stream whose pieces are numbered, acknowledged
cumulatively and sent again after a connection was lost. Values in, values out:
no socket, clock or thread here.
"""

from collections import deque
from struct import Struct
from typing import Deque, List, Tuple

DATA = 0x60
ACK = 0x61
END = 0x62
PIECE = 0x63

#: Bytes that one piece may carry.
PIECE_BYTES = 32 * 1024
#: No more bytes than this are sent ahead of what the other side has acknowledged.
WINDOW = 4 * 1024 * 1024

_DATA = Struct("<IBBHQIBBH")
_ACK = Struct("<IBBHQ")
END_FRAME = Struct("<IBBH").pack(4, END, 0, 0)


class Broken(ConnectionError):
    """The other side broke the rules: the connection is of no use."""


class Ledger:
    """The numbers of both directions, and what may have to be sent again."""

    def __init__(self) -> None:
        self.sent = 0
        self.acked = 0
        self.received = 0
        self.unacked = 0  # bytes
        self._kept: Deque[Tuple[int, bytes]] = deque()

    def has_room(self) -> bool:
        """Whether more may be sent."""
        return self.unacked < WINDOW

    def push(self, payload: bytes) -> bytes:
        """The frame that carries payload, kept until it is acknowledged."""
        self.sent += 1
        frame = _DATA.pack(len(payload) + 20, DATA, 0, 0, self.sent, len(payload) + 4, PIECE, 0, 0) + payload
        self._kept.append((self.sent, frame))
        self.unacked += len(frame)
        return frame

    def acknowledge(self, number: int) -> None:
        """The other side has every piece up to number."""
        if number > self.sent:
            raise Broken(f"it has acknowledged piece {number} of {self.sent}")
        kept = self._kept
        while kept and kept[0][0] <= number:
            self.unacked -= len(kept.popleft()[1])
        self.acked = max(self.acked, number)

    def resume(self, number: int) -> List[bytes]:
        """What the other side lacks, as it has every piece up to number."""
        if number < self.acked:
            raise Broken(f"it has piece {number} and had acknowledged piece {self.acked}")
        self.acknowledge(number)
        return [frame for _, frame in self._kept]

    def accept(self, body: memoryview) -> memoryview:
        """The payload of a DATA frame's body; empty if it has been here before."""
        if len(body) < 16 or body[12] != PIECE:
            raise Broken("it has sent something that is no piece")
        number = int.from_bytes(body[:8], "little")
        if number <= self.received:
            return body[:0]
        if number != self.received + 1:
            raise Broken(f"piece {number} came after {self.received}")
        self.received = number
        return body[16:]


def ack_frame(number: int) -> bytes:
    """Says that everything up to number has been taken."""
    return _ACK.pack(12, ACK, 0, 0, number)
