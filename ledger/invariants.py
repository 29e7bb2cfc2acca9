"""What must hold for every certificate and every order after every record, as small functions.

Each looks at the whole history with the state that it led to, and says what is wrong in words; an empty list is what
one wants to see. ``gift-ledger verify`` and the tests run all of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from ledger import order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import RESTORE
from ledger.order import Order
from ledger.postings import balance, held, postings
from ledger.records import Record, Status

Invariant = Callable[[Certificate, Sequence[Record]], list[str]]
OrderInvariant = Callable[[Order, Sequence[Record]], list[str]]


def postings_sum_to_zero(_state: Certificate, history: Sequence[Record]) -> list[str]:
    """Money is moved, never made."""
    return [
        f"version {record.version}: postings sum to {total}"
        for record in history
        if (total := sum(posting.amount for posting in postings(record)))
    ]


def balance_is_sum_of_entries(state: Certificate, history: Sequence[Record]) -> list[str]:
    """The balance and what is held follow from the postings alone."""
    entries = [posting for record in history for posting in postings(record)]
    wrong = []
    if balance(entries) != state.balance:
        wrong.append(f"balance is {state.balance}, entries sum to {balance(entries)}")
    if held(entries) != state.held:
        wrong.append(f"held is {state.held}, entries sum to {held(entries)}")
    return wrong


def available_is_never_negative(state: Certificate, history: Sequence[Record]) -> list[str]:
    """Available = balance - open holds, and at least 0, after every record."""
    wrong = [
        f"version {record.version}: {record.held} held of a balance of {record.balance}"
        for record in history
        if not 0 <= record.held <= record.balance
    ]
    open_holds = sum(hold.left for hold in state.holds.values())
    if open_holds != state.held:
        wrong.append(f"held is {state.held}, open holds sum to {open_holds}")
    return wrong


def nothing_captured_twice(_state: Certificate, history: Sequence[Record]) -> list[str]:
    """From one hold comes never more than was held, by captures, voids and lapse together."""
    taken: Counter[int] = Counter()
    authorized: dict[int, int] = {}
    for record in history:
        match record.body:
            case r.Held() as body:
                authorized[record.version] = body.amount
            case r.Captured() as body:
                taken[body.hold] += body.amount + body.released
            case r.HoldVoided() | r.HoldLapsed() as body:
                taken[body.hold] += body.amount
            case _:
                pass
    return [
        f"hold {hold}: {amount} taken of {authorized.get(hold, 0)}"
        for hold, amount in taken.items()
        if amount > authorized.get(hold, 0)
    ]


def nothing_voided_beyond_capture(_state: Certificate, history: Sequence[Record]) -> list[str]:
    """A capture gives back never more than it took."""
    captured = {record.version: record.body.amount for record in history if isinstance(record.body, r.Captured)}
    voided: Counter[int] = Counter()
    for record in history:
        if isinstance(record.body, r.CaptureVoided):
            voided[record.body.capture] += record.body.amount
    return [
        f"capture {capture}: {amount} voided of {captured.get(capture, 0)}"
        for capture, amount in voided.items()
        if amount > captured.get(capture, 0)
    ]


def status_follows_balance(state: Certificate, _history: Sequence[Record]) -> list[str]:
    """Active has money, Expired none but for open holds; Depleted, Cancelled and a code that is not sold have none."""
    if state.status is Status.ACTIVE and state.balance == 0:
        return ["Active with a balance of 0"]
    if state.status is Status.EXPIRED and state.available != 0:
        return [f"Expired with {state.available} that was not written off"]
    if state.status not in {Status.ACTIVE, Status.BLOCKED, Status.EXPIRED} and state.balance != 0:
        return [f"{state.status or 'unknown'} with a balance of {state.balance}"]
    return []


INVARIANTS: Final[tuple[Invariant, ...]] = (
    postings_sum_to_zero,
    balance_is_sum_of_entries,
    available_is_never_negative,
    nothing_captured_twice,
    nothing_voided_beyond_capture,
    status_follows_balance,
)


def violations(state: Certificate, history: Sequence[Record]) -> list[str]:
    """Everything that is wrong with a certificate, in words; empty if nothing is."""
    return [wrong for invariant in INVARIANTS for wrong in invariant(state, history)]


def versions_only_rise(_state: Order, history: Sequence[Record]) -> list[str]:
    """The plan and the payments of each currency follow their versions; at one version a cancellation comes last."""
    wrong = []
    plan = (0, False)
    payments: dict[str, int] = {}
    for record in history:
        match record.body:
            case r.Placed() as body:
                placed = (body.order_version, body.cancelled)
                if placed <= plan:
                    wrong.append(f"version {record.version}: the plan went from {plan[0]} to {body.order_version}")
                plan = placed
            case r.PaymentRecorded() as body:
                paid = payments.get(body.currency)
                if paid is not None and body.payment_version <= paid:
                    wrong.append(f"version {record.version}: payments went from {paid} to {body.payment_version}")
                payments[body.currency] = body.payment_version
            case _:
                pass
    return wrong


def nothing_activated_is_lost(state: Order, history: Sequence[Record]) -> list[str]:
    """A line that was activated keeps its code and shows what was issued, whatever becomes of the order."""
    wrong = []
    for record in history:
        body = record.body
        if not isinstance(body, r.LineActivated):
            continue
        held = state.allocations.get(body.line_id)
        if held is None or not held.activated or held.code != body.code:
            wrong.append(f"line {body.line_id}: {body.code} was activated and is not there any more")
        line = state.lines.get(body.line_id)
        if body.denomination is not None and (line is None or line.planned != body.denomination):
            wrong.append(f"line {body.line_id}: {body.denomination} was issued, the plan says otherwise")
    return wrong


def nothing_is_issued_unpaid(state: Order, history: Sequence[Record]) -> list[str]:
    """What was issued on a line had been collected on it, with the order settled, at some time before.

    What a restore puts on a line was paid for by events that the backup does not have, and that come again after it.
    """
    wrong = []
    paid: dict[tuple[str, str | None], int] = {}
    at = Order(order_id=state.order_id)
    for record in history:
        body = record.body
        restored = record.client == RESTORE.client
        if isinstance(body, r.LineActivated) and body.denomination is not None and not restored:
            most = paid.get((body.line_id, body.currency), 0)
            if most < body.denomination:
                wrong.append(f"line {body.line_id}: {body.denomination} was issued, {most} was collected")
        at = order.evolve(at, record)
        if at.settled:
            for line_id in at.lines:
                key = (line_id, at.currency)
                paid[key] = max(paid.get(key, 0), at.collected(line_id))
    return wrong


def one_line_a_code(state: Order, _history: Sequence[Record]) -> list[str]:
    """A code stands on one line only."""
    lines = Counter(held.code for held in state.allocations.values())
    return [f"{code} is on {count} lines" for code, count in lines.items() if count > 1]


ORDER_INVARIANTS: Final[tuple[OrderInvariant, ...]] = (
    versions_only_rise,
    nothing_activated_is_lost,
    nothing_is_issued_unpaid,
    one_line_a_code,
)


def order_violations(state: Order, history: Sequence[Record]) -> list[str]:
    """Everything that is wrong with an order, in words; empty if nothing is."""
    return [wrong for invariant in ORDER_INVARIANTS for wrong in invariant(state, history)]
