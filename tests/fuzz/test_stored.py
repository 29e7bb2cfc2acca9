"""What is read back from the log, and what comes over a channel: whatever else might be there instead."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import outcomes
from actors.channel import Connection, _Served
from actors.errors import OverloadedError
from actors.frames import FRAME_BYTES_MAX, Call, CallFrame, ReplyFrame, encoder, reply_of
from actors.residents import attempts_of
from gift_ledger.cli import trail
from ledger import certificate, order
from ledger import commands as c
from ledger import records as r
from ledger.answers import Answer
from ledger.attempts import Attempts
from ledger.certificate import Certificate
from ledger.money import DAY_MS
from ledger.order import Order
from ledger.records import Status
from ledger.refusals import Refusal, Refused
from persistence import acts, codec
from persistence.errors import DamagedLogError, SnapshotUnreadableError
from persistence.log import Batch, Change, Loaded, QueuedMessage
from persistence.memory import MemoryLog
from persistence.memory_acts import MemoryActStore
from persistence.redis_append import encode_message
from persistence.redis_log import _loaded, _message
from persistence.replay import Replay
from tests.fuzz.breaking import DEEP, OF_MSGPACK, broken
from tests.fuzz.judge import judge
from tests.unit.persistence import golden
from tests.unit.persistence.bodies import BODIES, CERTIFICATE, ORDER, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.work import Done

LINK = bytes(codec.LINK_BYTES)
RECORDS = [LINK + msgspec.msgpack.encode(msgspec.structs.replace(RECORD, body=body)) for body in BODIES.values()]
RECORDS += [bytes.fromhex(one) for one in (golden.RECORD, golden.RECORD_AUDITED)]
SNAPSHOTS = [bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_1), bytes.fromhex(golden.ORDER_SNAPSHOT_1)]
NOW = 1_795_500_000_000
LATER = NOW + 365 * DAY_MS
TILL = c.Origin("till-1", "Store", key=b"k" * 16, fingerprint=b"f" * 8, key_id="k_1", address=b"\xc0\x00\x02\x07")
LIFE = (
    r.Reserved("SO-1001", "1", LATER),
    r.Joined(150_000, "RUB"),
    r.Activated("SO-1001", "1", 150_000, "RUB", LATER, b"c" * 32, b"sealed"),
    r.Held(50_000, LATER, "POS-7/991"),
    r.Captured(4, 30_000, final=True, released=20_000),
    r.CaptureVoided(5, 10_000, "returned"),
    r.Held(1_000, LATER),
    r.HoldVoided(7, 1_000),
    r.Blocked("stolen"),
    r.Unblocked("found"),
    r.CvcReissued(b"d" * 32),
)
PAID = (
    r.Placed(1, False, "Store", "RUB", (c.PlannedLine("1", 150_000, b"sealed"),)),
    r.LineAllocated("1", CERTIFICATE.code),
    r.LinePlanTold("1", 150_000, "RUB"),
    r.PaymentRecorded(1, "RUB", 150_000, 0, True, {"1": 150_000}),
    r.LineActivated("1", CERTIFICATE.code, 150_000, "RUB"),
)
HISTORIES = [
    [LINK + msgspec.msgpack.encode(record) for record in records]
    for records, _ in (
        certificate.advance(Certificate(code=CERTIFICATE.code), NOW, TILL, *LIFE),
        order.advance(Order(order_id=ORDER.order_id), NOW, TILL, *PAID),
    )
]
CALLS = CallFrame(
    7,
    [
        Call("c:GC-7K2M-9QXA", c.Authorize(50_000, "RUB", b"d" * 32, "POS-7/991"), TILL),
        Call("c:GC-7K2M-9QXA", c.Sell("SO-1001", "1"), TILL),
        Call("o:SO-1001", c.Place(1, False, "Store", "RUB", (c.PlannedLine("1", 150_000, b"sealed"),)), c.SYSTEM),
        Call("o:SO-1001", c.RecordPayment(1, "RUB", 150_000, 0, True, {"1": 150_000}), c.SYSTEM),
    ],
)
REFUSED = Answer(refused=Refused(Refusal.INSUFFICIENT_FUNDS, "Too little.", {"available": 1}))
REPLIES = ReplyFrame(7, [reply_of(0, REFUSED), reply_of(1, OverloadedError("full"))], turn=True)
STORED: dict[str, tuple[Callable[[bytes], object], list[bytes], tuple[type[Exception], ...]]] = {
    "record": (codec.decode, RECORDS, (DamagedLogError,)),
    "act": (acts.decode, [bytes.fromhex(golden.ACT)], (DamagedLogError,)),
    "end of acts": (acts._end, [b"7|" + LINK], (DamagedLogError,)),
    "publication": (codec.decode_publication, [bytes.fromhex(golden.PUBLICATION)], (DamagedLogError,)),
    "certificate": (codec.read_certificate_snapshot, SNAPSHOTS, (SnapshotUnreadableError,)),
    "order": (codec.read_order_snapshot, SNAPSHOTS, (SnapshotUnreadableError,)),
    "schema": (codec.snapshot_schema, SNAPSHOTS, ()),
    "outcome": (outcomes.recall, [outcomes.stored(TILL, REFUSED), outcomes.pending(TILL)], (DamagedLogError,)),
    "attempts": (attempts_of, [msgspec.msgpack.encode(Attempts(3, 1_795_500_000_000))], (DamagedLogError,)),
}
"""How each kind of stored bytes is read, some that are right, and what comes of those that are not."""


@pytest.mark.parametrize("kind", STORED)
@given(st.data())
def test_stored_bytes(kind: str, data: st.DataObject) -> None:
    read, valid, documented = STORED[kind]
    judge(read, data.draw(broken(*valid)), *documented)


@pytest.mark.parametrize("kind", STORED)
def test_stored_bytes_that_lie_about_their_length_or_are_too_deep(kind: str) -> None:
    read, valid, documented = STORED[kind]
    for one in valid:
        for nasty in (*OF_MSGPACK, b"\x91" * 100_000):
            for place in (0, len(LINK), len(LINK) + 4, len(one) // 2, len(one)):
                judge(read, one[:place] + nasty, *documented)
                judge(read, one[:place] + nasty + one[place:], *documented)


@st.composite
def broken_histories(draw: st.DrawFn) -> list[bytes]:
    """Return a history, with records broken, changed for others, left out or come twice.

    Its chain is whole: that says nothing about the records, whoever can write there can make one.
    """
    stored = list(draw(st.sampled_from(HISTORIES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(stored)))
        match draw(st.integers(0, 4)):
            case 0:
                del stored[place:]
            case 1:
                stored[place : place + 1] = []
            case 2:
                stored[place : place + 1] = stored[:place][-1:]
            case 3:
                stored[place : place + 1] = [draw(broken(*(stored[place : place + 1] or RECORDS)))]
            case _:
                body = draw(st.sampled_from(list(BODIES.values())))
                record = msgspec.structs.replace(
                    RECORD, version=place + 1, body=body, status=draw(st.sampled_from(Status))
                )
                stored[place : place + 1] = [LINK + msgspec.msgpack.encode(record)]
    return _chained(stored)


@given(broken_histories())
def test_histories(stored: list[bytes]) -> None:
    loaded, size = Loaded(None, 0, tuple(stored)), sum(map(len, stored))
    judge(lambda found: codec.restore_certificate(CERTIFICATE.code, found), loaded, DamagedLogError, length=size)
    judge(lambda found: codec.restore_order(ORDER.order_id, found), loaded, DamagedLogError, length=size)


def test_the_histories_that_are_broken_are_whole_before() -> None:
    whole = [Loaded(None, 0, tuple(_chained(history))) for history in HISTORIES]

    assert codec.restore_certificate(CERTIFICATE.code, whole[0])[0].version == len(HISTORIES[0])
    assert codec.restore_order(ORDER.order_id, whole[1])[0].version == len(HISTORIES[1])


@pytest.mark.parametrize("entity", [f"c:{CERTIFICATE.code}", f"o:{ORDER.order_id}"])
@given(broken_histories(), broken(*SNAPSHOTS))
def test_verification(entity: str, stored: list[bytes], snapshot: bytes) -> None:
    """`gift-ledger verify` tells of whatever it finds."""
    replay = Replay(entity, 0, frozenset(range(99)))
    replay.take(stored)
    replay.compare_snapshot(snapshot)
    replay.finish()

    assert replay.version == len(stored) or replay.broken
    assert all(isinstance(problem, str) for _, problem in replay.problems)


@pytest.mark.parametrize("entity", [f"c:{CERTIFICATE.code}", f"o:{ORDER.order_id}"])
@given(stored=broken_histories(), act=broken(bytes.fromhex(golden.ACT)))
async def test_audits(entity: str, stored: list[bytes], act: bytes) -> None:
    """`gift-ledger audit` shows a line for whatever it finds."""
    log, store = MemoryLog(), MemoryActStore()
    assert await log.append(Batch((Change(entity, 0, tuple(stored)),))) is None
    store.stored.append(act)

    lines = [line async for line in trail.records_of(log, [entity], trail.Wanted())]
    lines += [line async for line in trail.acts_of(store, trail.Wanted())]

    assert len(lines) == len(stored) + 1
    assert all(msgspec.json.encode(line) for line in lines)
    assert all(isinstance(problem, str) for _, problem in await acts.problems(store))


@given(broken(encode_message(QueuedMessage("sms_7_x", "c:GC-7K2M-9QXA", b"sealed", 0, 1_795_500_000_000, 3))))
def test_waiting_messages(value: bytes) -> None:
    judge(lambda given: _message("sms_7_x", 0, given), value, DamagedLogError)


@given(broken(b"7", nasty=(b"9" * 5_000, b"-", b"+", b" ", b"_", b"\xd9\xa1", b"\xff", b"0x", b"7")))
def test_registers_of_versions(registered: bytes) -> None:
    judge(lambda given: _loaded(None, 0, 7, given, None, []), registered)


def test_a_register_that_says_no_version_is_damage_to_its_entity_alone() -> None:
    assert _loaded(None, 0, 7, b"7", None, []).damage is None
    assert _loaded(None, 0, 7, b"\xff", None, []).damage == "the register of entities does not say a version"


# --- channels --------------------------------------------------------------------------------------------------------


class Line:
    """A transport that remembers whether it was cut, and what was sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.cut = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        self.cut = True

    def write(self, data: bytes) -> None:
        self.sent.append(data)


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)


