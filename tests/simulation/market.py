"""Who trades: a shop that sells codes, tills that redeem them, support that blocks; and Orders and Payments."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec

from gateway.access import Client, Role
from ledger.answers import Answer
from ledger.commands import (
    AnyCommand,
    Authorize,
    Block,
    Capture,
    Inquire,
    Look,
    ReissueCvc,
    Sell,
    Unblock,
    Void,
)
from ledger.identifiers import AUTHORIZATION, identifier
from tests.simulation.caller import Caller, key_of
from tests.simulation.cluster import BRIDGE
from tests.simulation.weather import Chance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.broker import Broker
    from tests.simulation.cluster import Cluster
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.trace import Trace
    from tests.simulation.weather import Weather

CODES = ("GC-0000-A", "GC-0000-B", "GC-0000-C", "GC-0000-D")
ORDERS = ("SO-1", "SO-2")
LINES = ("1", "2")
SHOPS = (
    Client(name="shop", role=Role.STOREFRONT, channel="OnlineStore", key_id=key_of("shop")),
    Client(name="kiosk", role=Role.POS, channel="POS", key_id=key_of("kiosk")),
)
TILLS = tuple(Client(name=name, role=Role.POS, channel="POS", key_id=key_of(name)) for name in ("till0", "till1"))
SUPPORT = Client(name="support", role=Role.SUPPORT, channel=None, key_id=key_of("support"))
RUB = "RUB"
JUNK = b'{"orderId": 1}'


class Orders:
    """Publishes orders and payments: most twice, many late, and in no order.

    Args:
        seconds: within which all is published.
    """

    def __init__(self, broker: Broker, loop: VirtualLoop, seed: int, seconds: float, trace: Trace) -> None:
        self.plans: dict[str, tuple[int, bool]] = {}
        """The highest version of each order that was published, and whether it cancels."""
        self.payments: dict[str, int] = {}
        """The highest version of each order's payments."""
        self.junk: list[str] = []
        """Where what was published stands that nobody can read."""
        self._broker = broker
        self._loop = loop
        self._random = Random(f"{seed}/orders")
        self._seconds = seconds
        self._moments = {order_id: seconds * self._random.uniform(0.1, 0.8) for order_id in ORDERS}
        """When much about an order is said at once."""
        self._trace = trace

    def begin(self) -> None:
        """Plan all that will be published."""
        for order_id in ORDERS:
            self._plan(order_id)
        for _ in range(self._random.choice((0, 0, 1))):
            topic = self._random.choice((BRIDGE.sales_orders, BRIDGE.payments))
            self._later(topic, self._random.choice(ORDERS), JUNK)

    def _plan(self, order_id: str) -> None:
        draw = self._random
        plan = {line: draw.choice((1_000, 5_000, 10_000)) for line in LINES[: draw.choice((1, 2, 2))]}
        self._order(order_id, 1, plan)
        if draw.random() < 0.4:
            plan = {line: planned + draw.choice((0, 500)) for line, planned in plan.items()}
            self._order(order_id, 2, plan)
        if draw.random() < 0.2:
            self._order(order_id, 3, plan, cancelled=True)
        for version, share in enumerate((0.5, draw.choice((0.5, 1.0)), 1.0), start=1):
            collected = {line: int(planned * share) for line, planned in plan.items()}
            outstanding = sum(plan.values()) - sum(collected.values())
            # a settled order may be short on a line: then no value is issued on it until a later payment covers it
            settled = outstanding == 0 or draw.random() < 0.2
            self._payment(order_id, version, collected, 0 if settled else outstanding, settled=settled)

    def _order(self, order_id: str, version: int, plan: dict[str, int], *, cancelled: bool = False) -> None:
        self.plans[order_id] = max(self.plans.get(order_id, (0, False)), (version, cancelled))
        recipient = {"phone": "+79990000001", "locale": "ru"}
        event = {
            "orderId": order_id,
            "orderVersion": version,
            "status": "Cancelled" if cancelled else "Placed",
            "channel": "OnlineStore",
            "currency": RUB,
            "certificateLines": [
                {"orderLineId": line, "plannedDenomination": planned, "intendedRecipient": recipient}
                for line, planned in plan.items()
            ],
        }
        self._later(BRIDGE.sales_orders, order_id, msgspec.json.encode(event))

    def _payment(
        self, order_id: str, version: int, collected: dict[str, int], outstanding: int, *, settled: bool
    ) -> None:
        self.payments[order_id] = max(self.payments.get(order_id, 0), version)
        event = {
            "orderId": order_id,
            "paymentVersion": version,
            "currency": RUB,
            "capturedAmount": sum(collected.values()),
            "outstandingAmount": outstanding,
            "isOrderSettled": settled,
            "certificateAllocations": [
                {"orderLineId": line, "collectedAmount": amount} for line, amount in collected.items()
            ],
        }
        self._later(BRIDGE.payments, order_id, msgspec.json.encode(event))

    def _later(self, topic: str, key: str, value: bytes) -> None:
        for _ in range(self._random.choice((1, 1, 2))):
            at = 0.8 * self._seconds * self._random.random() ** 2
            if self._random.random() < 0.5:
                at = self._moments[key] + self._random.uniform(0.0, 0.2)
            self._loop.call_at(at, self._publish, topic, key, value)

    def _publish(self, topic: str, key: str, value: bytes) -> None:
        source = self._broker.publish(topic, key.encode(), value)
        if value == JUNK:
            self.junk.append(source)
        self._trace.note("orders", f"publishes {source}: {value.decode()}")


