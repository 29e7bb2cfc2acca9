"""Order lines that were sold after the backup: their orders are told, so that no line is sold a second time.

An order that the backup does not have comes again from Kafka, paid and without its codes. Sold once more, each of its
lines would be issued at its full value. So the line gets the code that subscribers know on it, though that certificate
is shut: as activated if its value was issued, else as one that a person has to look at. A code that stands on a line in
the backup, and was given back or sold elsewhere after it, is taken off.
"""

import logging
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.lost import LostCertificate, LostSale
from ledger import order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import RESTORE
from ledger.identifiers import certificate_entity, order_entity
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY
from persistence import codec
from persistence.errors import DamagedLogError, StorageUnsafeError
from persistence.log import Batch, Change, Log
from persistence.reading import groups, histories, load_each, restored

LOST: Final = "lost by a restore"

_logger = logging.getLogger(__name__)


class Kept(StrEnum):
    """What became of a line."""

    ACTIVATED = "activated"
    STUCK = "stuck"
    """It was reserved; whether it was activated before the disks were lost, nobody knows."""
    RELEASED = "released"
    """The code stood on it in the backup; another one was issued there after it."""
    CONTRADICTED = "contradicted"
    """Another code is on it, or the code on another line, and nobody knows which is right: nothing was written."""
    UNREADABLE = "unreadable"
    """The records of the order cannot be followed: nothing was written, and nothing is sold on it."""


class LostLine(Struct, frozen=True, kw_only=True, rename="camel"):
    """A line with a certificate that is lost in part or whole."""

    order_id: str
    order_line_id: str
    code: str
    kept: Kept

    @property
    def told(self) -> bool:
        """Whether its order knows it."""
        return self.kept in {Kept.ACTIVATED, Kept.STUCK, Kept.RELEASED}

    @property
    def displaced(self) -> bool:
        """Whether another code was issued in the place of this one."""
        return self.kept is Kept.RELEASED


class _Facts(Struct):
    """Where a code is sold, as far as anybody knows, and the lines that it may stand on in the backup."""

    code: str
    sale: LostSale | None
    released: bool
    before: set[str]
    """Orders that it was ever reserved for, as the backup has it."""


async def keep_lines(log: Log, lost: Sequence[LostCertificate], now: int) -> list[LostLine]:
    """Tell the orders of certificates that are lost, before anybody may open the ledger.

    Args:
        log: nobody else writes to it.
        lost: what subscribers know of them.
        now: milliseconds.

    Raises:
        StorageError: the log could not be read or written.
    """
    told = {one.code: one for one in lost}
    by_order: dict[str, list[_Facts]] = {}
    for group in groups(told):
        for facts in await _facts(log, [told[code] for code in group]):
            for order_id in facts.before | ({facts.sale.order_id} if facts.sale else set()):
                by_order.setdefault(order_id, []).append(facts)
    found: list[LostLine] = []
    for group in groups(by_order):
        found += await _keep(log, {order_id: by_order[order_id] for order_id in group}, now)
    return sorted(found, key=lambda one: (one.order_id, one.order_line_id, one.code))


async def _facts(log: Log, lost: Sequence[LostCertificate]) -> list[_Facts]:
    found = []
    entities = [certificate_entity(one.code) for one in lost]
    for one, entity, loaded in zip(lost, entities, await load_each(log, entities), strict=True):
        facts = _Facts(one.code, one.sale, one.released, set())
        found.append(facts)
        try:
            state = await restored(log, entity, loaded)
            if isinstance(state, Certificate):
                await _look_back(log, state, facts)
        except DamagedLogError as error:
            _logger.warning("On which lines %s stands in the backup is not known: %s", one.code, error)
    return found


async def _look_back(log: Log, state: Certificate, facts: _Facts) -> None:
    """Add what the backup has of a certificate."""
    if state.activation is not None and state.order_id is not None and state.line_id is not None:
        # once its value was issued it stays where it is
        told = facts.sale
        facts.sale = LostSale(
            order_id=state.order_id,
            order_line_id=state.line_id,
            activated=True,
            status=told.status if told is not None else state.status,
            denomination=state.denomination,
            currency=state.currency,
            balance=told.balance if told is not None else None,
        )
        return
    async for _, _, page in histories(log, [certificate_entity(state.code)]):
        facts.before.update(body.order_id for body in _reservations(page))


def _reservations(page: list[bytes] | DamagedLogError) -> Iterable[r.Reserved]:
    if isinstance(page, DamagedLogError):
        raise page
    return [body for one in page if isinstance(body := codec.decode(one).body, r.Reserved)]