def served(data: bytes) -> None:
    """Have a shard read what a caller sends."""
    taken: list[str] = []

    def take(entity: str, command: c.AnyCommand, origin: c.Origin, done: Done) -> None:
        taken.append(entity)
        done(Answer())

    line: Any = Line()
    shard = _Served(take, None, lambda _one: True, lambda _one: None)
    shard.connection_made(line)
    for start in range(0, len(data), 4_096):
        shard.data_received(data[start : start + 4_096])
    assert line.cut or taken or not line.sent or all(line.sent)


def answered(data: bytes) -> None:
    """Have a caller read what a shard sends."""
    replies: list[ReplyFrame] = []
    line: Any = Line()
    connection = Connection(lambda _one, frame: replies.append(frame), lambda _one: None)
    connection.connection_made(line)
    connection.data_received(data)
    assert all(isinstance(reply.outcome, Answer | Exception) for frame in replies for reply in frame.replies)


@given(
    broken(encoder.encode(CALLS), encoder.encode(REPLIES)),
    broken(framed(encoder.encode(CALLS)), framed(encoder.encode(REPLIES))),
)
def test_channels(frame: bytes, stream: bytes) -> None:
    for end in (served, answered):
        judge(end, framed(frame, frame))
        judge(end, stream)


@pytest.mark.parametrize(
    "frame", [b"\x92\x01\x91\x93\xa1\xff", b"\x93\x01\x90" + b"\x91" * DEEP, b"\x93\x01\x90\xc3" + b"\x81\xa0" * DEEP]
)
def test_a_frame_that_cannot_be_read_ends_the_connection(frame: bytes) -> None:
    for end in (
        _Served(lambda *_: None, None, lambda _one: True, lambda _one: None),
        Connection(lambda *_: None, lambda _one: None),
    ):
        line: Any = Line()
        end.connection_made(line)
        end.data_received(framed(frame))
        assert line.cut


def test_a_frame_of_a_length_that_is_none_is_not_waited_for() -> None:
    line: Any = Line()
    shard = _Served(lambda *_: None, None, lambda _one: True, lambda _one: None)
    shard.connection_made(line)

    shard.data_received((FRAME_BYTES_MAX + 1).to_bytes(4, "little"))

    assert line.cut


def _chained(stored: list[bytes]) -> list[bytes]:
    """Give each the link that it has to have behind the one before it, whatever it holds."""
    chained = []
    link = codec.START.link
    for one in stored:
        body = one[codec.LINK_BYTES :]
        link = blake2b(link + body, digest_size=codec.LINK_BYTES).digest()
        chained.append(link + body)
    return chained
