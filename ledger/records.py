"""What can have happened: the bodies of the write-ahead log.

A record is kept for ever. So a body only grows: a new field goes to the end and has a default, and bytes written by
every released version stay in the tests. Bodies carry the amounts that they move, so that postings, replies and
published events are derived from one record alone.
"""

from enum import StrEnum

from msgspec import Struct

from ledger.commands import ANY_RESERVATION, PlannedLine


class Status(StrEnum):
    """Life of a certificate. ``UNKNOWN`` is a code that was never sold, or that was given back."""

    UNKNOWN = ""
    RESERVED = "Reserved"
    ACTIVE = "Active"
    DEPLETED = "Depleted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"


class Body(Struct, frozen=True, array_like=True, tag_field="type"):
    """Base of all record bodies."""


class Reserved(Body, frozen=True, tag="reserved"):
    """The code was reserved for an order line, whose order has yet to confirm it."""

    order_id: str
    line_id: str
    reserved_until: int


class Joined(Body, frozen=True, tag="joined"):
    """The order confirmed the line; with the plan, if it was known."""

    planned: int | None = None
    currency: str | None = None


class Kept(Body, frozen=True, tag="kept"):
    """Money was collected: the reservation stays, and until ``reserved_until`` its order is not asked again."""

    reserved_until: int | None = None


class Released(Body, frozen=True, tag="released"):
    """The reservation ended without a sale."""

    reason: str


class Activated(Body, frozen=True, tag="activated"):
    """The value was issued."""

    order_id: str
    line_id: str
    denomination: int
    currency: str
    expires_at: int
    cvc: bytes
    recipient: bytes | None = None


class Held(Body, frozen=True, tag="held"):
    """Money was set aside for an authorization; the record's version names it."""

    amount: int
    expires_at: int
    reference: str | None = None


class HoldLapsed(Body, frozen=True, tag="hold_lapsed"):
    """What was left of a hold came free by its time-out."""

    hold: int
    amount: int


class HoldVoided(Body, frozen=True, tag="hold_voided"):
    """``amount`` of a hold was released; with the last of it the hold is closed."""

    hold: int
    amount: int
    reason: str | None = None


class Captured(Body, frozen=True, tag="captured"):
    """``amount`` was taken from a hold, and ``released`` of it came free; ``final`` closed it."""

    hold: int
    amount: int
    final: bool
    released: int = 0
    reference: str | None = None


class CaptureVoided(Body, frozen=True, tag="capture_voided"):
    """``amount`` of a capture was put back."""

    capture: int
    amount: int
    reason: str | None = None
    expires_at: int | None = None
    """The certificate had expired; with the money it lives again until then."""


class ActivationVoided(Body, frozen=True, tag="activation_voided"):
    """The sale was undone, nothing having been spent."""

    activation: int
    amount: int
    reason: str | None = None


class Expired(Body, frozen=True, tag="expired"):
    """``amount`` was written off at the end of the certificate's life."""

    amount: int


class Blocked(Body, frozen=True, tag="blocked"):
    """Redemption was stopped."""

    reason: str


class Unblocked(Body, frozen=True, tag="unblocked"):
    """Redemption was allowed again."""

    reason: str


class CvcReissued(Body, frozen=True, tag="cvc_reissued"):
    """The old CVC is void."""

    cvc: bytes


class Placed(Body, frozen=True, tag="placed"):
    """The order's plan, or its cancellation, at ``order_version``."""

    order_version: int
    cancelled: bool
    channel: str
    currency: str
    lines: tuple[PlannedLine, ...] = ()
    source: str = ""


class PaymentRecorded(Body, frozen=True, tag="payment_recorded"):
    """What was collected, cumulatively, at ``payment_version``."""

    payment_version: int
    currency: str
    captured: int
    outstanding: int
    settled: bool
    collected: dict[str, int]
    source: str = ""


class LineAllocated(Body, frozen=True, tag="line_allocated"):
    """A code was put on a line; ``reservation`` is the version of the record that reserved it, if told."""

    line_id: str
    code: str
    reservation: int = ANY_RESERVATION


class LineReleased(Body, frozen=True, tag="line_released"):
    """The code was taken off its line."""

    line_id: str
    code: str
    reason: str


class LinePlanTold(Body, frozen=True, tag="line_plan_told"):
    """The line's certificate knows its plan."""

    line_id: str
    planned: int
    currency: str


class LineActivated(Body, frozen=True, tag="line_activated"):
    """The line's certificate was activated; with what was issued, whatever the plan has become since."""

    line_id: str
    code: str
    denomination: int | None = None
    currency: str | None = None


class LineStuck(Body, frozen=True, tag="line_stuck"):
    """The line's certificate refused what the order needs of it; an operator has to look."""

    line_id: str
    code: str
    errand: str
    refusal: str


AnyBody = (
    Reserved
    | Joined
    | Kept
    | Released
    | Activated
    | Held
    | HoldLapsed
    | HoldVoided
    | Captured
    | CaptureVoided
    | ActivationVoided
    | Expired
    | Blocked
    | Unblocked
    | CvcReissued
    | Placed
    | PaymentRecorded
    | LineAllocated
    | LineReleased
    | LinePlanTold
    | LineActivated
    | LineStuck
)


class Record(Struct, frozen=True, array_like=True):
    """One entry of an entity's write-ahead log.

    ``status``, ``balance`` and ``held`` are as after the record (minor units; empty and 0 for an order), so that a
    reply can be given again and a page of history shown without folding all that came before.
    """

    schema: int
    version: int
    at: int
    client: str
    channel: str | None
    key: bytes
    fingerprint: bytes
    status: Status
    balance: int
    held: int
    body: AnyBody
    key_id: str = ""
    """Of the key or the token that the caller has shown; empty: nobody called, or it is older than they are."""
    address: bytes = b""
    """Where the call came from, packed: 4 bytes (IPv4), 16 (IPv6), or none. Never a shopper's (decision 0022)."""

    @property
    def written_off(self) -> int:
        """What the next record, of the same append, writes off: all that a void of a hold frees after the expiry."""
        return self.body.amount if isinstance(self.body, HoldVoided) and self.status is Status.EXPIRED else 0

    @property
    def version_after(self) -> int:
        """Version of the certificate once what this record frees has been written off."""
        return self.version + 1 if self.written_off else self.version


RECORD_SCHEMA = 1
