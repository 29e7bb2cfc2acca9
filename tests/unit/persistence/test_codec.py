"""The bytes of the log: the same for ever, chained, and never half-understood."""

from hashlib import blake2b
from typing import Any, get_args

import msgspec
import pytest

from ledger import certificate
from ledger import records as r
from ledger.certificate import Certificate
from ledger.order import Order
from persistence import codec
from persistence.errors import DamagedLogError, SnapshotUnreadableError
from persistence.log import Loaded
from persistence.memory import MemoryLog
from tests.contract.histories import NOON, TILL, Writer
from tests.unit.persistence import golden
from tests.unit.persistence.bodies import AUDITED, BEFORE, BODIES, CERTIFICATE, LINK, ORDER, PUBLICATION, RECORD

BODY_DECODER = msgspec.msgpack.Decoder(r.AnyBody)


def chain(*bodies: r.AnyBody, code: str = "GC-00000001") -> list[bytes]:
    """Stored records of a certificate."""
    records, _ = certificate.advance(Certificate(code=code), NOON, TILL, *bodies)
    stored, position = [], codec.START
    for record in records:
        encoded, position = codec.encode(position, record)
        stored.append(encoded)
    return stored


RESERVED = r.Reserved("SO-1", "1", NOON + 1)
THREE = (RESERVED, r.Joined(5, "RUB"), r.Released("lapsed"))


# --- golden bytes -----------------------------------------------------------------------------------------------------


def test_every_body_has_golden_bytes() -> None:
    assert {type(body) for body in BODIES.values()} == set(get_args(r.AnyBody))
    assert golden.BODIES.keys() == BODIES.keys()


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_written_as_its_newest_golden_bytes(name: str) -> None:
    assert msgspec.msgpack.encode(BODIES[name]).hex() == golden.BODIES[name][-1]


@pytest.mark.parametrize(("name", "stored"), [(name, one) for name, all_ in golden.BODIES.items() for one in all_])
def test_what_any_version_has_written_can_be_read(name: str, stored: str) -> None:
    assert type(BODY_DECODER.decode(bytes.fromhex(stored))) is type(BODIES[name])


@pytest.mark.parametrize("name", BODIES)
def test_golden_bytes_mean_what_they_meant(name: str) -> None:
    assert BODY_DECODER.decode(bytes.fromhex(golden.BODIES[name][-1])) == BODIES[name]


@pytest.mark.parametrize("name", BODIES)
def test_a_field_that_a_later_version_has_added_is_passed_over(name: str) -> None:
    longer = [*msgspec.msgpack.decode(bytes.fromhex(golden.BODIES[name][-1])), {"later": 1}, "field"]

    assert BODY_DECODER.decode(msgspec.msgpack.encode(longer)) == BODIES[name]


def test_a_record_is_written_and_read_as_its_golden_bytes() -> None:
    stored, position = codec.encode(BEFORE, AUDITED)

    assert stored.hex() == golden.RECORD_AUDITED
    assert codec.decode(bytes.fromhex(golden.RECORD_AUDITED)) == AUDITED
    assert position == codec.Position(7, stored[: codec.LINK_BYTES])


def test_a_record_of_a_version_that_kept_neither_key_nor_address_is_read_and_chained() -> None:
    stored = bytes.fromhex(golden.RECORD)

    assert codec.decode(stored) == RECORD
    assert (RECORD.key_id, RECORD.address) == ("", b"")
    assert codec.check_chain("c:GC-7K2M-9QXA", [stored], BEFORE) == codec.Position(7, stored[: codec.LINK_BYTES])


@pytest.mark.parametrize("changed", [{"key_id": "k_00000000"}, {"address": b"\x0a\x00\x00\x01"}, {"address": b""}])
def test_the_chain_covers_the_key_and_the_address(changed: dict[str, Any]) -> None:
    stored = bytes.fromhex(golden.RECORD_AUDITED)
    forged = stored[: codec.LINK_BYTES] + msgspec.msgpack.encode(msgspec.structs.replace(AUDITED, **changed))

    with pytest.raises(DamagedLogError, match="version 7: the chain breaks here"):
        codec.records("c:GC-7K2M-9QXA", [forged], BEFORE)


def test_a_record_has_grown_by_3_bytes_and_by_17_with_a_key_and_an_address_of_ipv4() -> None:
    before = len(bytes.fromhex(golden.RECORD)) - codec.LINK_BYTES

    assert len(msgspec.msgpack.encode(RECORD)) - before == 3
    assert len(msgspec.msgpack.encode(AUDITED)) - before == 17


def test_a_record_of_a_later_version_with_more_fields_is_read() -> None:
    fields = msgspec.msgpack.decode(bytes.fromhex(golden.RECORD_AUDITED)[codec.LINK_BYTES :])
    later = msgspec.msgpack.encode([*fields, "later"])

    assert codec.decode(LINK + later) == AUDITED


