"""What a certificate is, and how a record changes it."""

from enum import StrEnum
from typing import Final

from immutables import Map
from msgspec import Struct
from msgspec.structs import replace

from ledger import records as r
from ledger.commands import ANY_RESERVATION, Allocate, LapseAllocation, Origin, same_reservation
from ledger.errands import Errand
from ledger.identifiers import order_entity
from ledger.policy import Policy
from ledger.records import RECORD_SCHEMA, Record, Status

LAPSES_MAX: Final = 200
"""Holds that lapse in one go; the rest stay closed to captures, and come free with the next command or timer."""


class Closed(StrEnum):
    """Why a hold is no longer open."""

    CAPTURED = "captured"
    VOIDED = "voided"
    LAPSED = "lapsed"


class Hold(Struct, frozen=True, array_like=True):
    """Money set aside. ``left`` is what can still be captured (minor units); ``expires_at`` in milliseconds."""

    amount: int
    left: int
    expires_at: int
    client: str
    reference: str | None = None


class ClosedHold(Struct, frozen=True, array_like=True):
    """What is remembered of a hold that is no longer open."""

    reason: Closed
    client: str


class Capture(Struct, frozen=True, array_like=True):
    """Money taken. ``voided`` of ``amount`` has been put back."""

    amount: int
    voided: int
    hold: int
    client: str


class Certificate(Struct, frozen=True, kw_only=True):
    """State of one certificate. Holds and captures are keyed by the version of the record that made them.

    Maps are persistent (they share structure), so that a state costs little to keep while its successor is being made
    durable, even with many thousands of open holds.
    """

    code: str
    version: int = 0
    updated_at: int = 0
    status: Status = Status.UNKNOWN
    channel: str | None = None
    order_id: str | None = None
    line_id: str | None = None
    reservation: int = ANY_RESERVATION
    """Version of the record that reserved the code for its line."""
    joined: bool = False
    reserved_until: int | None = None
    currency: str | None = None
    denomination: int | None = None
    """Planned while reserved, issued once active."""
    seller: str | None = None
    """Client that reserved the code."""
    activation: int | None = None
    activated_at: int | None = None
    expires_at: int | None = None
    cvc: bytes | None = None
    recipient: bytes | None = None
    balance: int = 0
    held: int = 0
    holds: Map[int, Hold] = Map()
    closed: Map[int, ClosedHold] = Map()
    captures: Map[int, Capture] = Map()
    next_lapse: int | None = None
    """No hold lapses before this; it may be early, never late."""
    blocked: bool = False
    """Outlives an expiry: the money of a void must not come back unblocked."""

    @property
    def available(self) -> int:
        """What can still be authorized, in minor units."""
        return self.balance - self.held

    def sold_to(self, order_id: str, line_id: str, reservation: int = ANY_RESERVATION) -> bool:
        """Whether the code belongs to this line, and by this reservation."""
        return self.order_id == order_id and self.line_id == line_id and same_reservation(self.reservation, reservation)


def evolve(state: Certificate, record: Record) -> Certificate:
    """State after ``record``.

    Raises:
        ValueError: the record does not belong after this state, or its figures contradict it: the log is damaged.
    """
    if record.version != state.version + 1:
        message = f"{state.code}: record {record.version} cannot follow version {state.version}"
        raise ValueError(message)
    after = _apply(state, record.version, record.at, Origin(record.client, record.channel), record.body)
    if (after.status, after.balance, after.held) != (record.status, record.balance, record.held):
        message = f"{state.code}: record {record.version} contradicts the records before it"
        raise ValueError(message)
    return after


