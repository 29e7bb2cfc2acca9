"""Histories for tests of the log, written as a shard writes them: records, timers, publications, messages at once."""

from collections.abc import Sequence

from ledger import certificate, order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import Origin, PlannedLine
from ledger.identifiers import MESSAGE, certificate_entity, identifier, order_entity
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY
from ledger.publications import publications
from persistence import codec
from persistence.log import Batch, Change, Log, QueuedMessage

NOON = 1_795_500_000_000
"""Milliseconds; 2026-11-24T06:00:00Z."""
YEAR_MS = 31_536_000_000
TILL = Origin(client="till-1", channel="POS")
ORDERS = Origin(client="orders")
PRICE = 150_000
"""Minor units."""


class Writer:
    """The one writer of some entities in a log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.certificates: dict[str, tuple[Certificate, codec.Position]] = {}
        self.orders: dict[str, tuple[Order, codec.Position]] = {}
        self.now = NOON

    async def certificate(
        self, code: str, *bodies: r.AnyBody, message: bool = False, snapshot: bool = False, timer: bool = True
    ) -> Certificate:
        """Append records to a certificate."""
        state, start = self.certificates.get(code, (Certificate(code=code), codec.START))
        entity = certificate_entity(code)
        position, stored, outbox = start, [], []
        for body in bodies:
            (record,), state = certificate.advance(state, self.now, TILL, body)
            encoded, position = codec.encode(position, record)
            stored.append(encoded)
            outbox += [(entity, codec.encode_publication(event)) for event in publications(state, record)]
        due = certificate.next_due(state, DEFAULT_POLICY) or 0
        change = Change(
            entity,
            start.version,
            tuple(stored),
            due if timer else None,
            codec.snapshot(state, position) if snapshot else None,
        )
        message_id = identifier(MESSAGE, code, position.version)
        messages = (QueuedMessage(message_id, entity, b"sealed", self.now, self.now),) if message else ()
        assert await self.log.append(Batch((change,), tuple(outbox), messages=messages)) is None
        self.certificates[code] = state, position
        return state

    async def order(self, order_id: str, *bodies: r.AnyBody, snapshot: bool = False, timer: bool = True) -> Order:
        """Append records to an order."""
        state, start = self.orders.get(order_id, (Order(order_id=order_id), codec.START))
        records, state = order.advance(state, self.now, ORDERS, *bodies)
        position, stored = start, []
        for record in records:
            encoded, position = codec.encode(position, record)
            stored.append(encoded)
        due = order.next_due(state, DEFAULT_POLICY) or 0
        image = codec.snapshot(state, position) if snapshot else None
        change = Change(order_entity(order_id), start.version, tuple(stored), due if timer else None, image)
        assert await self.log.append(Batch((change,))) is None
        self.orders[order_id] = state, position
        return state

    async def reserve(self, order_id: str, codes: Sequence[str]) -> None:
        """An order that was placed, each line of which has its code."""
        lines = tuple(PlannedLine(str(number), PRICE) for number, _ in enumerate(codes, 1))
        await self.order(order_id, r.Placed(1, False, "OnlineStore", "RUB", lines))
        for number, code in enumerate(codes, 1):
            await self.certificate(code, r.Reserved(order_id, str(number), self.now + 86_400_000))
            told = r.LinePlanTold(str(number), PRICE, "RUB")
            await self.order(order_id, r.LineAllocated(str(number), code), told)
            await self.certificate(code, r.Joined(PRICE, "RUB"))

    async def sell(self, order_id: str, *codes: str, snapshot: bool = False) -> None:
        """An order that was paid, and all of whose certificates were activated, each with an SMS."""
        await self.reserve(order_id, codes)
        collected = {str(number): PRICE for number, _ in enumerate(codes, 1)}
        await self.order(order_id, r.PaymentRecorded(1, "RUB", PRICE * len(codes), 0, True, collected))
        for number, code in enumerate(codes, 1):
            expires = self.now + YEAR_MS
            activated = r.Activated(order_id, str(number), PRICE, "RUB", expires, b"digest", b"sealed")
            await self.certificate(code, activated, message=True, snapshot=snapshot)
            await self.order(order_id, r.LineActivated(str(number), code), snapshot=snapshot)

    async def spend(self, code: str, amount: int, times: int = 1, *, snapshot: bool = False) -> None:
        """Authorizations of `amount` that were captured, all in one append."""
        version = self.certificates[code][1].version
        bodies: list[r.AnyBody] = []
        for at in range(version + 1, version + 2 * times, 2):
            bodies += [r.Held(amount, self.now + 900_000, "POS-7"), r.Captured(at, amount, final=True)]
        await self.certificate(code, *bodies, snapshot=snapshot)


async def acknowledge_all(log: Log) -> None:
    """Take every outbox to be published."""
    for partition in range(log.partitions):
        page = await log.outbox(partition, limit=0)
        assert await log.acknowledge(partition, page.head, page.size)
