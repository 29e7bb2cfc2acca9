"""What was done to a certificate: the answer to an authorization, a capture or a void, and the history."""

from typing import Final

from msgspec import UNSET, UnsetType

from ledger import records as r
from ledger.certificate import Certificate
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.money import rfc3339
from ledger.records import Record
from ledger.views.view import View


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


class OperationView(View, frozen=True):
    """One entry of a certificate's history. What does not apply is left out: after a release the code has no status."""

    operation_id: str
    type: str
    version: int
    occurred_at: str
    client: str
    channel: str | None
    balance: int
    held: int
    available: int
    status: str | UnsetType = UNSET
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
    balance = record.balance - record.written_off
    return Voided(
        operation_id=identifier(OPERATION, state.code, record.version),
        type="Void",
        voids=voids,
        voided_type=voided_type,
        certificate_code=state.code,
        amount=amount,
        currency=state.currency or "",
        balance=balance,
        available=balance - record.held,
        status=record.status.value,
        version=record.version_after,
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
        status=record.status.value or UNSET,
        balance=record.balance,
        held=record.held,
        available=record.balance - record.held,
        **fields,  # type: ignore[arg-type]
    )