def advance(state: Certificate, now: int, origin: Origin, *bodies: r.AnyBody) -> tuple[tuple[Record, ...], Certificate]:
    """Records for ``bodies``, and the state they lead to.

    The record that is the outcome of the command carries the idempotency key: the last one, or the one before a
    write-off that follows from it.
    """
    made: list[Record] = []
    outcome = len(bodies) - (2 if len(bodies) > 1 and isinstance(bodies[-1], r.Expired) else 1)
    for position, body in enumerate(bodies):
        version = state.version + 1
        state = _apply(state, version, now, origin, body)
        keyed = position == outcome
        made.append(
            Record(
                schema=RECORD_SCHEMA,
                version=version,
                at=now,
                client=origin.client,
                channel=origin.channel,
                key=origin.key if keyed else b"",
                fingerprint=origin.fingerprint if keyed else b"",
                status=state.status,
                balance=state.balance,
                held=state.held,
                body=body,
                key_id=origin.key_id,
                address=origin.address,
            )
        )
    return tuple(made), state


def due(state: Certificate, now: int) -> tuple[r.AnyBody, ...]:
    """What time alone has brought about: holds that lapsed, then the end of the certificate."""
    bodies: list[r.AnyBody] = []
    freed = 0
    if state.next_lapse is not None and state.next_lapse <= now:
        lapsed = sorted((hold.expires_at, version) for version, hold in state.holds.items() if hold.expires_at <= now)
        # the earliest goes last: with it the next one has to be looked for, and once is enough
        for _, version in reversed(lapsed[:LAPSES_MAX]):
            bodies.append(r.HoldLapsed(version, state.holds[version].left))
            freed += state.holds[version].left
    ends = state.expires_at is not None and state.expires_at <= now
    if ends and state.status in {Status.ACTIVE, Status.DEPLETED, Status.BLOCKED}:
        bodies.append(r.Expired(state.available + freed))
    elif freed and state.status is Status.EXPIRED:
        # a hold outlives the certificate; what it gives back afterwards is written off as the rest was
        bodies.append(r.Expired(freed))
    return tuple(bodies)


def next_due(state: Certificate, policy: Policy) -> int | None:
    """When the certificate's timer has to wake it (milliseconds), or ``None``."""
    match state.status:
        case Status.RESERVED:
            return state.reserved_until if state.joined else state.updated_at + policy.errand_retry_ms
        case Status.ACTIVE | Status.DEPLETED | Status.BLOCKED:
            candidates = [at for at in (state.next_lapse, state.expires_at) if at is not None]
            return min(candidates, default=None)
        case _:
            return state.next_lapse


def errands(state: Certificate, now: int) -> tuple[Errand, ...]:
    """What the certificate needs of its order: to be put on its line, or to be let go when its time is up."""
    if state.status is not Status.RESERVED or state.order_id is None or state.line_id is None:
        return ()
    command: Allocate | LapseAllocation | None = None
    if not state.joined:
        command = Allocate(state.line_id, state.code, reservation=state.reservation)
    elif state.reserved_until is not None and state.reserved_until <= now:
        command = LapseAllocation(state.line_id, state.code, state.reservation)
    if command is None:
        return ()
    return (Errand(order_entity(state.order_id), command, state.line_id, state.code, state.order_id),)


def _apply(state: Certificate, version: int, at: int, origin: Origin, body: r.AnyBody) -> Certificate:
    match body:
        case r.Held():
            hold = Hold(body.amount, body.amount, body.expires_at, origin.client, body.reference)
            lapse = body.expires_at if state.next_lapse is None else min(state.next_lapse, body.expires_at)
            return replace(
                state,
                version=version,
                updated_at=at,
                held=state.held + body.amount,
                holds=state.holds.set(version, hold),
                next_lapse=lapse,
            )
        case r.Captured():
            hold = state.holds[body.hold]
            left = hold.left - body.amount - body.released
            balance = state.balance - body.amount
            return replace(
                _with_hold(state, body.hold, left, Closed.CAPTURED, closes=body.final or left == 0),
                version=version,
                updated_at=at,
                balance=balance,
                held=state.held - body.amount - body.released,
                status=_spendable(state.status, balance),
                captures=state.captures.set(version, Capture(body.amount, 0, body.hold, origin.client)),
            )
        case r.HoldVoided() | r.HoldLapsed():
            left = state.holds[body.hold].left - body.amount
            reason = Closed.VOIDED if isinstance(body, r.HoldVoided) else Closed.LAPSED
            return replace(
                _with_hold(state, body.hold, left, reason, closes=left == 0),
                version=version,
                updated_at=at,
                held=state.held - body.amount,
            )
        case r.CaptureVoided():
            capture = state.captures[body.capture]
            balance = state.balance + body.amount
            return replace(
                state,
                version=version,
                updated_at=at,
                balance=balance,
                status=_spendable(state.status, balance) if body.expires_at is None else _alive(blocked=state.blocked),
                expires_at=state.expires_at if body.expires_at is None else body.expires_at,
                captures=state.captures.set(body.capture, replace(capture, voided=capture.voided + body.amount)),
            )
        case _:
            return replace(_apply_life(state, version, at, origin, body), version=version, updated_at=at)


