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
    CONTRADICTED = "contradicted"
    """Another code is on it, in the backup as issued or by what was published: nothing was written of this one."""
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
        return self.kept in {Kept.ACTIVATED, Kept.STUCK}


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
            facts.before = {
                body.order_id async for _, _, page in histories(log, [entity]) for body in _reservations(page)
            }
        except DamagedLogError as error:
            _logger.warning("On which lines %s stands in the backup is not known: %s", one.code, error)
            continue
        if isinstance(state, Certificate) and state.activation is not None and state.order_id and state.line_id:
            # once its value was issued it stays where it is
            facts.sale = LostSale(
                order_id=state.order_id,
                order_line_id=state.line_id,
                activated=True,
                denomination=state.denomination,
                currency=state.currency,
            )
    return found


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
            sales = [(facts, facts.sale) for facts in codes]
            found += [
                _line(facts, sale, Kept.UNREADABLE) for facts, sale in sales if sale and sale.order_id == order_id
            ]
            continue
        story = _Story(state, max(now, state.updated_at))
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


class _Story:
    """What one order is told: its state, and the records that lead to it."""

    def __init__(self, state: Order, now: int) -> None:
        self.state = state
        self.records: list[r.Record] = []
        self._now = now
        self._put_on: set[str] = set()

    def tell(self, codes: Sequence[_Facts]) -> list[LostLine]:
        """Take the codes off where they are not, and put them where they are; gives the lines that have one."""
        here = _sold_by(self.state.order_id, codes)
        lines = {facts.code: sale.order_line_id for facts, sale in here}
        for facts in codes:
            line_id = self.state.line_of(facts.code)
            gone = facts.released or facts.sale is not None
            if gone and line_id is not None and line_id != lines.get(facts.code) and not self.state.issued(line_id):
                self._add(r.LineReleased(line_id, facts.code, LOST))
        # those that were issued come first: nothing takes their place
        return [self._put(facts, sale) for facts, sale in sorted(here, key=lambda one: not one[1].activated)]

    def _put(self, facts: _Facts, sale: LostSale) -> LostLine:
        line_id, code = sale.order_line_id, facts.code
        held = self.state.allocations.get(line_id)
        if held is not None and held.code != code:
            if held.activated or line_id in self._put_on:
                return _line(facts, sale, Kept.CONTRADICTED)
            self._add(r.LineReleased(line_id, held.code, LOST))
            held = None
        if held is None:
            if self.state.line_of(code) is not None:
                return _line(facts, sale, Kept.CONTRADICTED)
            self._add(r.LineAllocated(line_id, code))
        self._put_on.add(line_id)
        if self.state.issued(line_id):
            return _line(facts, sale, Kept.ACTIVATED)
        if sale.activated:
            self._add(r.LineActivated(line_id, code, sale.denomination, sale.currency))
            return _line(facts, sale, Kept.ACTIVATED)
        if held is None or held.stuck is None:
            self._add(r.LineStuck(line_id, code, "activate", LOST))
        return _line(facts, sale, Kept.STUCK)

    def _add(self, body: r.AnyBody) -> None:
        records, self.state = order.advance(self.state, self._now, RESTORE, body)
        self.records += records


def _sold_by(order_id: str, codes: Iterable[_Facts]) -> list[tuple[_Facts, LostSale]]:
    return [(facts, facts.sale) for facts in codes if facts.sale is not None and facts.sale.order_id == order_id]


def _line(facts: _Facts, sale: LostSale, kept: Kept) -> LostLine:
    return LostLine(order_id=sale.order_id, order_line_id=sale.order_line_id, code=facts.code, kept=kept)
