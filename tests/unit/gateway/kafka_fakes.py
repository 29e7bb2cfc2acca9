"""A broker, a producer and a keeper that live in the test, and do as they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import UnknownTopicOrPartitionError

from gateway.kafka_producer import KAFKA_FAILURES

Stored = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class FakeBatch:
    def __init__(self, records_max: int) -> None:
        self.records: list[Stored] = []
        self.closed = False
        self._records_max = records_max

    def append(
        self, *, key: bytes | None, value: bytes | None, timestamp: int | None, headers: list[tuple[str, bytes]]
    ) -> object | None:
        assert timestamp is None
        if len(self.records) == self._records_max:
            return None
        self.records.append((key, value, headers))
        return object()

    def close(self) -> None:
        self.closed = True


class FakeBroker:
    """Keeps what it acknowledged. ``failures`` are raised first, one for each delivery; ``None`` lets one pass."""

    def __init__(self, partitions: int = 1, batch_records_max: int = 100) -> None:
        self.partitions = partitions
        self.batch_records_max = batch_records_max
        self.topics: dict[tuple[str, int], list[Stored]] = {}
        self.failures: list[Exception | None] = []
        self.value_bytes_max = 1_000_000
        self.too_large: Exception | None = None
        self.deliveries = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.missing: set[str] = set()

    def all(self, topic: str) -> list[Stored]:
        return [record for (name, _), records in sorted(self.topics.items()) if name == topic for record in records]

    async def take(self, topic: str, partition: int, records: list[Stored]) -> None:
        self.deliveries += 1
        await self.gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        if self.too_large is not None and sum(len(value or b"") for _, value, _ in records) > self.value_bytes_max:
            raise self.too_large
        self.topics.setdefault((topic, partition), []).extend(records)


class FakeProducer:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self._broker.batch_records_max)

    async def partitions_for(self, topic: str) -> set[int]:
        if topic in self._broker.missing:
            raise UnknownTopicOrPartitionError
        return set(range(self._broker.partitions))

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> "asyncio.Future[None]":
        assert batch.closed
        return asyncio.ensure_future(self._broker.take(topic, partition, batch.records))

    async def send_and_wait(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        await self._broker.take(topic, 0, [(key, value, headers)])


class FakeKeeper:
    """Stands in for :class:`gateway.kafka_producer.ProducerKeeper`."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.started = 1
        self.reachable = True
        self.refusal = ""
        self._producer = FakeProducer(broker)

    async def producer(self) -> Any:  # noqa: ANN401 - as aiokafka's, which has no types
        return self._producer

    @asynccontextmanager
    async def delivery(self) -> AsyncIterator[FakeProducer]:
        try:
            yield self._producer
        except KAFKA_FAILURES:
            self.started += 1
            self._producer = FakeProducer(self.broker)
            raise

    async def run(self) -> None:
        await asyncio.Event().wait()