def _apply_life(state: Certificate, version: int, at: int, origin: Origin, body: r.AnyBody) -> Certificate:  # noqa: C901, PLR0911
    match body:
        case r.Reserved():
            return Certificate(
                code=state.code,
                status=Status.RESERVED,
                channel=origin.channel,
                seller=origin.client,
                order_id=body.order_id,
                line_id=body.line_id,
                reservation=version,
                reserved_until=body.reserved_until,
            )
        case r.Joined():
            return replace(state, joined=True, denomination=body.planned, currency=body.currency)
        case r.Kept():
            return replace(state, reserved_until=body.reserved_until)
        case r.Released():
            return Certificate(code=state.code)
        case r.Activated():
            return replace(
                state,
                status=_spendable(Status.ACTIVE, body.denomination),
                joined=True,
                reserved_until=None,
                currency=body.currency,
                denomination=body.denomination,
                balance=body.denomination,
                activation=version,
                activated_at=at,
                expires_at=body.expires_at,
                cvc=body.cvc,
                recipient=body.recipient,
            )
        case r.ActivationVoided():
            return replace(state, status=Status.CANCELLED, balance=state.balance - body.amount)
        case r.Expired():
            return replace(state, status=Status.EXPIRED, balance=state.balance - body.amount)
        case r.Blocked():
            return replace(state, status=Status.BLOCKED, blocked=True)
        case r.Unblocked():
            return replace(state, status=_spendable(Status.ACTIVE, state.balance), blocked=False)
        case r.CvcReissued():
            return replace(state, cvc=body.cvc)
        case _:
            message = f"{state.code}: {type(body).__name__} is not a certificate's record"
            raise ValueError(message)


def _with_hold(state: Certificate, version: int, left: int, reason: Closed, *, closes: bool) -> Certificate:
    if not closes:
        return replace(state, holds=state.holds.set(version, replace(state.holds[version], left=left)))
    hold = state.holds[version]
    holds = state.holds.delete(version)
    lapse = state.next_lapse if holds else None
    if lapse is not None and lapse == hold.expires_at and reason is Closed.LAPSED:
        # only a lapse looks for the next one: for a capture or a void an early timer costs less than the search
        lapse = _next_lapse(holds, lapse)
    return replace(
        state, holds=holds, closed=state.closed.set(version, ClosedHold(reason, hold.client)), next_lapse=lapse
    )


def _next_lapse(holds: Map[int, Hold], lapse: int) -> int:
    """The earliest time at which one of ``holds`` lapses; the search ends at one that lapses with ``lapse``."""
    earliest = next(iter(holds.values())).expires_at
    for hold in holds.values():
        if hold.expires_at <= lapse:
            return lapse
        earliest = min(earliest, hold.expires_at)
    return earliest


def _alive(*, blocked: bool) -> Status:
    """Status of a certificate to which money came back after its expiry."""
    return Status.BLOCKED if blocked else Status.ACTIVE


def _spendable(status: Status, balance: int) -> Status:
    """Active and Depleted follow the balance; a blocked or expired certificate stays what it is."""
    if status in {Status.ACTIVE, Status.DEPLETED}:
        return Status.ACTIVE if balance > 0 else Status.DEPLETED
    return status