def test_a_publication_is_written_and_read_as_its_golden_bytes() -> None:
    assert codec.encode_publication(PUBLICATION).hex() == golden.PUBLICATION
    assert codec.decode_publication(bytes.fromhex(golden.PUBLICATION)) == PUBLICATION


def test_a_state_is_written_as_the_golden_bytes_of_its_schema() -> None:
    """When this fails, the shape of a state has changed: raise `SNAPSHOT_SCHEMA` and add golden bytes for it."""
    voucher = getattr(golden, f"CERTIFICATE_SNAPSHOT_{codec.SNAPSHOT_SCHEMA}")
    order = getattr(golden, f"ORDER_SNAPSHOT_{codec.SNAPSHOT_SCHEMA}")

    assert codec.snapshot(CERTIFICATE, codec.Position(CERTIFICATE.version, LINK)).hex() == voucher
    assert codec.snapshot(ORDER, codec.Position(ORDER.version, LINK)).hex() == order
    assert codec.read_certificate_snapshot(bytes.fromhex(voucher)) == (CERTIFICATE, codec.Position(9, LINK))
    assert codec.read_order_snapshot(bytes.fromhex(order)) == (ORDER, codec.Position(5, LINK))


def test_golden_states_leave_nothing_at_its_default() -> None:
    """Or a field that was forgotten in the bytes would go unnoticed."""
    same = {"blocked", "cancelled", "reserved_until"}  # contradict the others

    for state, empty in ((CERTIFICATE, Certificate(code="")), (ORDER, Order(order_id=""))):
        unset = {name for name in state.__struct_fields__ if getattr(state, name) == getattr(empty, name)}
        assert unset <= same


# --- records in their chain -------------------------------------------------------------------------------------------


def test_records_come_back_with_where_they_end() -> None:
    stored = chain(*THREE)

    decoded, end = codec.records("c:X", stored)

    assert [record.body for record in decoded] == list(THREE)
    assert end == codec.Position(3, stored[-1][: codec.LINK_BYTES])
    assert codec.records("c:X", []) == ([], codec.START)


def test_a_chain_can_be_followed_in_pieces() -> None:
    stored = chain(*THREE)
    _, middle = codec.records("c:X", stored[:1])

    assert codec.records("c:X", stored[1:], middle)[1] == codec.check_chain("c:X", stored)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_any_byte_that_was_changed_breaks_the_chain_at_its_record(version: int) -> None:
    stored = chain(*THREE)
    for at in range(len(stored[version - 1])):
        changed = bytearray(stored[version - 1])
        changed[at] ^= 1

        with pytest.raises(DamagedLogError, match=f"c:X, version {version}: the chain breaks here"):
            codec.check_chain("c:X", [*stored[: version - 1], bytes(changed), *stored[version:]])


@pytest.mark.parametrize(
    ("order", "version"),
    [((1, 2), 1), ((0, 2), 2), ((1, 0, 2), 1), ((0, 0, 1, 2), 2), ((0, 1, 2, 2), 4)],
    ids=["first dropped", "middle dropped", "swapped", "first doubled", "last doubled"],
)
def test_records_dropped_moved_or_doubled_break_the_chain(order: tuple[int, ...], version: int) -> None:
    stored = chain(*THREE)

    with pytest.raises(DamagedLogError, match=f"version {version}"):
        codec.check_chain("c:X", [stored[at] for at in order])


def test_a_record_of_another_log_breaks_the_chain() -> None:
    mine, other = chain(*THREE), chain(r.Reserved("SO-2", "9", NOON), *THREE[1:])

    with pytest.raises(DamagedLogError, match="version 2"):
        codec.check_chain("c:X", [mine[0], other[1]])


@pytest.mark.parametrize("stored", [b"", b"short", LINK, LINK + b"\xc1", LINK + b"\x93\x01\x02\x03"])
def test_bytes_that_are_no_record_are_told(stored: bytes) -> None:
    with pytest.raises(DamagedLogError):
        codec.decode(stored)


def test_a_well_chained_record_of_an_unknown_kind_is_told_with_its_version() -> None:
    fields = msgspec.msgpack.decode(bytes.fromhex(golden.RECORD)[codec.LINK_BYTES :])
    body = msgspec.msgpack.encode([*fields[:-1], ["never_heard_of", 1]])
    stored = blake2b(codec.START.link + body, digest_size=codec.LINK_BYTES).digest() + body

    with pytest.raises(DamagedLogError, match="c:X, version 1: stored bytes are not a record"):
        codec.records("c:X", [stored])


