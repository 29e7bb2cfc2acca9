"""The bytes of the log: records in a hash chain, snapshots of states, publications.

A stored record is its *link* (16 bytes) followed by the record as msgpack. The link is a digest over the link before
it and the record's own bytes, so that a record which was changed, dropped or moved breaks the chain from there on.
(It shows damage and careless hands; whoever can rewrite a whole log can also make a new chain.)

A stored snapshot is its version in ASCII digits and ``|`` (the log reads it from there), the link of that version,
one byte that names the shape of the state, and the state as msgpack.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec
from immutables import Map
from msgspec import Struct

from ledger import certificate, order
from ledger.certificate import Certificate
from ledger.order import Order
from ledger.publications import Publication
from ledger.records import Record
from persistence.errors import UNDECODABLE, DamagedLogError, SnapshotUnreadableError
from persistence.log import Loaded

LINK_BYTES: Final = 16
"""128 bits: nobody finds two records with one link by chance, and a record costs 16 bytes more."""

SNAPSHOT_SCHEMA: Final = 2
"""To be raised whenever the shape or the meaning of :class:`Certificate` or :class:`Order` changes: older snapshots are
then passed over, and the states made anew from their records."""

State = TypeVar("State", Certificate, Order)


class Position(Struct, frozen=True, gc=False):
    """Where a log ends: the version of its last record, and that record's link."""

    version: int
    link: bytes


START: Final = Position(0, bytes(LINK_BYTES))
"""Before the first record."""


def _plain(value: object) -> object:
    if isinstance(value, Map):
        return dict(sorted(value.items()))  # one state, one encoding
    raise NotImplementedError(f"a snapshot cannot hold a {type(value).__name__}")


def _rich(kind: Any, value: Any) -> object:  # noqa: ANN401 - msgspec's own signature
    if getattr(kind, "__origin__", None) is Map:
        key, item = kind.__args__
        return Map(msgspec.convert(value, dict[key, item]))  # type: ignore[valid-type]
    raise NotImplementedError(f"a snapshot cannot hold a {kind}")


_record_encoder: Final = msgspec.msgpack.Encoder()
_record_decoder: Final = msgspec.msgpack.Decoder(Record)
_publication_decoder: Final = msgspec.msgpack.Decoder(Publication)
_state_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_certificate_decoder: Final = msgspec.msgpack.Decoder(Certificate, dec_hook=_rich)
_order_decoder: Final = msgspec.msgpack.Decoder(Order, dec_hook=_rich)


def encode(position: Position, record: Record) -> tuple[bytes, Position]:
    """Bytes to store for the record that follows ``position``, and the position after it."""
    body = _record_encoder.encode(record)
    link = blake2b(position.link + body, digest_size=LINK_BYTES).digest()
    return link + body, Position(record.version, link)


def decode(stored: bytes) -> Record:
    """The record in stored bytes; its place in the chain is not looked at.

    Raises:
        DamagedLogError: these bytes are no record.
    """
    try:
        return _record_decoder.decode(memoryview(stored)[LINK_BYTES:])
    except UNDECODABLE as error:
        raise DamagedLogError(f"stored bytes are not a record: {error}") from error


def check_chain(entity: str, stored: Sequence[bytes], position: Position = START) -> Position:
    """Follow the chain over consecutive records, and return where it ends.

    Raises:
        DamagedLogError: a record is not the one that was written there.
    """
    version, link = position.version, position.link
    for one in stored:
        version += 1
        if blake2b(link + one[LINK_BYTES:], digest_size=LINK_BYTES).digest() != one[:LINK_BYTES]:
            raise _damaged(entity, version, "the chain breaks here: a record was changed, dropped or moved")
        link = one[:LINK_BYTES]
    return Position(version, link)


def records(entity: str, stored: Sequence[bytes], position: Position = START) -> tuple[list[Record], Position]:
    """Decode consecutive records after ``position``, with the chain checked, and where they end.

    Raises:
        DamagedLogError: a record is not the one that was written there.
    """
    end = check_chain(entity, stored, position)
    decoded = []
    for version, one in enumerate(stored, start=position.version + 1):
        try:
            decoded.append(decode(one))
        except DamagedLogError as error:
            raise _damaged(entity, version, str(error)) from error
    return decoded, end


