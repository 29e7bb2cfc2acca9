"""The messages on the wire, as a caller or a subscriber of the service reads and writes them.

Money is an integer in minor units (`150000` is 1 500.00), times are RFC 3339 text in UTC. Fields that a counterpart
does not need are left out: msgspec ignores what it is not asked for, so that the service can add fields.
"""

from datetime import UTC, datetime
from typing import Literal

import msgspec

CertificateStatus = Literal["Reserved", "Active", "Depleted", "Blocked", "Expired", "Cancelled"]
TransactionType = Literal["Activate", "Capture", "Void", "Expire"]


def rfc3339_now() -> str:
    """The time of day as every message has it, for example `2026-11-23T07:00:00.000Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all messages share: they do not change, and their fields are camelCase in JSON."""

    def fields(self, *names: str) -> dict[str, object]:
        """Some of the fields, by the names that they have in JSON."""
        whole: dict[str, object] = msgspec.to_builtins(self)
        return {name: whole[name] for name in names}


# ------------------------------------------------------------------------------------------- what the HTTP API answers


class Reservation(Message, frozen=True, kw_only=True):
    """The answer to an authorize with the purpose Sale."""

    certificate_code: str
    status: CertificateStatus
    order_id: str
    order_line_id: str
    channel: str
    planned_denomination: int | None
    currency: str | None
    reserved_until: str | None = None


class Authorization(Message, frozen=True, kw_only=True):
    """The answer to an authorize with the purpose Redemption: a hold on part of the balance."""

    authorization_id: str
    certificate_code: str
    status: str
    amount: int
    currency: str
    available: int
    balance: int
    expires_at: str


class Operation(Message, frozen=True, kw_only=True):
    """The answer to a capture or a void."""

    operation_id: str
    type: Literal["Capture", "Void"]
    certificate_code: str
    amount: int
    currency: str | None
    balance: int
    available: int
    status: CertificateStatus
    version: int
    voids: str | None = None
    voided_type: str | None = None


class Balance(Message, frozen=True, kw_only=True):
    """The answer to a balance inquiry."""

    certificate_code: str
    status: CertificateStatus
    currency: str | None
    balance: int
    available: int
    expires_at: str | None = None


class CertificateView(Message, frozen=True, kw_only=True):
    """What `GET /certificates/{code}` says, as far as the counterparts look at it."""

    status: CertificateStatus
    balance: int
    available: int
    version: int


class HistoryEntry(Message, frozen=True, kw_only=True):
    """One entry of a certificate's history."""

    operation_id: str
    type: str
    version: int
    amount: int | None = None
    voided_type: str | None = None
    occurred_at: str | None = None


class HistoryPage(Message, frozen=True, kw_only=True):
    """One page of a certificate's history, oldest first; `next` leads to the next page, null on the last."""

    operations: tuple[HistoryEntry, ...]
    next: str | int | None = None


class OrderLineView(Message, frozen=True, kw_only=True):
    """One line of `order_certificate_allocation`."""

    order_line_id: str
    planned_denomination: int | None = None
    collected_amount: int | None = None
    certificate_code: str | None = None
    status: str | None = None


class OrderView(Message, frozen=True, kw_only=True):
    """What `GET /orders/{orderId}` says: how far the plan of each line is covered."""

    order_id: str
    payment_version: int | None = None
    certificate_lines: tuple[OrderLineView, ...] = ()

    def collected(self) -> dict[str, int]:
        """What was collected for each line (`line 1`, …), in minor units."""
        return {f"line {line.order_line_id}": line.collected_amount or 0 for line in self.certificate_lines}

    def planned(self) -> dict[str, int | None]:
        """What each line (`line 1`, …) is to be worth, in minor units; null until the order itself is known."""
        return {f"line {line.order_line_id}": line.planned_denomination for line in self.certificate_lines}


class Part(Message, frozen=True, kw_only=True):
    """One part of the service in `GET /health/ready`."""

    status: Literal["ok", "degraded", "down"]
    detail: str = ""


class Readiness(Message, frozen=True, kw_only=True):
    """What `GET /health/ready` says."""

    status: Literal["ok", "degraded", "down"]
    components: dict[str, Part]

    def __str__(self) -> str:
        """As people read it: `degraded (kafka degraded: it waits)`."""
        ill = [
            f"{name} {part.status}{f': {part.detail}' if part.detail else ''}"
            for name, part in self.components.items()
            if part.status != "ok"
        ]
        return f"{self.status} ({', '.join(ill)})" if ill else self.status


# --------------------------------------------------------------------------------------------- what goes in over Kafka


class Recipient(Message, frozen=True, kw_only=True):
    """Who is to get a certificate; the CVC goes to this phone."""

    name: str
    phone: str
    locale: str = "ru"


class CertificateLine(Message, frozen=True, kw_only=True):
    """One GiftCertificate line of an order."""

    order_line_id: str
    planned_denomination: int
    intended_recipient: Recipient


class SalesOrder(Message, frozen=True, kw_only=True):
    """An event of `All_SalesOrder`."""

    order_id: str
    order_version: int = 1
    status: Literal["Placed", "Cancelled"] = "Placed"
    channel: str = "OnlineStore"
    currency: str
    certificate_lines: tuple[CertificateLine, ...]
    occurred_at: str = msgspec.field(default_factory=rfc3339_now)

    @property
    def total(self) -> int:
        """What the certificates of the order cost together, in minor units."""
        return sum(line.planned_denomination for line in self.certificate_lines)


class Collected(Message, frozen=True, kw_only=True):
    """How much of the money of an order was collected for one line, in all."""

    order_line_id: str
    collected_amount: int


class Payment(Message, frozen=True, kw_only=True):
    """An event of `All_Payments`; every amount is cumulative for the order."""

    order_id: str
    payment_version: int
    currency: str
    captured_amount: int
    outstanding_amount: int
    is_order_settled: bool
    certificate_allocations: tuple[Collected, ...]
    occurred_at: str = msgspec.field(default_factory=rfc3339_now)


# -------------------------------------------------------------------------------------------- what comes out over Kafka


class StateEvent(Message, frozen=True, kw_only=True):
    """An event of `GiftCertificateState`: the certificate as it is after a change."""

    event_id: str
    code: str
    status: CertificateStatus
    currency: str | None
    denomination: int | None
    balance: int
    version: int
    order_id: str | None
    order_line_id: str | None


class TransactionEvent(Message, frozen=True, kw_only=True):
    """An event of `GiftCertificateTransaction`: one movement of money."""

    event_id: str
    transaction_id: str
    type: TransactionType
    code: str
    amount: int
    currency: str
    balance_before: int
    balance_after: int
    version: int
    voided_transaction_id: str | None = None
    order_id: str | None = None
    order_line_id: str | None = None


# ------------------------------------------------------------------------------------------------------ the SMS gateway


class Sms(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the service asks the corporate SMS gateway to send."""

    message_id: str
    to: str
    text: str


class ReceivedSms(Message, frozen=True, kw_only=True):
    """A message as it lies in the inbox of the SMS gateway."""

    message_id: str
    to: str
    text: str
    received_at: str
