"""Frame types and fixed layouts of the protocol (docs/PROTOCOL.md, section 1 and 2).

Each ``Struct`` named after a frame packs the 8-byte header together with the
frame's fixed part, so that building one is a single call; each ``*_BODY``
unpacks a fixed part at the position behind the header.
"""

import json
from struct import Struct
from typing import Any, Dict, Tuple

HELLO = 0x01
HELLO_OK = 0x02
FATAL = 0x03
CALL = 0x08
REPLY = 0x09
NOTE = 0x0A
TEMPLATE = 0x10
EXPORT = 0x11
SUBMIT = 0x12
PUT = 0x13
RELEASE = 0x14
GET = 0x15
WAIT = 0x16
FORGET = 0x17
UNPIN = 0x18
CREATE = 0x19
ABORT = 0x1A
DONE = 0x1B
YIELD = 0x1C
BLOCKED = 0x1D
UNBLOCKED = 0x1E
RETURN = 0x1F
CONSUMED = 0x20
PUSH = 0x30
OBJ = 0x31
READY = 0x32
CREATED = 0x33
LENT = 0x36
EXEC = 0x34
LEASE = 0x35
RECALL = 0x50
RECALLED = 0x51
CANCEL = 0x52
LOG = 0x53
EXIT = 0x54
GEN_CONSUMED = 0x55
STACK = 0x56
COLLECT = 0x57

#: A longer frame is an error of the sender.
MAX_FRAME = 1 << 30

# Kinds of SUBMIT and EXEC.
KIND_TASK = 0
KIND_ACTOR_CREATE = 1
KIND_ACTOR_CALL = 2

# Flags.
ARGS_IN_OBJECT = 1
MAY_RETRY = 2
REPLY_ERROR = 1
BLOCKS = 1
NO_PIN = 2
FETCH_LOCAL = 4
STREAM_GOES_ON = 1

# Status of DONE.
OK = 0
RAISED = 1
RAISED_RETRY = 2
CANCELLED = 3
OK_EXIT = 4
ACTOR_EXIT = 5

# Places of a value.
INLINE = 0
ARENA = 1
ELSEWHERE = 2

HEADER = Struct("<IBBH")
U32 = Struct("<I")
U32X2 = Struct("<II")
VALUE = Struct("<BBHI")
PLACE = Struct("<QQ")
REF = Struct("<28s28s")
ID_COUNT = Struct("<28sI")

CALL_HEAD = Struct("<IBBHIHHI")
CALL_BODY = Struct("<IHHI")
REPLY_BODY = Struct("<II")
NUMBERED = Struct("<IBBHI")  # TEMPLATE, FORGET: header and a u32
PAIR = Struct("<IBBHII")  # BLOCKED, UNBLOCKED, RECALLED: header and two u32
SUBMIT_HEAD = Struct("<IBBHHBBIIHHI24s24s")
PUT_HEAD = Struct("<IBBHHHI28s")
GET_HEAD = Struct("<IBBHHBBII")
CREATE_HEAD = Struct("<IBBHHHI28sQ")
DONE_HEAD = Struct("<IBBHHBBIIIII24s")
YIELD_HEAD = Struct("<IBBHHHIII24s")
CONSUMED_HEAD = Struct("<IBBH24sI")

PUSH_BODY = Struct("<HBBIII24s")
OBJ_BODY = Struct("<HHII")
READY_BODY = Struct("<II")
CREATED_BODY = Struct("<HBBIQ")
LENT_BODY = Struct("<HBxIQQ")
EXEC_BODY = Struct("<HBBIIIIIHHI24s24s")
CANCEL_BODY = Struct("<24sB")
CONSUMED_BODY = Struct("<24sI")

SUBMIT_OWN = 68
GET_OWN = 12
PUT_OWN = 36
CREATE_OWN = 44
DONE_OWN = 48
YIELD_OWN = 40


def frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A whole frame around body."""
    return HEADER.pack(4 + len(body), kind, flags, 0) + body


def json_frame(kind: int, value: Any) -> bytes:
    """A frame whose body is JSON."""
    return frame(kind, dump_json(value))


def call_frame(kind: int, number: int, method: str, params: Any, tail: bytes = b"") -> bytes:
    """CALL or NOTE (number 0)."""
    name, body = method.encode(), dump_json(params)
    length = 4 + CALL_BODY.size + len(name) + len(body) + len(tail)
    return b"".join((CALL_HEAD.pack(length, kind, 0, 0, number, len(name), 0, len(body)), name, body, tail))


def reply_frame(number: int, result: Any, tail: bytes = b"", error: bool = False) -> bytes:
    """REPLY to the call of that number."""
    body = dump_json(result)
    return frame(REPLY, REPLY_BODY.pack(number, len(body)) + body + tail, REPLY_ERROR if error else 0)


def read_call(data: bytes, pos: int, end: int) -> Tuple[int, str, Any, bytes]:
    """Number, method, parameters and tail of the CALL or NOTE body at pos."""
    number, name_len, _, json_len = CALL_BODY.unpack_from(data, pos)
    pos += CALL_BODY.size
    name = bytes(data[pos : pos + name_len]).decode()
    pos += name_len
    text = bytes(data[pos : pos + json_len])
    return number, name, json.loads(text) if text else {}, bytes(data[pos + json_len : end])


def submit_frame(
    kind: int,
    flags: int,
    template: int,
    nreturns: int,
    deps: bytes,
    refs: bytes,
    payload: bytes,
    task_id: bytes,
    parent_id: bytes,
) -> bytes:
    """SUBMIT; deps and refs are concatenated references of 56 bytes."""
    length = 4 + SUBMIT_OWN + len(deps) + len(refs) + len(payload)
    head = SUBMIT_HEAD.pack(
        length,
        SUBMIT,
        0,
        0,
        SUBMIT_OWN,
        kind,
        flags,
        template,
        nreturns,
        len(deps) // 56,
        len(refs) // 56,
        len(payload),
        task_id,
        parent_id,
    )
    return b"".join((head, deps, refs, payload))


def value_inline(blob: bytes, refs: bytes = b"") -> bytes:
    """A value that travels with the frame."""
    return VALUE.pack(INLINE, 0, len(refs) // 56, len(blob)) + refs + blob


def value_arena(offset: int, size: int, refs: bytes = b"") -> bytes:
    """A value in the arena."""
    return VALUE.pack(ARENA, 0, len(refs) // 56, 16) + refs + PLACE.pack(offset, size)


def put_frame(object_id: bytes, value: bytes) -> bytes:
    """PUT of an encoded value."""
    return PUT_HEAD.pack(4 + PUT_OWN + len(value), PUT, 0, 0, PUT_OWN, 0, 0, object_id) + value


def get_frame(kind: int, flags: int, request: int, refs: bytes) -> bytes:
    """GET or WAIT; refs are concatenated."""
    return GET_HEAD.pack(4 + GET_OWN + len(refs), kind, 0, 0, GET_OWN, flags, 0, request, len(refs) // 56) + refs


def create_frame(request: int, object_id: bytes, size: int) -> bytes:
    """CREATE."""
    return CREATE_HEAD.pack(4 + CREATE_OWN, CREATE, 0, 0, CREATE_OWN, 0, request, object_id, size)


def done_frame(
    status: int, seq: int, epoch: int, nreturns: int, items: int, micros: int, task_id: bytes, returns: bytes
) -> bytes:
    """DONE; returns are concatenated (u32 index, value)."""
    head = DONE_HEAD.pack(
        4 + DONE_OWN + len(returns),
        DONE,
        0,
        0,
        DONE_OWN,
        status,
        0,
        seq,
        epoch,
        nreturns,
        items,
        micros,
        task_id,
    )
    return head + returns


def yield_frame(seq: int, epoch: int, index: int, task_id: bytes, value: bytes) -> bytes:
    """YIELD of one item; index is the object's, so the first item has 2."""
    return YIELD_HEAD.pack(4 + YIELD_OWN + len(value), YIELD, 0, 0, YIELD_OWN, 0, seq, epoch, index, task_id) + value


def consumed_frame(task_id: bytes, items: int) -> bytes:
    """CONSUMED."""
    return CONSUMED_HEAD.pack(32, CONSUMED, 0, 0, task_id, items)


def pair_frame(kind: int, first: int, second: int) -> bytes:
    """BLOCKED, UNBLOCKED or RECALLED."""
    return PAIR.pack(12, kind, 0, 0, first, second)


def read_value(data: bytes, pos: int) -> Tuple[int, bytes, Any, int]:
    """Reads the value at pos: place, its references (concatenated), blob or (offset, size), position behind it."""
    where, _, nrefs, length = VALUE.unpack_from(data, pos)
    pos += 8
    refs = b""
    if nrefs:
        refs = bytes(data[pos : pos + 56 * nrefs])
        pos += 56 * nrefs
    end = pos + length
    if where == INLINE:
        return where, refs, data[pos:end], end
    if where == ARENA:
        return where, refs, PLACE.unpack_from(data, pos), end
    return where, refs, None, end


def dump_json(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def load_json(data: Any) -> Dict[str, Any]:
    """JSON of bytes."""
    return json.loads(bytes(data)) if len(data) else {}
