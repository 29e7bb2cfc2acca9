"""What subscribers are told: the values of the two topics, made from a record and the state after it."""

from typing import Final

import msgspec
from msgspec import Struct

from ledger import records as r
from ledger.certificate import Certificate, evolve
from ledger.decision import Decision
from ledger.identifiers import (
    AUTHORIZATION,
    OPERATION,
    STATE_EVENT,
    TRANSACTION_EVENT,
    identifier,
)
from ledger.money import rfc3339, rfc3339_or_none
from ledger.records import Record

STATE: Final = "GiftCertificateState"
TRANSACTION: Final = "GiftCertificateTransaction"


class Publication(Struct, frozen=True, array_like=True):
    """One event, ready to be sent.

    ``topic`` is the contract's name (a setting gives the real one). ``value`` is JSON, or empty for a tombstone: the
    code was given back, and a compacted topic forgets it.
    """

    topic: str
    key: str
    event_id: str
    at: int
    value: bytes


class StateEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """Value of ``GiftCertificateState``."""

    event_id: str
    code: str
    status: str
    currency: str | None
    denomination: int | None
    balance: int
    held: int
    available: int
    version: int
    channel: str | None
    order_id: str | None
    order_line_id: str | None
    activated_at: str | None
    expires_at: str | None
    occurred_at: str


class TransactionEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """Value of ``GiftCertificateTransaction``. Fields that do not apply are ``null``."""

    event_id: str
    transaction_id: str
    type: str
    code: str
    amount: int
    currency: str | None
    balance_before: int
    balance_after: int
    version: int
    authorization_id: str | None
    voided_transaction_id: str | None
    order_id: str | None
    order_line_id: str | None
    channel: str | None
    client: str
    reference: str | None
    occurred_at: str


_encoder: Final = msgspec.json.Encoder()
_HOLDS: Final = (r.Held, r.HoldLapsed, r.HoldVoided)


def publications(after: Certificate, record: Record) -> tuple[Publication, ...]:
    """Events for ``record``: a balance change gives a transaction, every change but a hold's gives the state.

    ``after`` is the state that the record led to.
    """
    body = record.body
    if isinstance(body, _HOLDS):
        return ()
    state = _state(after, record)
    moved = _moved(body)
    if moved is None:
        return (state,)
    return (_transaction(after, record, *moved), state)


def published(before: Certificate, decision: Decision[Certificate]) -> list[Publication]:
    """Events of a whole decision upon ``before``; each shows the certificate as its own record left it."""
    if len(decision.records) == 1:
        return list(publications(decision.state, decision.records[0]))
    events: list[Publication] = []
    state = before
    for record in decision.records:
        state = evolve(state, record)
        events.extend(publications(state, record))
    return events


def _moved(body: r.AnyBody) -> tuple[str, int] | None:
    """Type and signed amount of the change of the balance."""
    match body:
        case r.Activated():
            return "Activate", body.denomination
        case r.Captured():
            return "Capture", -body.amount
        case r.CaptureVoided():
            return "Void", body.amount
        case r.ActivationVoided():
            return "Void", -body.amount
        case r.Expired() if body.amount:
            return "Expire", -body.amount
        case _:
            return None


def _state(after: Certificate, record: Record) -> Publication:
    event_id = identifier(STATE_EVENT, after.code, record.version)
    if isinstance(record.body, r.Released):
        return Publication(STATE, after.code, event_id, record.at, b"")
    event = StateEvent(
        event_id=event_id,
        code=after.code,
        status=record.status.value,
        currency=after.currency,
        denomination=after.denomination,
        balance=record.balance,
        held=record.held,
        available=record.balance - record.held,
        version=record.version,
        channel=after.channel,
        order_id=after.order_id,
        order_line_id=after.line_id,
        activated_at=rfc3339_or_none(after.activated_at),
        expires_at=rfc3339_or_none(after.expires_at),
        occurred_at=rfc3339(record.at),
    )
    return Publication(STATE, after.code, event_id, record.at, _encoder.encode(event))


def _transaction(after: Certificate, record: Record, kind: str, change: int) -> Publication:
    body = record.body
    event_id = identifier(TRANSACTION_EVENT, after.code, record.version)
    hold = body.hold if isinstance(body, r.Captured) else None
    undone = (
        body.capture
        if isinstance(body, r.CaptureVoided)
        else body.activation
        if isinstance(body, r.ActivationVoided)
        else None
    )
    if isinstance(body, r.CaptureVoided):
        hold = after.captures[body.capture].hold
    event = TransactionEvent(
        event_id=event_id,
        transaction_id=identifier(OPERATION, after.code, record.version),
        type=kind,
        code=after.code,
        amount=abs(change),
        currency=after.currency,
        balance_before=record.balance - change,
        balance_after=record.balance,
        version=record.version,
        authorization_id=None if hold is None else identifier(AUTHORIZATION, after.code, hold),
        voided_transaction_id=None if undone is None else identifier(OPERATION, after.code, undone),
        order_id=after.order_id,
        order_line_id=after.line_id,
        channel=record.channel,
        client=record.client,
        reference=body.reference if isinstance(body, r.Captured) else None,
        occurred_at=rfc3339(record.at),
    )
    return Publication(TRANSACTION, after.code, event_id, record.at, _encoder.encode(event))
