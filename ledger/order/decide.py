"""The order's rules.

``All_SalesOrder`` and ``All_Payments`` may come twice, late and in any order; each carries a version, and the highest
wins. Order of precedence of an allocation: ``OrderCancelled``, ``OrderLineNotFound``, ``OrderLineAlreadyAllocated``,
``CodeAlreadySold``.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ledger import commands as c
from ledger import records as r
from ledger.commands import Origin, same_reservation
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
    if isinstance(command, c.Tick | c.Look):
        return Decision(state=state)
    rule = _RULES.get(type(command))
    if rule is None:
        message = f"{type(command).__name__} is not an order's command"
        raise TypeError(message)
    return rule(state, command, origin, now)


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
    # a line that was activated keeps what it was sold with: what is told of its recipient now is of no use to anybody
    lines = tuple(replace(line, recipient=None) if state.issued(line.line_id) else line for line in command.lines)
    body = r.Placed(command.order_version, command.cancelled, command.channel, command.currency, lines, command.source)
    keys = tuple(key for key in command.keys if not state.issued(key.line_id))
    return replace(_accept(state, now, origin, body), keys=keys)


def _record_payment(state: Order, command: c.RecordPayment, origin: Origin, now: int) -> Decision[Order]:
    if state.currency is not None and command.currency != state.currency:
        return _contradiction(state, command.currency)
    latest = state.payments.get(command.currency)
    if latest is not None and command.payment_version <= latest.version:
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


def _allocate(  # noqa: PLR0911 - one for each refusal
    state: Order, command: c.Allocate, origin: Origin, now: int
) -> Decision[Order]:
    allocation = state.allocations.get(command.line_id)
    if allocation is not None and allocation.code == command.code and allocation.activated:
        return Decision(state=state)
    if state.cancelled:
        return refuse(state, Refusal.ORDER_CANCELLED, "The order is cancelled.")
    if state.known and command.line_id not in state.lines:
        return refuse(state, Refusal.ORDER_LINE_NOT_FOUND, "The order has no such certificate line.")
    if allocation is not None and allocation.code != command.code:
        return refuse(state, Refusal.ORDER_LINE_ALREADY_ALLOCATED, "The line has another code already.")
    if state.line_of(command.code) not in {None, command.line_id}:
        return refuse(state, Refusal.CODE_ALREADY_SOLD, "The code is on another line of the order.")
    if command.probe or (allocation is not None and allocation.reservation >= command.reservation):
        return Decision(state=state)
    # the grant that goes back tells the plan, and yet the line counts as not told: so the certificate is asked, and
    # should it have been given back before this command came, it says so
    return _accept(state, now, origin, r.LineAllocated(command.line_id, command.code, command.reservation))


def _lapse(state: Order, command: c.LapseAllocation, origin: Origin, now: int) -> Decision[Order]:
    allocation = state.allocations.get(command.line_id)
    paid = state.collected(command.line_id) > 0
    open_line = command.line_id in state.lines and not state.cancelled
    if allocation is None and paid and open_line and state.line_of(command.code) is None:
        # whatever took the code off the line, the certificate is still reserved for it: who paid gets what he paid
        # for. Should it be reserved no longer, it says so when it is told the plan
        return _accept(state, now, origin, r.LineAllocated(command.line_id, command.code, command.reservation))
    if allocation is None or allocation.code != command.code or allocation.activated or paid:
        return Decision(state=state)
    if not same_reservation(allocation.reservation, command.reservation):
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
    body: r.AnyBody
    match command.errand, command.refusal:
        case ("activate", None) | ("release", Refusal.CODE_ALREADY_SOLD):
            body = r.LineActivated(command.line_id, command.code, command.planned, command.currency)
        case _ if not same_reservation(allocation.reservation, command.reservation):
            return Decision(state=state)  # the code was reserved anew meanwhile
        case "join", None:
            if command.planned is None or command.currency is None:
                return Decision(state=state)
            body = r.LinePlanTold(command.line_id, command.planned, command.currency)
        case "release", None:
            body = r.LineReleased(command.line_id, command.code, "released")
        case _, Refusal.CERTIFICATE_NOT_FOUND:
            # the certificate was given back, perhaps sold to another order since: the line is free for another code
            body = r.LineReleased(command.line_id, command.code, "not reserved")
        case _:
            body = r.LineStuck(command.line_id, command.code, command.errand, command.refusal or "")
    return _accept(state, now, origin, body)


def _accept(state: Order, now: int, origin: Origin, *bodies: r.AnyBody) -> Decision[Order]:
    records, after = advance(state, now, origin, *bodies)
    return Decision(state=after, records=records)


def _contradiction(state: Order, currency: str) -> Decision[Order]:
    return refuse(state, Refusal.CURRENCY_MISMATCH, f"The order is in {state.currency}, the event in {currency}.")


_Rule = Callable[[Order, Any, Origin, int], Decision[Order]]
_RULES: Final[dict[type[c.Command], _Rule]] = {
    c.Place: _place,
    c.RecordPayment: _record_payment,
    c.Allocate: _allocate,
    c.LapseAllocation: _lapse,
    c.Report: _report,
}
