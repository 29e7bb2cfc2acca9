"""What callers are shown: the JSON bodies of the HTTP API."""

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ledger import records as r
from ledger.certificate import Certificate
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.money import rfc3339, rfc3339_or_none
from ledger.order import Order
from ledger.records import Record, Status


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all views: camelCase, amounts in minor units, times in RFC 3339 UTC."""


class Reservation(View, frozen=True):
    """A code that is reserved for a line of an order; its plan is ``null`` until the order's event has come."""

    certificate_code: str
    status: str
    order_id: str
    order_line_id: str
    channel: str | None
    planned_denomination: int | None
    currency: str | None
    reserved_until: str | None


class Authorization(View, frozen=True):
    """Money set aside on a certificate until ``expires_at``."""

    authorization_id: str
    certificate_code: str
    status: str
    amount: int
    currency: str
    available: int
    balance: int
    expires_at: str


class Captured(View, frozen=True):
    """Money taken from an authorization."""

    operation_id: str
    type: str
    certificate_code: str
    authorization_id: str
    amount: int
    currency: str
    balance: int
    available: int
    status: str
    version: int


class Voided(View, frozen=True):
    """An authorization, a capture or an activation undone, in whole or in part."""

    operation_id: str
    type: str
    voids: str
    voided_type: str
    certificate_code: str
    amount: int
    currency: str
    balance: int
    available: int
    status: str
    version: int


class Balance(View, frozen=True):
    """Answer to a balance inquiry."""

    certificate_code: str
    status: str
    currency: str | None
    balance: int
    available: int
    expires_at: str | None


class OpenHold(View, frozen=True):
    """A hold that can still be captured: ``amount`` is what is left of ``authorized``."""

    authorization_id: str
    amount: int
    authorized: int
    expires_at: str
    client: str
    reference: str | None


class CertificateView(View, frozen=True):
    """The whole state of a certificate."""

    certificate_code: str
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
    reserved_until: str | None
    activated_at: str | None
    expires_at: str | None
    activation_id: str | None
    holds: list[OpenHold]


class OperationView(View, frozen=True):
    """One entry of a certificate's history. What does not apply is left out."""

    operation_id: str
    type: str
    version: int
    occurred_at: str
    client: str
    channel: str | None
    status: str
    balance: int
    held: int
    available: int
    amount: int | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    authorization_id: str | UnsetType = UNSET
    voids: str | UnsetType = UNSET
    voided_type: str | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    order_line_id: str | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class HistoryPage(View, frozen=True):
    """Operations, oldest first. ``next`` is the ``after`` of the following page, ``null`` on the last one."""

    certificate_code: str
    operations: list[OperationView]
    next: int | None


class OrderLineView(View, frozen=True):
    """One line of the allocation: amounts in minor units, ``null`` where nobody has said yet."""

    order_line_id: str
    planned_denomination: int | None
    collected_amount: int
    certificate_code: str | None
    status: str


class OrderView(View, frozen=True):
    """``order_certificate_allocation`` of an order."""

    order_id: str
    status: str
    order_version: int
    payment_version: int
    channel: str | None
    currency: str | None
    captured_amount: int
    outstanding_amount: int | None
    is_order_settled: bool
    certificate_lines: list[OrderLineView]


_encoder: Final = msgspec.json.Encoder()


def encode(view: View) -> bytes:
    """JSON text of a view."""
    return _encoder.encode(view)


def reservation(state: Certificate) -> Reservation:
    """Answer to a sale. ``status`` is Active at once if the order was paid already."""
    return Reservation(
        certificate_code=state.code,
        status=state.status.value,
        order_id=state.order_id or "",
        order_line_id=state.line_id or "",
        channel=state.channel,
        planned_denomination=state.denomination,
        currency=state.currency,
        reserved_until=rfc3339_or_none(state.reserved_until),
    )


def outcome(state: Certificate, record: Record) -> Authorization | Captured | Voided | None:
    """Answer to an authorization, a capture or a void, from its record alone (``state`` gives code and currency)."""
    body = record.body
    if isinstance(body, r.Held):
        return Authorization(
            authorization_id=identifier(AUTHORIZATION, state.code, record.version),
            certificate_code=state.code,
            status="Authorized",
            amount=body.amount,
            currency=state.currency or "",
            available=record.balance - record.held,
            balance=record.balance,
            expires_at=rfc3339(body.expires_at),
        )
    if isinstance(body, r.Captured):
        return Captured(
            operation_id=identifier(OPERATION, state.code, record.version),
            type="Capture",
            certificate_code=state.code,
            authorization_id=identifier(AUTHORIZATION, state.code, body.hold),
            amount=body.amount,
            currency=state.currency or "",
            balance=record.balance,
            available=record.balance - record.held,
            status=record.status.value,
            version=record.version,
        )
    undone = voided(state.code, body)
    if undone is None:
        return None
    voids, voided_type, amount = undone
    return Voided(
        operation_id=identifier(OPERATION, state.code, record.version),
        type="Void",
        voids=voids,
        voided_type=voided_type,
        certificate_code=state.code,
        amount=amount,
        currency=state.currency or "",
        balance=record.balance,
        available=record.balance - record.held,
        status=record.status.value,
        version=record.version,
    )


