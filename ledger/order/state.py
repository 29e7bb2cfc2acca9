"""What an order is, how a record changes it, and what it owes its certificates."""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from ledger import records as r
from ledger.commands import ANY_RESERVATION, Activate, Join, Origin, Release
from ledger.errands import Errand
from ledger.identifiers import certificate_entity
from ledger.policy import Policy
from ledger.records import RECORD_SCHEMA, Record, Status


class LineStatus(StrEnum):
    """What ``GET /orders/{orderId}`` says of a line."""

    PLANNED = "Planned"
    RESERVED = "Reserved"
    ACTIVATED = "Activated"
    COVERAGE_SHORT = "CoverageShort"
    CANCELLED = "Cancelled"
    STUCK = "Stuck"


class Line(Struct, frozen=True, array_like=True):
    """A line of the plan: ``planned`` in minor units, ``recipient`` sealed."""

    planned: int
    recipient: bytes | None = None


class Allocation(Struct, frozen=True, array_like=True):
    """A code on a line, with what its certificate was told last."""

    code: str
    told: tuple[int, str] | None = None
    activated: bool = False
    stuck: str | None = None
    """Refusal of the certificate that needs a person."""
    reservation: int = ANY_RESERVATION


class Payment(Struct, frozen=True, array_like=True):
    """The highest payment version seen; amounts in minor units, cumulative for the order."""

    version: int
    currency: str
    captured: int
    outstanding: int
    settled: bool
    collected: dict[str, int]


class Order(Struct, frozen=True, kw_only=True):
    """State of one order. Before ``All_SalesOrder`` comes, ``order_version`` is 0 and there is no plan."""

    order_id: str
    version: int = 0
    updated_at: int = 0
    order_version: int = 0
    cancelled: bool = False
    channel: str | None = None
    currency: str | None = None
    lines: dict[str, Line] = {}
    allocations: dict[str, Allocation] = {}
    payments: dict[str, Payment] = {}
    """The latest by currency: before the order's event comes, nobody knows which of them contradicts it."""

    @property
    def known(self) -> bool:
        """Whether the order's own event has come."""
        return self.order_version > 0

    @property
    def payment(self) -> Payment | None:
        """The latest payment in the order's currency; before the order is known, the latest of all."""
        if self.currency is not None:
            return self.payments.get(self.currency)
        return max(self.payments.values(), key=lambda payment: payment.version, default=None)

    @property
    def settled(self) -> bool:
        """Paid in full: by its flag and by what is outstanding, which have to agree."""
        payment = self.payment
        return self.known and payment is not None and payment.settled and payment.outstanding == 0

    def collected(self, line_id: str) -> int:
        """What was collected on a line so far, in minor units."""
        payment = self.payment
        return payment.collected.get(line_id, 0) if payment else 0

    def line_of(self, code: str) -> str | None:
        """The line that has ``code``."""
        return next((line_id for line_id, held in self.allocations.items() if held.code == code), None)

    def issued(self, line_id: str) -> bool:
        """Whether the line's certificate was activated."""
        allocation = self.allocations.get(line_id)
        return allocation is not None and allocation.activated

    def covered(self, line_id: str) -> bool:
        """Whether what was collected pays for the plan."""
        line = self.lines.get(line_id)
        return line is not None and self.collected(line_id) >= line.planned

    def closed_to(self, line_id: str) -> bool:
        """Whether nothing is to be sold on a line: the order is cancelled, or is known and does not have it."""
        return self.cancelled or (self.known and line_id not in self.lines)

    def line_status(self, line_id: str) -> LineStatus:
        """Where a line stands."""
        allocation = self.allocations.get(line_id)
        if self.issued(line_id):
            return LineStatus.ACTIVATED
        if allocation is not None and allocation.stuck is not None:
            return LineStatus.STUCK
        if self.closed_to(line_id):
            return LineStatus.CANCELLED
        if self.settled and not self.covered(line_id):
            return LineStatus.COVERAGE_SHORT
        return LineStatus.PLANNED if allocation is None else LineStatus.RESERVED

    def activation(self, line_id: str) -> Activate | None:
        """The command that the line's certificate is due, or ``None`` while the line is not paid for."""
        line = self.lines.get(line_id)
        if line is None or self.currency is None or self.cancelled or not self.settled or not self.covered(line_id):
            return None
        held = self.allocations.get(line_id)
        reservation = ANY_RESERVATION if held is None else held.reservation
        return Activate(self.order_id, line_id, line.planned, self.currency, line.recipient, reservation=reservation)


