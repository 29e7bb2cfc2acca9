"""Gateways and shards of an earlier version beside those of this one: what either does not know, it passes over."""

import msgspec
from msgspec import Struct

from actors.frames import Call, CallFrame, call_decoder, encoder
from ledger import records as r
from ledger.commands import AnyCommand, Authorize, Origin
from persistence import codec
from tests.unit.persistence.bodies import AUDITED, BEFORE


class EarlierOrigin(Struct, frozen=True, array_like=True):
    """As it was before it told of key and address."""

    client: str
    channel: str | None = None
    own_only: bool = False
    cvc_required: bool = False
    overrides_block: bool = False
    key: bytes = b""
    fingerprint: bytes = b""


class EarlierCall(Struct, frozen=True, array_like=True):
    entity: str
    command: AnyCommand
    origin: EarlierOrigin


class EarlierFrame(Struct, frozen=True, array_like=True):
    frame: int
    calls: list[EarlierCall]


class EarlierRecord(Struct, frozen=True, array_like=True):
    schema: int
    version: int
    at: int
    client: str
    channel: str | None
    key: bytes
    fingerprint: bytes
    status: r.Status
    balance: int
    held: int
    body: r.AnyBody


COMMAND = Authorize(50_000, "RUB", None, "POS-7/991")
TOLD = ("till-1", "POS", True, False, False, b"k" * 16, b"f" * 8)


def test_an_earlier_shard_takes_the_call_of_a_gateway_and_passes_over_what_is_new() -> None:
    frame = CallFrame(7, [Call("c:GC-7K2M-9QXA", COMMAND, Origin(*TOLD, "k_3f9ac2d1", b"\xc0\x00\x02\x07"))] * 2)

    taken = msgspec.msgpack.decode(encoder.encode(frame), type=EarlierFrame)

    assert taken == EarlierFrame(7, [EarlierCall("c:GC-7K2M-9QXA", COMMAND, EarlierOrigin(*TOLD))] * 2)


def test_a_shard_takes_the_call_of_an_earlier_gateway_and_knows_no_key() -> None:
    frame = EarlierFrame(7, [EarlierCall("c:GC-7K2M-9QXA", COMMAND, EarlierOrigin(*TOLD))] * 2)

    taken = call_decoder.decode(encoder.encode(frame))

    assert taken == CallFrame(7, [Call("c:GC-7K2M-9QXA", COMMAND, Origin(*TOLD, "", b""))] * 2)


def test_an_earlier_version_reads_a_record_and_its_chain_and_goes_on_with_it() -> None:
    stored, position = codec.encode(BEFORE, AUDITED)

    read = msgspec.msgpack.decode(stored[codec.LINK_BYTES :], type=EarlierRecord)

    assert read == EarlierRecord(*msgspec.structs.astuple(AUDITED)[:11])
    assert codec.check_chain("c:GC-7K2M-9QXA", [stored], BEFORE) == position