@pytest.mark.parametrize("stored", [b"", b"\xc1", b"\x95\x01\x02\x03\x04\x05"])
def test_bytes_that_are_no_publication_are_told(stored: bytes) -> None:
    with pytest.raises(DamagedLogError, match="not a publication"):
        codec.decode_publication(stored)


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_state_that_holds_what_a_snapshot_cannot_is_a_defect() -> None:
    with pytest.raises(NotImplementedError, match="object"):
        codec._state_encoder.encode(object())
    with pytest.raises(NotImplementedError, match="complex"):
        msgspec.convert("1", complex, dec_hook=codec._rich)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"9",
        b"9|",
        b"9|" + LINK,
        b"x" + bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_2)[1:],
        b"8" + bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_2)[1:],
        bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_2)[:-1],
        b"9|" + LINK + b"\x00" + bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_2)[19:],
        bytes.fromhex(golden.ORDER_SNAPSHOT_2),
        bytes.fromhex(golden.CERTIFICATE_SNAPSHOT_1),
    ],
)
def test_a_snapshot_that_cannot_be_trusted_is_not_read(stored: bytes) -> None:
    with pytest.raises(SnapshotUnreadableError):
        codec.read_certificate_snapshot(stored)


def test_a_snapshot_says_its_schema() -> None:
    assert codec.snapshot_schema(bytes.fromhex(golden.ORDER_SNAPSHOT_1)) == 1
    assert codec.snapshot_schema(b"nonsense") is None
    assert codec.snapshot_schema(b"1|short") is None


def test_a_certificate_comes_back_from_records_and_from_its_snapshot() -> None:
    stored = chain(*THREE[:2])
    whole, end = codec.restore_certificate("GC-00000001", Loaded(None, 0, tuple(stored)))
    first, middle = codec.restore_certificate("GC-00000001", Loaded(None, 0, (stored[0],)))

    again = codec.restore_certificate("GC-00000001", Loaded(codec.snapshot(first, middle), 1, (stored[1],)))

    assert again == (whole, end)
    assert whole.denomination == 5
    assert codec.restore_certificate("GC-NEVER", Loaded(None, 0, ())) == (Certificate(code="GC-NEVER"), codec.START)


async def test_an_order_comes_back_from_records_and_from_its_snapshot() -> None:
    log = MemoryLog()
    writer = Writer(log)
    await writer.sell("SO-1", "GC-00000001", snapshot=True)
    await writer.order("SO-1", r.LineStuck("1", "GC-00000001", "join", "x"))

    (loaded,) = await log.load(["o:SO-1"])
    (whole,) = await log.load(["o:SO-1"], snapshots=False)

    assert loaded.snapshot is not None
    assert codec.restore_order("SO-1", loaded) == codec.restore_order("SO-1", whole) == writer.orders["SO-1"]
    assert codec.restore_order("SO-2", Loaded(None, 0, ())) == (Order(order_id="SO-2"), codec.START)


@pytest.mark.parametrize("kind", ["certificate", "order"])
def test_a_snapshot_of_another_entity_or_place_is_not_used(kind: str) -> None:
    state: Certificate | Order = (
        Certificate(code="GC-OTHER", version=3) if kind == "certificate" else Order(order_id="SO-OTHER", version=3)
    )
    stored = codec.snapshot(state, codec.Position(3, LINK))
    mine = "GC-OTHER" if kind == "certificate" else "SO-OTHER"
    restore = codec.restore_certificate if kind == "certificate" else codec.restore_order

    assert restore(mine, Loaded(stored, 3, ()))[0] == state
    with pytest.raises(SnapshotUnreadableError):
        restore("GC-MINE", Loaded(stored, 3, ()))
    with pytest.raises(SnapshotUnreadableError):
        restore(mine, Loaded(stored, 2, ()))


@pytest.mark.parametrize("restore", [codec.restore_certificate, codec.restore_order])
def test_damage_that_the_log_has_seen_is_told(restore: object) -> None:
    assert callable(restore)
    with pytest.raises(DamagedLogError, match="X, version 0: records were lost"):
        restore("X", Loaded(None, 0, (), damage="records were lost"))


@pytest.mark.parametrize(
    ("restore", "bodies"),
    [
        (codec.restore_certificate, (r.Placed(1, False, "shop", "RUB"),)),
        (codec.restore_certificate, (r.Captured(7, 1, True),)),
        (codec.restore_order, (r.LineActivated("1", "GC-00000001"),)),
        (codec.restore_order, (RESERVED,)),
    ],
)
def test_records_that_cannot_follow_are_damage(restore: object, bodies: tuple[r.AnyBody, ...]) -> None:
    stored, position = [], codec.START
    for version, body in enumerate(bodies, 1):
        encoded, position = codec.encode(position, msgspec.structs.replace(RECORD, version=version, body=body))
        stored.append(encoded)

    assert callable(restore)
    with pytest.raises(DamagedLogError, match="version 1: cannot follow"):
        restore("X", Loaded(None, 0, tuple(stored)))