async def _keep(log: Log, orders: dict[str, list[_Facts]], now: int) -> list[LostLine]:
    """Write what some orders are told, all at once."""
    found: list[LostLine] = []
    changes = []
    entities = [order_entity(order_id) for order_id in orders]
    for (order_id, codes), entity, loaded in zip(
        orders.items(), entities, await load_each(log, entities, snapshots=False), strict=True
    ):
        try:
            if isinstance(loaded, DamagedLogError):
                raise loaded
            state, position = codec.restore_order(order_id, loaded)
        except DamagedLogError as error:
            _logger.warning("%s", error)
            found += [_line(facts.code, sale, Kept.UNREADABLE) for facts, sale in _sold_by(order_id, codes)]
            continue
        story = _Story(state, max(now, state.updated_at), await _issued(log, state))
        found += story.tell(codes)
        start, stored = position.version, []
        for record in story.records:
            encoded, position = codec.encode(position, record)
            stored.append(encoded)
        if stored:
            due = order.next_due(story.state, DEFAULT_POLICY) or 0
            changes.append(Change(entity, start, tuple(stored), due))
    if changes and await log.append(Batch(tuple(changes))) is not None:
        raise StorageUnsafeError("somebody has written while the backup was put back: restore it once more.")
    return found


async def _issued(log: Log, state: Order) -> frozenset[str]:
    """Codes on the lines of an order whose value the backup has as issued, whether the order has heard of it or not.

    One that cannot be read counts as issued.
    """
    found = {allocation.code for allocation in state.allocations.values() if allocation.activated}
    asked = [allocation.code for allocation in state.allocations.values() if not allocation.activated]
    entities = [certificate_entity(code) for code in asked]
    for code, entity, loaded in zip(asked, entities, await load_each(log, entities), strict=True):
        try:
            certificate = await restored(log, entity, loaded)
        except DamagedLogError:
            found.add(code)
            continue
        if isinstance(certificate, Certificate) and certificate.activation is not None:
            found.add(code)
    return frozenset(found)


class _Story:
    """What one order is told: its state, and the records that lead to it."""

    def __init__(self, state: Order, now: int, issued: frozenset[str]) -> None:
        self.state = state
        self.records: list[r.Record] = []
        self._now = now
        self._issued = issued

    def tell(self, codes: Sequence[_Facts]) -> list[LostLine]:
        """Take the codes off where they are not, and put them where they are; gives what became of the lines."""
        here = _sold_by(self.state.order_id, codes)
        lines = {facts.code: sale.order_line_id for facts, sale in here}
        for facts in codes:
            line_id = self.state.line_of(facts.code)
            gone = facts.released or facts.sale is not None
            if gone and line_id is not None and line_id != lines.get(facts.code) and not self.state.issued(line_id):
                self._add(r.LineReleased(line_id, facts.code, LOST))
        found: list[LostLine] = []
        # those that were issued come first: nothing takes their place
        for facts, sale in sorted(here, key=lambda one: not one[1].activated):
            found += self._put(facts.code, sale)
        return found

    def _put(self, code: str, sale: LostSale) -> list[LostLine]:
        line_id, found = sale.order_line_id, []
        if self.state.line_of(code) not in {None, line_id}:
            return [_line(code, sale, Kept.CONTRADICTED)]
        held = self.state.allocations.get(line_id)
        if held is not None and held.code != code:
            # only what was issued takes the place of another, and never that of one that was
            if not sale.activated or held.activated or held.code in self._issued:
                return [_line(code, sale, Kept.CONTRADICTED)]
            self._add(r.LineReleased(line_id, held.code, LOST))
            found.append(_line(held.code, sale, Kept.RELEASED))
            held = None
        if held is None:
            self._add(r.LineAllocated(line_id, code))
        if sale.activated and not self.state.issued(line_id):
            self._add(r.LineActivated(line_id, code, sale.denomination, sale.currency))
        elif not sale.activated and (held is None or (held.stuck is None and not held.activated)):
            self._add(r.LineStuck(line_id, code, "activate", LOST))
        kept = Kept.ACTIVATED if self.state.issued(line_id) else Kept.STUCK
        return [_line(code, sale, kept), *found]

    def _add(self, body: r.AnyBody) -> None:
        records, self.state = order.advance(self.state, self._now, RESTORE, body)
        self.records += records


def _sold_by(order_id: str, codes: Iterable[_Facts]) -> list[tuple[_Facts, LostSale]]:
    return [(facts, facts.sale) for facts in codes if facts.sale is not None and facts.sale.order_id == order_id]


def _line(code: str, sale: LostSale, kept: Kept) -> LostLine:
    return LostLine(order_id=sale.order_id, order_line_id=sale.order_line_id, code=code, kept=kept)
