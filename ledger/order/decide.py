"""The order's rules.

``All_SalesOrder`` and ``All_Payments`` may come twice, late and in any order; each carries a version, and the highest wins. Order of
precedence of an allocation: ``OrderCancelled``, ``OrderLineNotFound``, ``OrderLineAlreadyAllocated``.
"""

from ledger import commands as c
from ledger import records as r
from ledger.commands import Origin
from ledger.decision import Decision, refuse
from ledger.errands import Grant
from ledger.order.state import Order, advance
from ledger.policy import DEFAULT_POLICY, Policy
from ledger.refusals import Refusal


def decide(
    state: Order, command: c.OrderCommand, origin: Origin, now: int, _policy: Policy = DEFAULT_POLICY
) -> Decision[Order]:
    """What ``command`` comes to; ``now`` in milliseconds."""
    now = max(now, state.updated_at)
    match command:
        case c.Place():
            return _place(state, command, origin, now)
        case c.RecordPayment():
            return _record_payment(state, command, origin, now)
        case c.Allocate():
            return _allocate(state, command, origin, now)
        case c.LapseAllocation():
            return _lapse(state, command, origin, now)
        case c.Report():
            return _report(state, command, origin, now)
        case c.Tick() | c.Look():
            return Decision(state=state)
        case _:
            message = f"{type(command).__name__} is not an order's command"
            raise TypeError(message)


def grant(state: Order, line_id: str, *, retained: bool = False) -> Grant:
    """What the certificate on ``line_id`` is to know."""
    line = state.lines.get(line_id)
    if line is None:
        return Grant(retained=retained)
    return Grant(line.planned, state.currency, state.activation(line_id), retained)


def _place(state: Order, command: c.Place, origin: Origin, now: int) -> Decision[Order]:
    # at one version a cancellation outranks the order itself, so that their order of arrival does not matter
    if (command.order_version, command.cancelled) <= (state.order_version, state.cancelled):
        return Decision(state=state)
    if state.currency is not None and command.currency != state.currency:
        return _contradiction(state, command.currency)
    bodies = r.Placed(
        command.order_version, command.cancelled, command.channel, command.currency, command.lines, command.source
    )
    return _accept(state, now, origin, bodies)


def _record_payment(state: Order, command: c.RecordPayment, origin: Origin, now: int) -> Decision[Order]:
    if state.currency is not None and command.currency != state.currency:
        return _contradiction(state, command.currency)
    # a payment that came before its order and contradicts it gives way to any payment that does not
    contradicts = state.payment is not None and state.known and state.payment.currency != state.currency
    if state.payment is not None and not contradicts and command.payment_version <= state.payment.version:
        return Decision(state=state)
    body = r.PaymentRecorded(
        command.payment_version,
        command.currency,
        command.captured,
        command.outstanding,
        command.settled,
        command.collected,
        command.source,
    )
    return _accept(state, now, origin, body)


def _allocate(state: Order, command: c.Allocate, origin: Origin, now: int) -> Decision[Order]:
    allocation = state.allocations.get(command.line_id)
    if allocation is not None and allocation.code == command.code and allocation.activated:
        return Decision(state=state)
    if state.cancelled:
        return refuse(state, Refusal.ORDER_CANCELLED, "The order is cancelled.")
    if state.known and command.line_id not in state.lines:
        return refuse(state, Refusal.ORDER_LINE_NOT_FOUND, "The order has no such certificate line.")
    if allocation is not None and allocation.code != command.code:
        return refuse(state, Refusal.ORDER_LINE_ALREADY_ALLOCATED, "The line has another code already.")
    if allocation is not None or command.probe:
        return Decision(state=state)
    bodies: list[r.AnyBody] = [r.LineAllocated(command.line_id, command.code)]
    line = state.lines.get(command.line_id)
    if line is not None and state.currency is not None:
        # the grant that goes back with this record tells the plan
        bodies.append(r.LinePlanTold(command.line_id, line.planned, state.currency))
    return _accept(state, now, origin, *bodies)


def _lapse(state: Order, command: c.LapseAllocation, origin: Origin, now: int) -> Decision[Order]:
    allocation = state.allocations.get(command.line_id)
    if allocation is None or allocation.code != command.code:
        return Decision(state=state)
    if allocation.activated or state.collected(command.line_id) > 0:
        return Decision(state=state)
    return _accept(state, now, origin, r.LineReleased(command.line_id, command.code, "lapsed"))


def retained(state: Order, command: c.LapseAllocation) -> bool:
    """Whether the line still has the code after the lapse was decided: then the reservation stays."""
    allocation = state.allocations.get(command.line_id)
    return allocation is not None and allocation.code == command.code


def _report(state: Order, command: c.Report, origin: Origin, now: int) -> Decision[Order]:
    allocation = state.allocations.get(command.line_id)
    if allocation is None or allocation.code != command.code or allocation.activated:
        return Decision(state=state)
    line = state.lines.get(command.line_id)
    body: r.AnyBody
    if command.refusal is None and command.errand == "release":
        body = r.LineReleased(command.line_id, command.code, "released")
    elif command.refusal is None and command.errand == "activate":
        body = r.LineActivated(command.line_id, command.code)
    elif command.refusal is None and command.errand == "join" and line is not None and command.planned is not None:
        body = r.LinePlanTold(command.line_id, command.planned, command.currency or "")
    elif command.refusal == Refusal.CODE_ALREADY_SOLD and command.errand == "release":
        body = r.LineActivated(command.line_id, command.code)
    else:
        body = r.LineStuck(command.line_id, command.code, command.errand, command.refusal or "")
    return _accept(state, now, origin, body)


def _accept(state: Order, now: int, origin: Origin, *bodies: r.AnyBody) -> Decision[Order]:
    records, after = advance(state, now, origin, *bodies)
    return Decision(state=after, records=records)


def _contradiction(state: Order, currency: str) -> Decision[Order]:
    return refuse(state, Refusal.CURRENCY_MISMATCH, f"The order is in {state.currency}, the event in {currency}.")