class Trader(Caller):
    """A caller who goes about his business until he is told to stop."""

    def __init__(
        self, client: Client, cluster: Cluster, loop: VirtualLoop, seed: int, chance: Chance, trace: Trace
    ) -> None:
        super().__init__(client, cluster, loop, seed, chance, trace)
        self.holds: list[tuple[str, str]] = []
        self.captures: list[tuple[str, str]] = []

    async def trade(self, stop: asyncio.Event, pause_seconds: float) -> None:
        """Make one call after the other."""
        while not stop.is_set():
            entity, command = self.next_call()
            answer = await self.call(entity, command)
            if answer is not None and answer.refused is None:
                self._learn(entity, command, answer)
            await asyncio.sleep(self.random.expovariate(1 / pause_seconds))

    def cvc(self, code: str) -> bytes:
        """The CVC of a certificate as somebody types it."""
        right = self.cluster.cvc(code)
        return b"wrong" if right is None or self.random.random() < 0.2 else right

    def next_call(self) -> tuple[str, AnyCommand]:
        """What he asks next."""
        raise NotImplementedError

    def _learn(self, entity: str, command: AnyCommand, answer: Answer) -> None:
        if isinstance(command, Authorize):
            self.holds.append((entity, msgspec.json.decode(answer.body)["authorizationId"]))
        elif isinstance(command, Capture):
            self.captures.append((entity, msgspec.json.decode(answer.body)["operationId"]))
        elif isinstance(command, Look) and (activation := msgspec.json.decode(answer.body).get("activationId")):
            self.captures.append((entity, activation))


class Shop(Trader):
    """Sells codes, and is not always sure which."""

    def next_call(self) -> tuple[str, AnyCommand]:
        draw = self.random.random()
        if draw < 0.15:
            return f"o:{self.random.choice(ORDERS)}", Look()
        if draw < 0.4:
            code = self.random.choice(CODES)
            cvc = self.cvc(code)
            amount = self.random.choice((50, 400))
            return f"c:{code}", Inquire(cvc) if draw < 0.25 else Authorize(amount, RUB, cvc, self.name)
        order, line = self.random.choice(ORDERS), self.random.choice(LINES)
        usual = CODES[ORDERS.index(order) * 2 + LINES.index(line)]
        return f"c:{usual if self.random.random() < 0.8 else self.random.choice(CODES)}", Sell(order, line)


class Till(Trader):
    """Authorizes, captures, voids; in parts, too late, too much, twice."""

    def next_call(self) -> tuple[str, AnyCommand]:
        draw = self.random.random()
        if self.holds and draw < 0.3:
            entity, hold = self.random.choice(self.holds[-3:])
            amount = self.random.choice((None, None, 50, 20_000))
            return entity, Capture(hold, amount, self.random.random() < 0.7)
        if self.captures and draw < 0.4:
            entity, capture = self.random.choice(self.captures[-3:])
            return entity, Void(capture, self.random.choice((None, 30)))
        if self.holds and draw < 0.5:
            entity, hold = self.random.choice(self.holds[-3:])
            return entity, Void(hold, self.random.choice((None, 30)))
        code = self.random.choice(CODES)
        entity = f"c:{code}"
        cvc = self.cvc(code) if self.random.random() < 0.1 else None
        if draw < 0.6:
            return entity, Inquire(cvc)
        amount = self.random.choice((100, 700, 2_500, 8_000))
        ttl_ms = self.random.choice((None, 1_500, 60_000))
        return entity, Authorize(amount, RUB, cvc, self.name, self.random.random() < 0.2, ttl_ms)


class Support(Trader):
    """Blocks and unblocks, undoes what others did, looks."""

    def next_call(self) -> tuple[str, AnyCommand]:
        draw = self.random.random()
        code = self.random.choice(CODES)
        if draw < 0.1:
            return f"c:{code}", Block("lost")
        if draw < 0.4:
            return f"c:{code}", Unblock("found")
        if draw < 0.5:
            return f"c:{code}", Void(identifier(AUTHORIZATION, code, self.random.randrange(1, 9)))
        if self.captures and draw < 0.6:
            entity, operation = self.random.choice(self.captures)
            return entity, Void(operation)
        return f"c:{code}", ReissueCvc() if draw < 0.65 else Look()


def traders(cluster: Cluster, loop: VirtualLoop, seed: int, weather: Weather, trace: Trace) -> list[Trader]:
    """All who trade."""
    kinds: list[tuple[Callable[..., Trader], Client]] = [
        *((Shop, shop) for shop in SHOPS),
        *((Till, till) for till in TILLS),
        (Support, SUPPORT),
    ]
    return [
        kind(client, cluster, loop, seed, Chance(f"{seed}/ways of {client.name}", weather), trace)
        for kind, client in kinds
    ]
