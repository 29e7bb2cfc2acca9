"""Fills a ledger with certificates as if they had been sold and used: orders, timers and events with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ledger import certificate, order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import PlannedLine
from ledger.identifiers import certificate_entity, order_entity
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY
from ledger.publications import publications
from persistence import codec
from persistence.log import Batch, Change
from tests.contract.histories import ORDERS, PRICE, TILL, YEAR_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.records import Record
    from persistence.log import Log

AT_ONCE: Final = 250
USES: Final = 2
DAY_MS: Final = 86_400_000


async def fill(log: Log, count: int, now: int) -> None:
    """Write so many certificates, each with an order; their events wait in the outbox.

    Args:
        log: an empty one.
        count: how many.
        now: milliseconds.
    """
    for start in range(0, count, AT_ONCE):
        changes: list[Change] = []
        outbox: list[tuple[str, bytes]] = []
        for number in range(start, min(start + AT_ONCE, count)):
            _sold_and_used(f"GC-{number:012}", f"SO-{number:09}", now, changes, outbox)
        assert await log.append(Batch(tuple(changes), tuple(outbox))) is None


def _sold_and_used(code: str, order_id: str, now: int, changes: list[Change], outbox: list[tuple[str, bytes]]) -> None:
    bodies: list[r.AnyBody] = [
        r.Reserved(order_id, "1", now + DAY_MS),
        r.Joined(PRICE, "RUB"),
        r.Activated(order_id, "1", PRICE, "RUB", now + YEAR_MS, bytes(32)),
    ]
    for at in range(len(bodies) + 1, len(bodies) + 2 * USES, 2):
        bodies += [r.Held(1_000, now + DAY_MS, "POS-7"), r.Captured(at, 1_000, final=True)]
    state, records = Certificate(code=code), []
    for body in bodies:
        (record,), state = certificate.advance(state, now, TILL, body)
        records.append(record)
        outbox += [(certificate_entity(code), codec.encode_publication(event)) for event in publications(state, record)]
    changes.append(_change(certificate_entity(code), records, certificate.next_due(state, DEFAULT_POLICY)))
    placed, sale = order.advance(Order(order_id=order_id), now, ORDERS, *_order(code))
    changes.append(_change(order_entity(order_id), placed, order.next_due(sale, DEFAULT_POLICY)))


def _order(code: str) -> Sequence[r.AnyBody]:
    return (
        r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE),)),
        r.LineAllocated("1", code),
        r.LinePlanTold("1", PRICE, "RUB"),
        r.PaymentRecorded(1, "RUB", PRICE, 0, True, {"1": PRICE}),
        r.LineActivated("1", code),
    )


def _change(entity: str, records: Sequence[Record], due: int | None) -> Change:
    position, stored = codec.START, []
    for record in records:
        encoded, position = codec.encode(position, record)
        stored.append(encoded)
    return Change(entity, 0, tuple(stored), due or 0)
