"""What the tests of the bridge share: settings of their own topics, a ledger in memory, and a subscriber."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from actors.host import wall_clock
from actors.issuer import Issuer
from actors.settings import ActorSettings
from actors.shard import Shard
from gateway.bridge_settings import BridgeSettings
from ledger.commands import SYSTEM, Look, RecordPayment
from ledger.identifiers import certificate_entity, order_entity
from ledger.policy import DEFAULT_POLICY
from ledger.publications import STATE, TRANSACTION, Publication
from persistence import codec
from persistence.log import Batch
from persistence.memory import MemoryLog
from persistence.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gateway.bridge_actors import Worker
    from ledger.answers import Answer
    from ledger.commands import AnyCommand, Origin
    from persistence.log import Log
    from tests.real.kafka import RealKafka

AnyWorker = TypeVar("AnyWorker", bound="Worker")
WAIT_SECONDS = 60.0
"""Longest wait for what has to come; on a busy machine it may take some."""
POLL_SECONDS = 0.02


def bridge_settings(bootstrap: str, prefix: str = "", **changes: Any) -> BridgeSettings:  # noqa: ANN401
    """Settings with topics and a group of the test's own."""
    return BridgeSettings(
        bootstrap=bootstrap,
        group=f"{prefix}gift-ledger",
        sales_orders=f"{prefix}All_SalesOrder",
        payments=f"{prefix}All_Payments",
        states=f"{prefix}GiftCertificateState",
        transactions=f"{prefix}GiftCertificateTransaction",
        dead_letters=f"{prefix}GiftCertificateProcessing.DeadLetter",
        **changes,
    )


async def make_topics(kafka: RealKafka, settings: BridgeSettings, partitions: int = 3) -> None:
    """All five."""
    await kafka.create_topics(
        settings.sales_orders,
        settings.payments,
        settings.states,
        settings.transactions,
        settings.dead_letters,
        partitions=partitions,
    )


async def until(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(POLL_SECONDS)


async def is_empty(log: Log) -> None:
    """Wait until all outboxes are."""
    async with asyncio.timeout(WAIT_SECONDS):
        while sum(await log.outbox_sizes()):  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def running(worker: AnyWorker) -> AsyncIterator[AnyWorker]:
    """Run a worker, and stop it in good order."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(WAIT_SECONDS):
            await task


class MemoryLedger:
    """A shard over a log in memory, that can be away for a while."""

    def __init__(self, log: Log | None = None, vault: Vault | None = None) -> None:
        self.log = log or MemoryLog()
        self.vault = vault or Vault.generate()
        self.asked: list[tuple[str, AnyCommand, Origin]] = []
        self.refusing: Exception | None = None
        self._shard = Shard(
            "certificates:00", self.log, Issuer(self.vault), self, wall_clock, DEFAULT_POLICY, ActorSettings()
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._shard.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._shard.close()
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """As :meth:`actors.ports.Ledger.ask`."""
        if self.refusing is not None:
            raise self.refusing
        self.asked.append((entity, command, origin))
        return await self._shard.ask(entity, command, origin)

    async def order(self, order_id: str) -> dict[str, Any]:
        """The order as ``GET /orders/{orderId}`` shows it; empty if it is not known."""
        answer = await self._shard.ask(order_entity(order_id), Look(), SYSTEM)
        shown: dict[str, Any] = json.loads(answer.body) if answer.body else {}
        return shown

    def paid(self, version: int) -> set[str]:
        """Orders that a payment of this version was recorded for."""
        return {
            entity
            for entity, command, _ in self.asked
            if isinstance(command, RecordPayment) and command.payment_version == version
        }


def order_event(order_id: str, version: int = 1, **changes: object) -> bytes:
    """An ``All_SalesOrder`` with one line."""
    event = {
        "orderId": order_id,
        "orderVersion": version,
        "status": "Placed",
        "channel": "OnlineStore",
        "currency": "RUB",
        "certificateLines": [
            {
                "orderLineId": "1",
                "plannedDenomination": 150_000,
                "intendedRecipient": {"name": "Anna", "phone": "+79990000001", "locale": "ru"},
            }
        ],
        "occurredAt": "2026-11-24T06:00:00.000Z",
    }
    return json.dumps(event | changes).encode()


def payment_event(order_id: str, version: int = 1, amount: int = 150_000, **changes: object) -> bytes:
    """An ``All_Payments`` that settles the order."""
    event = {
        "orderId": order_id,
        "paymentVersion": version,
        "currency": "RUB",
        "capturedAmount": amount,
        "outstandingAmount": 0,
        "isOrderSettled": True,
        "certificateAllocations": [{"orderLineId": "1", "collectedAmount": amount}],
        "occurredAt": "2026-11-24T06:00:00.000Z",
    }
    return json.dumps(event | changes).encode()


async def publish(bootstrap: str, topic: str, records: Sequence[tuple[str | None, bytes | None]]) -> None:
    """Publish keys and values, in order within each key."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        async with asyncio.timeout(WAIT_SECONDS):
            futures = [
                await producer.send(topic, value, key=None if key is None else key.encode()) for key, value in records
            ]
            await asyncio.gather(*futures)


async def read_topic(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The first ``count`` records of a topic, or more if they are there already; each partition in its order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    async with asyncio.timeout(WAIT_SECONDS), consumer, producer:
        consumer.assign([TopicPartition(topic, number) for number in await producer.partitions_for(topic)])
        found: list[Any] = []
        ends = await consumer.end_offsets(consumer.assignment())
        while len(found) < max(count, sum(ends.values())):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += records
    return found


async def committed(bootstrap: str, group: str, topic: str) -> int:
    """Sum of the offsets that a group has committed in a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    async with asyncio.timeout(WAIT_SECONDS), consumer, producer:
        partitions = [TopicPartition(topic, number) for number in await producer.partitions_for(topic)]
        consumer.assign(partitions)
        return sum([await consumer.committed(partition) or 0 for partition in partitions])


def code(number: int) -> str:
    """A certificate's code."""
    return f"GC-{number:08d}"


async def fill_outbox(log: Log, versions: range, certificates: int) -> None:
    """For each of some certificates, a state and a transaction at each version."""
    for version in versions:
        entries = []
        for number in range(certificates):
            for topic in (TRANSACTION, STATE):
                value = json.dumps({"code": code(number), "version": version}).encode()
                event = Publication(topic, code(number), f"{topic[15]}_{version}_{number}", wall_clock(), value)
                entries.append((certificate_entity(code(number)), codec.encode_publication(event)))
        assert await log.append(Batch(outbox=tuple(entries))) is None


def first_seen(records: Sequence[Any]) -> dict[str, list[int]]:
    """For each key the versions in the order in which they came, without repetitions of what had come before."""
    versions: dict[str, list[int]] = {}
    for record in records:
        seen = versions.setdefault(record.key.decode(), [])
        version = json.loads(record.value)["version"]
        if version not in seen:
            seen.append(version)
    return versions