def evolve(state: Order, record: Record) -> Order:
    """State after ``record``.

    Raises:
        ValueError: the record does not belong after this state: the log is damaged.
    """
    if record.version != state.version + 1:
        message = f"{state.order_id}: record {record.version} cannot follow version {state.version}"
        raise ValueError(message)
    return replace(_apply(state, record.body), version=record.version, updated_at=record.at)


def advance(state: Order, now: int, origin: Origin, *bodies: r.AnyBody) -> tuple[tuple[Record, ...], Order]:
    """Records for ``bodies``, and the state they lead to. The last one carries the idempotency key of the origin."""
    made = []
    for position, body in enumerate(bodies, start=1):
        keyed = position == len(bodies)
        record = Record(
            schema=RECORD_SCHEMA,
            version=state.version + 1,
            at=now,
            client=origin.client,
            channel=origin.channel,
            key=origin.key if keyed else b"",
            fingerprint=origin.fingerprint if keyed else b"",
            status=Status.UNKNOWN,
            balance=0,
            held=0,
            body=body,
            key_id=origin.key_id,
            address=origin.address,
        )
        made.append(record)
        state = evolve(state, record)
    return tuple(made), state


def errands(state: Order, _now: int) -> tuple[Errand, ...]:
    """What the order's certificates have yet to be told: to be active, to be given back, to know their plan."""
    if not state.known:
        return ()
    owed = []
    for line_id, allocation in state.allocations.items():
        if allocation.activated or allocation.stuck is not None:
            continue
        command: Activate | Release | Join | None = state.activation(line_id)
        line = state.lines.get(line_id)
        if state.cancelled or line is None:
            reason = "order cancelled" if state.cancelled else "line not in the order"
            command = Release(state.order_id, line_id, reason, allocation.reservation)
        elif command is None and state.currency is not None and allocation.told != (line.planned, state.currency):
            command = Join(state.order_id, line_id, line.planned, state.currency, allocation.reservation)
        if command is not None:
            owed.append(Errand(certificate_entity(allocation.code), command, line_id, allocation.code, state.order_id))
    return tuple(owed)


def next_due(state: Order, policy: Policy) -> int | None:
    """When the order's timer has to wake it (milliseconds): soon while it owes anything, else never."""
    return state.updated_at + policy.errand_retry_ms if errands(state, state.updated_at) else None


def _apply(state: Order, body: r.AnyBody) -> Order:  # noqa: PLR0911 - one for each kind of record
    match body:
        case r.Placed():
            return replace(
                state,
                order_version=body.order_version,
                cancelled=body.cancelled,
                channel=body.channel,
                currency=body.currency,
                lines=_planned(state, body),
            )
        case r.PaymentRecorded():
            payment = Payment(
                body.payment_version, body.currency, body.captured, body.outstanding, body.settled, body.collected
            )
            return replace(state, payments=state.payments | {payment.currency: payment})
        case r.LineAllocated():
            return _with(state, body.line_id, Allocation(body.code, reservation=body.reservation))
        case r.LineReleased():
            kept = {line_id: held for line_id, held in state.allocations.items() if line_id != body.line_id}
            return replace(state, allocations=kept)
        case r.LinePlanTold():
            told = (body.planned, body.currency)
            return _with(state, body.line_id, replace(state.allocations[body.line_id], told=told))
        case r.LineActivated():
            return _with(_issued(state, body), body.line_id, replace(state.allocations[body.line_id], activated=True))
        case r.LineStuck():
            return _with(state, body.line_id, replace(state.allocations[body.line_id], stuck=body.refusal))
        case _:
            message = f"{state.order_id}: {type(body).__name__} is not an order's record"
            raise ValueError(message)


def _planned(state: Order, body: r.Placed) -> dict[str, Line]:
    """The new plan; lines that are active already keep what they were sold with."""
    issued = {line_id: held for line_id, held in state.allocations.items() if held.activated}
    lines = {line.line_id: Line(line.planned, line.recipient) for line in body.lines if line.line_id not in issued}
    if body.cancelled and not body.lines:
        lines = {line_id: line for line_id, line in state.lines.items() if line_id not in issued}
    return {line_id: line for line_id, line in state.lines.items() if line_id in issued} | lines


def _issued(state: Order, body: r.LineActivated) -> Order:
    """The line shows what was issued, even if the plan has changed or lost the line since."""
    if body.denomination is None:
        return state
    line = state.lines.get(body.line_id)
    return replace(state, lines=state.lines | {body.line_id: Line(body.denomination, line.recipient if line else None)})


def _with(state: Order, line_id: str, allocation: Allocation) -> Order:
    return replace(state, allocations=state.allocations | {line_id: allocation})