def voided(code: str, body: r.AnyBody) -> tuple[str, str, int] | None:
    """Identifier, type and amount of what a void undid; ``None`` if the record is no void."""
    match body:
        case r.HoldVoided():
            return identifier(AUTHORIZATION, code, body.hold), "Authorization", body.amount
        case r.CaptureVoided():
            return identifier(OPERATION, code, body.capture), "Capture", body.amount
        case r.ActivationVoided():
            return identifier(OPERATION, code, body.activation), "Activation", body.amount
        case _:
            return None


def balance(state: Certificate) -> Balance:
    """Answer to a balance inquiry."""
    return Balance(
        certificate_code=state.code,
        status=state.status.value,
        currency=state.currency,
        balance=state.balance,
        available=state.available,
        expires_at=rfc3339_or_none(state.expires_at),
    )


def certificate(state: Certificate) -> CertificateView:
    """The whole state, with its open holds in the order in which they were made."""
    return CertificateView(
        certificate_code=state.code,
        status=state.status.value,
        currency=state.currency,
        denomination=state.denomination,
        balance=state.balance,
        held=state.held,
        available=state.available,
        version=state.version,
        channel=state.channel,
        order_id=state.order_id,
        order_line_id=state.line_id,
        reserved_until=rfc3339_or_none(state.reserved_until),
        activated_at=rfc3339_or_none(state.activated_at),
        expires_at=rfc3339_or_none(state.expires_at),
        activation_id=None if state.activation is None else identifier(OPERATION, state.code, state.activation),
        holds=[
            OpenHold(
                authorization_id=identifier(AUTHORIZATION, state.code, version),
                amount=hold.left,
                authorized=hold.amount,
                expires_at=rfc3339(hold.expires_at),
                client=hold.client,
                reference=hold.reference,
            )
            for version, hold in sorted(state.holds.items())
        ],
    )


def history(code: str, records: list[Record], currency: str | None, *, more: bool) -> HistoryPage:
    """A page of the history; ``more``: there are records after these."""
    return HistoryPage(
        certificate_code=code,
        operations=[operation(code, record, currency) for record in records],
        next=records[-1].version if more and records else None,
    )


_TYPES: Final = {
    r.Reserved: "Reserve",
    r.Joined: "Join",
    r.Kept: "Keep",
    r.Released: "Release",
    r.Activated: "Activate",
    r.Held: "Authorize",
    r.HoldLapsed: "Lapse",
    r.HoldVoided: "Void",
    r.Captured: "Capture",
    r.CaptureVoided: "Void",
    r.ActivationVoided: "Void",
    r.Expired: "Expire",
    r.Blocked: "Block",
    r.Unblocked: "Unblock",
    r.CvcReissued: "ReissueCvc",
}


def operation(code: str, record: Record, currency: str | None) -> OperationView:
    """One entry of the history."""
    body = record.body
    fields: dict[str, object] = {}
    hold = getattr(body, "hold", None)
    undone = voided(code, body)
    match body:
        case r.Held():
            fields["authorization_id"] = identifier(AUTHORIZATION, code, record.version)
        case r.Activated():
            fields["amount"] = body.denomination
        case _ if hold is not None:
            fields["authorization_id"] = identifier(AUTHORIZATION, code, hold)
    if undone is not None:
        fields["voids"], fields["voided_type"], _ = undone
    for name, source in (
        ("amount", "amount"),
        ("order_id", "order_id"),
        ("order_line_id", "line_id"),
        ("reference", "reference"),
        ("reason", "reason"),
    ):
        if (value := getattr(body, source, None)) is not None:
            fields[name] = value
    if isinstance(body, r.Held | r.Activated):
        fields["expires_at"] = rfc3339(body.expires_at)
    if "amount" in fields and currency is not None:
        fields["currency"] = currency
    kind = AUTHORIZATION if isinstance(body, r.Held) else OPERATION
    return OperationView(
        operation_id=identifier(kind, code, record.version),
        type=_TYPES[type(body)],
        version=record.version,
        occurred_at=rfc3339(record.at),
        client=record.client,
        channel=record.channel,
        status=record.status.value,
        balance=record.balance,
        held=record.held,
        available=record.balance - record.held,
        **fields,  # type: ignore[arg-type]
    )


def order(state: Order) -> OrderView:
    """The order's lines: those of the plan, and those that only a sale or a payment has named so far."""
    payment = state.payment
    collected = payment.collected if payment else {}
    named = dict.fromkeys([*state.lines, *state.allocations, *collected])
    return OrderView(
        order_id=state.order_id,
        status="Cancelled" if state.cancelled else "Placed" if state.known else "Unknown",
        order_version=state.order_version,
        payment_version=payment.version if payment else 0,
        channel=state.channel,
        currency=state.currency,
        captured_amount=payment.captured if payment else 0,
        outstanding_amount=payment.outstanding if payment else None,
        is_order_settled=state.settled,
        certificate_lines=[_order_line(state, line_id) for line_id in named],
    )


def _order_line(state: Order, line_id: str) -> OrderLineView:
    line = state.lines.get(line_id)
    allocation = state.allocations.get(line_id)
    return OrderLineView(
        order_line_id=line_id,
        planned_denomination=line.planned if line else None,
        collected_amount=state.collected(line_id),
        certificate_code=allocation.code if allocation else None,
        status=state.line_status(line_id).value,
    )


def exists(state: Certificate | Order) -> bool:
    """Whether there is anything to show: a code that was given back is unknown again."""
    return state.status is not Status.UNKNOWN if isinstance(state, Certificate) else state.version > 0
