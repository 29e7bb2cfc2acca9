"""Selling: a code is reserved for a line of an order, joined to the plan, activated once paid.

The certificate is asked first, then its order; if the order refuses, the code is released. Whatever happens in between,
the certificate's own state says what is still to be done (:func:`ledger.certificate.state.errands`).

Order of precedence of the refusals: ``CodeAlreadySold``, ``CodeNotForSale``, and then those of the order.
"""

from msgspec.structs import replace

from ledger import records as r
from ledger.attempts import Attempts
from ledger.certificate.state import Certificate, advance
from ledger.codes import Salable, form_of
from ledger.commands import Activate, AnyCommand, Join, Origin, Release, Report, Reserve
from ledger.decision import Decision, refuse
from ledger.errands import Grant
from ledger.policy import Policy
from ledger.records import Status
from ledger.refusals import Refusal


def reserve(
    state: Certificate, command: Reserve, origin: Origin, now: int, policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Reserve a code that was never sold and may be sold. For the line that has it already nothing changes."""
    if state.status is not Status.UNKNOWN:
        # an undone sale does not free its code: the customer holds a card with this number
        if state.sold_to(command.order_id, command.line_id) and state.status is not Status.CANCELLED:
            return Decision(state=state)
        return refuse(state, Refusal.CODE_ALREADY_SOLD, "The code is reserved or sold already; take another one.")
    if (why := _not_for_sale(state.code, command, policy)) is not None:
        return refuse(state, Refusal.CODE_NOT_FOR_SALE, why)
    if command.probe:
        return Decision(state=state)
    until = now + policy.reservation_ttl_ms
    records, after = advance(state, now, origin, r.Reserved(command.order_id, command.line_id, until))
    return Decision(state=after, records=records)


def join(
    state: Certificate, command: Join, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Take over the plan of the line; it may change until the activation."""
    if not state.sold_to(command.order_id, command.line_id, command.reservation):
        return _not_this_line(state)
    planned = (command.planned, command.currency)
    if state.status is not Status.RESERVED or (state.joined and planned == (state.denomination, state.currency)):
        return Decision(state=state)
    records, after = advance(state, now, origin, r.Joined(*planned))
    return Decision(state=after, records=records)


def release(
    state: Certificate, command: Release, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Give a reserved code back. One that is active already stays; one that is not this line's is not touched."""
    if not state.sold_to(command.order_id, command.line_id, command.reservation):
        return Decision(state=state)
    if state.status is not Status.RESERVED:
        return refuse(state, Refusal.CODE_ALREADY_SOLD, "The certificate was activated already.")
    records, after = advance(state, now, origin, r.Released(command.reason))
    return Decision(state=after, records=records)


def activate(
    state: Certificate, command: Activate, origin: Origin, now: int, policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Issue the planned value, once.

    The seller stands in the record as its client, so that a sale can be undone by whoever made it. Key and address are
    those of whoever brought it about.
    """
    if not state.sold_to(command.order_id, command.line_id, command.reservation):
        return _not_this_line(state)
    if state.status is not Status.RESERVED:
        return Decision(state=state)
    if command.cvc is None:
        message = "an activation needs a CVC; the shard that owns the certificate makes it"
        raise ValueError(message)
    seller = replace(origin, client=state.seller or origin.client, channel=state.channel)
    body = r.Activated(
        order_id=command.order_id,
        line_id=command.line_id,
        denomination=command.denomination,
        currency=command.currency,
        expires_at=now + policy.certificate_lifetime_ms,
        cvc=command.cvc.digest,
        recipient=command.recipient,
    )
    records, after = advance(state, now, seller, body)
    return Decision(state=after, records=records, message=command.cvc.message)


def issued(state: Certificate, command: AnyCommand) -> Grant | None:
    """What the order is told besides the outcome of its errand: that its line was issued already, and with what."""
    if not isinstance(command, Join | Release | Activate) or state.activation is None:
        return None
    return Grant(state.denomination, state.currency) if state.sold_to(command.order_id, command.line_id) else None


def report(
    state: Certificate, command: Report, origin: Origin, now: int, policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """What the order answered: the line holds the code, or does not; the reservation may lapse, or stays.

    A code that has joined its line leaves it only by the order's word; a refusal that was overtaken by it changes
    nothing.
    """
    if state.status is not Status.RESERVED or not state.sold_to(command.order_id, command.line_id, command.reservation):
        return Decision(state=state)
    body: r.AnyBody | None = None
    if command.errand == "allocate" and not state.joined:
        refused = command.refusal is not None
        body = r.Released(command.refusal or "") if refused else r.Joined(command.planned, command.currency)
    elif command.errand == "lapse_allocation" and state.reserved_until is not None and state.reserved_until <= now:
        # asked again after the same time: what was collected may have been given back, or the order have lost the line
        body = r.Kept(now + policy.reservation_ttl_ms) if command.retained else r.Released("lapsed")
    if body is None:
        return Decision(state=state)
    records, after = advance(state, now, origin, body)
    return Decision(state=after, records=records)


def _not_for_sale(code: str, command: Reserve, policy: Policy) -> str | None:
    """What keeps a code that was never sold from being sold."""
    match policy.codes:
        case Salable.CHECKED if not form_of(policy.code_prefixes).right(code):
            return "The code is none of ours: only codes with our prefix and a right check character are sold."
        case Salable.IMPORTED if not command.imported:
            return "The code is in no batch that was imported; only codes of such batches are sold."
        case _:
            return None


def _not_this_line(state: Certificate) -> Decision[Certificate]:
    return refuse(state, Refusal.CERTIFICATE_NOT_FOUND, "The code is not reserved for this line.")
