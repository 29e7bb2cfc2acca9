"""Sells certificates on a running stack, as Orders, Payments and a shop do together."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from aiokafka.errors import KafkaError

from examples.topics import DEAD_LETTERS, PAYMENTS, SALES_ORDERS, STATES, TRANSACTIONS, Publisher
from tests.real.caller import Caller, Service

if TYPE_CHECKING:
    from types import TracebackType

    from tests.real.kafka import RealKafka

ACTIVE_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.03
PUBLISHED_SECONDS_MAX: Final = 100.0
"""Longer than the longest time for which tests take Kafka away."""
PHONE: Final = "+79990000001"

_SETTINGS: Final = {
    "TOPIC_SALES_ORDERS": SALES_ORDERS,
    "TOPIC_PAYMENTS": PAYMENTS,
    "TOPIC_STATES": STATES,
    "TOPIC_TRANSACTIONS": TRANSACTIONS,
    "TOPIC_DEAD_LETTERS": DEAD_LETTERS,
}


def kafka_settings(kafka: RealKafka, prefix: str) -> dict[str, str]:
    """Settings of a stack that uses this broker with topics and a group of its own."""
    topics = {setting: prefix + topic for setting, topic in _SETTINGS.items()}
    return {"KAFKA_BOOTSTRAP": kafka.bootstrap, "KAFKA_GROUP": f"{prefix}group", **topics}


async def create_topics(kafka: RealKafka, prefix: str, partitions: int = 3) -> None:
    """Make all topics of such a stack."""
    topics = [prefix + topic for topic in _SETTINGS.values()]
    await kafka.create_topics(*topics, partitions=partitions, compacted=(prefix + STATES,))


def new_code() -> str:
    """A code that was never sold."""
    return f"GC-{uuid.uuid4().hex[:16].upper()}"


class Market:
    """An `async with` block in which certificates are sold.

    Args:
        stack: Where.
        prefix: Of its topics.
    """

    def __init__(self, stack: Service, prefix: str = "") -> None:
        self._prefix = prefix
        self._publisher = Publisher(stack.bootstrap, source="tests")
        self._ops = Caller(stack, "ops")
        self.shop = Caller(stack, "pos")

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._publisher.__aexit__(kind, error, trace)
        await self._ops.close()
        await self.shop.close()

    async def order(self, lines: dict[str, int], *, phone: str = PHONE, **fields: object) -> str:
        """Publish an order of lines with these denominations; gives its id. Without a phone there is no recipient."""
        order_id = str(fields.get("orderId") or f"SO-{uuid.uuid4().hex[:12]}")
        recipient = {"intendedRecipient": {"name": "Anna", "phone": phone, "locale": "ru"}} if phone else {}
        planned = [{"orderLineId": line, "plannedDenomination": amount, **recipient} for line, amount in lines.items()]
        event = {"orderId": order_id, "channel": "OnlineStore", "currency": "RUB", "certificateLines": planned}
        await self._publish(SALES_ORDERS, order_id, event | {"occurredAt": "2026-11-24T07:00:00.000Z"} | fields)
        return order_id

    async def pay(self, order_id: str, lines: dict[str, int], *, version: int = 1, outstanding: int = 0) -> None:
        """Publish that this was collected for the lines, in all."""
        event = {
            "orderId": order_id,
            "paymentVersion": version,
            "currency": "RUB",
            "capturedAmount": sum(lines.values()),
            "outstandingAmount": outstanding,
            "isOrderSettled": outstanding == 0,
            "certificateAllocations": [
                {"orderLineId": line, "collectedAmount": amount} for line, amount in lines.items()
            ],
            "occurredAt": "2026-11-24T07:00:01.000Z",
        }
        await self._publish(PAYMENTS, order_id, event)

    async def reserve(self, code: str, order_id: str, line: str) -> dict[str, Any]:
        """Sell a code for a line."""
        body: dict[str, object] = {"purpose": "Sale", "orderId": order_id, "orderLineId": line}
        return await self.shop.post(f"/certificates/{code}/authorize", body)

    async def sell(self, count: int, amount: int, *, phone: str = PHONE, paid_first: bool = False) -> list[str]:
        """Sell certificates of one order, and wait until they are active; gives their codes.

        If it has to be paid first, the reservations cannot lapse however short they are.
        """
        lines = {str(number): amount for number in range(1, count + 1)}
        codes = {line: new_code() for line in lines}
        order_id = await self.order(lines, phone=phone)
        await self.pay(order_id, lines)
        if paid_first:
            await self.order_is_known(order_id, payment=1)
        await asyncio.gather(*(self.reserve(code, order_id, line) for line, code in codes.items()))
        await asyncio.gather(*(self.has_status(code, "Active") for code in codes.values()))
        return list(codes.values())

    async def has_status(self, code: str, *statuses: str, within_seconds: float = ACTIVE_SECONDS_MAX) -> dict[str, Any]:
        """Wait until a certificate has one of these statuses; gives its state."""
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_seconds):
                while seen.get("status") not in statuses:
                    await asyncio.sleep(POLL_SECONDS)
                    seen = await self._ops.get(f"/certificates/{code}")
        except TimeoutError:
            raise AssertionError(f"{code} is not {' or '.join(statuses)} but: {seen}") from None
        return seen

    async def order_is_known(self, order_id: str, version: int = 1, *, payment: int = 0) -> None:
        """Wait until this version of an order has come, and this one of its payment."""
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(ACTIVE_SECONDS_MAX):
                while seen.get("orderVersion", 0) < version or seen.get("paymentVersion", 0) < payment:
                    await asyncio.sleep(POLL_SECONDS)
                    seen = await self._ops.get(f"/orders/{order_id}")
        except TimeoutError:
            raise AssertionError(f"{order_id} is not known in version {version}, payment {payment}: {seen}") from None

    async def certificate(self, code: str) -> dict[str, Any]:
        """The state of a certificate."""
        return await self._ops.get(f"/certificates/{code}")

    async def history(self, code: str) -> list[dict[str, Any]]:
        """All that was ever done to a certificate."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = await self._ops.get(f"/certificates/{code}/operations?after={after}&limit=200")
            found += page["operations"]
            after = page["next"]
        return found

    async def _publish(self, topic: str, key: str, event: dict[str, object]) -> None:
        """Publish an event, as Orders and Payments do: again until the broker has it, which may make it come twice."""
        value = msgspec.json.encode(event)
        async with asyncio.timeout(PUBLISHED_SECONDS_MAX):
            while not await self._published(topic, key, value):  # noqa: ASYNC110 - a broker that is away tells nobody
                await asyncio.sleep(POLL_SECONDS)

    async def _published(self, topic: str, key: str, value: bytes) -> bool:
        try:
            await self._publisher.publish(self._prefix + topic, key, value)
        except (TimeoutError, KafkaError):
            return False
        return True
