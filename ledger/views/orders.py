"""An order: ``order_certificate_allocation``, line by line."""

from ledger.order import Order
from ledger.views.view import View


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
