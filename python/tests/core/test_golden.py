"""The frames of this package are, byte for byte, those that the daemon is tested with."""

import os

import pytest
from ray._core import frames
from ray._core.assignment import Exec

_FILE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "internal", "wire", "testdata", "frames.txt")


def _golden():
    with open(_FILE) as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {row[0]: bytes.fromhex(row[1]) for row in rows}


GOLDEN = _golden()


def ident(start, size):
    return bytes((start + i) & 0xFF for i in range(size))


def ref(start):
    return ident(start, 28) + ident(start + 0x80, 28)


TASK, PARENT, OBJECT = ident(0x10, 24), ident(0x20, 24), ident(0x05, 28)
INLINE = frames.value_inline(bytes.fromhex("0001000003000000") + b"abc", ref(0x40))
ARENA = frames.value_arena(4096, 1 << 20)

WRITTEN = {
    "template": frames.NUMBERED.pack(10, frames.TEMPLATE, 0, 0, 7) + b"{}",
    "export": frames.frame(frames.EXPORT, ident(1, 28) + b"code"),
    "submit": frames.submit_frame(2, 1, 7, 3, ref(1) + ref(2), ref(3), b"payload", TASK, PARENT),
    "put_inline": frames.put_frame(OBJECT, INLINE),
    "put_arena": frames.put_frame(OBJECT, ARENA),
    "release": frames.frame(frames.RELEASE, frames.ID_COUNT.pack(OBJECT, 2) + frames.ID_COUNT.pack(ident(6, 28), 1)),
    "get": frames.get_frame(frames.GET, 1, 9, ref(1) + ref(2)),
    "wait": frames.get_frame(frames.WAIT, 5, 10, ref(1)),
    "forget": frames.NUMBERED.pack(8, frames.FORGET, 0, 0, 9),
    "unpin": frames.frame(frames.UNPIN, frames.ID_COUNT.pack(OBJECT, 1)),
    "create": frames.create_frame(11, OBJECT, 200000),
    "abort": frames.frame(frames.ABORT, OBJECT),
    "done": frames.done_frame(1, 12, 3, 2, 0, 1500, TASK, frames.U32.pack(1) + INLINE + frames.U32.pack(2) + ARENA),
    "yield": frames.yield_frame(12, 3, 2, TASK, INLINE),
    "blocked": frames.pair_frame(frames.BLOCKED, 12, 3),
    "consumed": frames.consumed_frame(TASK, 4),
    "recalled": frames.pair_frame(frames.RECALLED, 3, 12),
    "call": frames.call_frame(frames.CALL, 5, "kv.get", {"ns": "a"}, b"tail"),
    "reply": frames.reply_frame(5, {"found": True}, b"value"),
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_written_frames(name):
    assert WRITTEN[name].hex() == GOLDEN[name].hex()


def test_exec_is_read():
    item = Exec(GOLDEN["exec"][8:])
    assert (item.kind, item.flags, item.seq, item.epoch) == (0, 2, 12, 3)
    assert (item.template, item.nreturns, item.attempt) == (7, 1, 2)
    assert (item.task_id, item.parent_id, item.payload) == (TASK, PARENT, b"payload")
    (first, where, blob), (second, place, at) = item.deps
    assert (first, where, blob[8:]) == (ref(1), frames.INLINE, b"abc")
    assert (second, place, at) == (ref(2), frames.ARENA, (4096, 1 << 20))
    assert item.refs == ref(0x40) + ref(3)


def test_owner_of_items_is_read():
    item = Exec(GOLDEN["exec_dynamic"][8:])
    assert (item.owner, item.payload, item.seq) == (ident(0x30, 28), b"payload", 13)
    assert Exec(GOLDEN["exec"][8:]).owner == b""


def test_push_is_read():
    own, flags, _, nreturns, items, _, task_id = frames.PUSH_BODY.unpack_from(GOLDEN["push"], 8)
    assert (own, flags, nreturns, items, task_id) == (40, 1, 1, 2, TASK)
    assert frames.read_value(GOLDEN["push"], 8 + own + 4)[0] == frames.ELSEWHERE


def test_obj_ready_created_are_read():
    own, _, request, index = frames.OBJ_BODY.unpack_from(GOLDEN["obj"], 8)
    assert (own, request, index) == (12, 9, 1)
    assert frames.read_value(GOLDEN["obj"], 8 + own)[2] == (4096, 1 << 20)
    assert frames.READY_BODY.unpack_from(GOLDEN["ready"], 8) == (10, 2)
    assert frames.CREATED_BODY.unpack_from(GOLDEN["created"], 8) == (16, 0, 1, 11, 4096)
    assert frames.load_json(GOLDEN["created_full"][24:])["type"] == "ObjectStoreFullError"
    assert frames.CANCEL_BODY.unpack_from(GOLDEN["cancel"], 8) == (TASK, 1)