def snapshot(state: Certificate | Order, position: Position) -> bytes:
    """Bytes to store for ``state``, which is at ``position``."""
    return b"%d|%b%c%b" % (position.version, position.link, SNAPSHOT_SCHEMA, _state_encoder.encode(state))


def snapshot_schema(stored: bytes) -> int | None:
    """Which shape of states a stored snapshot has; ``None`` if it says nothing."""
    _, bar, rest = stored.partition(b"|")
    return rest[LINK_BYTES] if bar and len(rest) > LINK_BYTES else None


def read_certificate_snapshot(stored: bytes) -> tuple[Certificate, Position]:
    """State and position in a stored snapshot of a certificate.

    Raises:
        SnapshotUnreadableError: it was written for another shape of states, or is damaged.
    """
    return _read_snapshot(stored, _certificate_decoder)


def read_order_snapshot(stored: bytes) -> tuple[Order, Position]:
    """State and position in a stored snapshot of an order. Raises as :func:`read_certificate_snapshot`."""
    return _read_snapshot(stored, _order_decoder)


def restore_certificate(code: str, loaded: Loaded) -> tuple[Certificate, Position]:
    """The certificate that was stored, and where its log ends; with version 0 if its code was never seen.

    Raises:
        SnapshotUnreadableError: load it again without snapshots.
        DamagedLogError: what is stored cannot be what was written.
    """
    _whole(code, loaded)
    state, position = Certificate(code=code), START
    if loaded.snapshot is not None:
        state, position = read_certificate_snapshot(loaded.snapshot)
        _belongs(code, state.code, position, loaded)
    decoded, end = records(code, loaded.tail, position)
    for record in decoded:
        try:
            state = certificate.evolve(state, record)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(code, record.version, f"cannot follow what stands before it ({error})") from error
    return state, end


def restore_order(order_id: str, loaded: Loaded) -> tuple[Order, Position]:
    """The order that was stored, and where its log ends. Raises as :func:`restore_certificate`."""
    _whole(order_id, loaded)
    state, position = Order(order_id=order_id), START
    if loaded.snapshot is not None:
        state, position = read_order_snapshot(loaded.snapshot)
        _belongs(order_id, state.order_id, position, loaded)
    decoded, end = records(order_id, loaded.tail, position)
    for record in decoded:
        try:
            state = order.evolve(state, record)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(order_id, record.version, f"cannot follow what stands before it ({error})") from error
    return state, end


def encode_publication(publication: Publication) -> bytes:
    """Bytes of a publication in the outbox."""
    return _record_encoder.encode(publication)


def decode_publication(stored: bytes) -> Publication:
    """The publication in stored bytes.

    Raises:
        DamagedLogError: these bytes are no publication.
    """
    try:
        return _publication_decoder.decode(stored)
    except UNDECODABLE as error:
        raise DamagedLogError(f"stored bytes are not a publication: {error}") from error


def _read_snapshot(stored: bytes, decoder: "msgspec.msgpack.Decoder[State]") -> tuple[State, Position]:
    schema = snapshot_schema(stored)
    if schema != SNAPSHOT_SCHEMA:
        raise SnapshotUnreadableError(f"the snapshot has schema {schema}, not {SNAPSHOT_SCHEMA}")
    version, _, rest = stored.partition(b"|")
    try:
        position = Position(int(version), rest[:LINK_BYTES])
        state = decoder.decode(memoryview(rest)[LINK_BYTES + 1 :])
    except (ValueError, *UNDECODABLE) as error:
        raise SnapshotUnreadableError(f"the snapshot cannot be decoded: {error}") from error
    if state.version != position.version:
        raise SnapshotUnreadableError(f"the snapshot of version {position.version} holds version {state.version}")
    return state, position


def _whole(name: str, loaded: Loaded) -> None:
    if loaded.damage is not None:
        raise _damaged(name, loaded.version, loaded.damage)


def _belongs(name: str, found: str, position: Position, loaded: Loaded) -> None:
    if found != name or position.version != loaded.snapshot_version:
        raise SnapshotUnreadableError(f"the snapshot of {name} is that of {found} at version {position.version}")


def _damaged(entity: str, version: int, problem: str) -> DamagedLogError:
    return DamagedLogError(
        f"{entity}, version {version}: {problem}. Run `gift-ledger verify` and restore from a backup."
    )
