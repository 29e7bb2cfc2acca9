"""Kafka as the counterparts use it: publish an event and be sure of it; read a topic from its beginning.

The headers carry the CloudEvents attributes in their binary mode. Reading needs no consumer group: each subscriber
keeps its own picture of everything, so it takes every partition, from the first record on, every time it starts.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from examples.messages import rfc3339_now
from examples.patience import PATIENCE_SECONDS

SALES_ORDERS: Final = "All_SalesOrder"
PAYMENTS: Final = "All_Payments"
STATES: Final = "GiftCertificateState"
TRANSACTIONS: Final = "GiftCertificateTransaction"
DEAD_LETTERS: Final = "GiftCertificateProcessing.DeadLetter"

BROKER_SECONDS_MAX: Final = 15.0
"""How long the broker may take to answer before it counts as away."""

FETCH_MS_MAX: Final = 50
"""How long the broker may hold back an answer in the hope of more records: people are watching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    """None in a tombstone: what the key named is gone, and a compacted topic forgets it."""
    headers: Mapping[str, bytes]


class Publisher:
    """Publishes events in the name of one system.

    Args:
        bootstrap: The broker, `host:port`.
        source: The system, for the header `ce_source`.
        options: Further ones of the producer, for a broker that asks who is there.
    """

    def __init__(self, bootstrap: str, *, source: str, **options: Any) -> None:  # noqa: ANN401 - aiokafka has no types
        self._bootstrap = bootstrap
        self._options = options
        self._source = source
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, **self._options
        )
        await _start(producer)
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            async with asyncio.timeout(BROKER_SECONDS_MAX):
                await self._producer.stop()

    async def publish(self, topic: str, key: str, value: bytes, *, event_id: str | None = None) -> None:
        """Publish one event; when this returns, the broker has it.

        Args:
            topic: Where to; also the `ce_type`.
            key: What it is about: events of one key stay in order.
            value: The event, in JSON.
            event_id: The `ce_id`; the same event published twice has the same. A new one if not given.

        Raises:
            TimeoutError: The broker did not answer; the event may be there or not.
            aiokafka.errors.KafkaError: The broker refused.
        """
        if self._producer is None:
            raise RuntimeError("Open the publisher first: `async with Publisher(...) as publisher`.")
        attributes = {
            "ce_specversion": "1.0",
            "ce_id": event_id or uuid.uuid4().hex,
            "ce_type": topic,
            "ce_source": f"/{self._source}",
            "ce_time": rfc3339_now(),
            "ce_subject": key,
            "content-type": "application/json",
        }
        headers = [(name, text.encode()) for name, text in attributes.items()]
        async with asyncio.timeout(BROKER_SECONDS_MAX):
            await self._producer.send_and_wait(topic, value, key=key.encode(), headers=headers)


class Feed:
    """All the records of some topics, oldest first within a partition, handed to one function.

    Nothing runs in between: records are taken in while `read` is waited for.

    Args:
        bootstrap: The broker, `host:port`.
        topics: What to read.
        take: Gets every record, once for each time it was delivered.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str], take: Callable[[Record], None]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._take = take
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        partitions = await self._partitions()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_MS_MAX,
        )
        await _start(consumer)
        consumer.assign(partitions)
        self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            async with asyncio.timeout(BROKER_SECONDS_MAX):
                await self._consumer.stop()

    async def read(self, until: Callable[[], bool], *, within_seconds: float = PATIENCE_SECONDS) -> bool:
        """Take records in until a condition holds or time is up.

        Returns:
            Whether the condition holds.
        """
        if self._consumer is None:
            raise RuntimeError("Open the feed first: `async with feed`.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_seconds
        while not until():
            left_seconds = deadline - loop.time()
            if left_seconds <= 0:
                return False
            batches = await self._consumer.getmany(timeout_ms=max(1, int(min(left_seconds, 0.5) * 1000)))
            for batch in batches.values():
                for record in batch:
                    self._take(
                        Record(
                            topic=record.topic,
                            partition=record.partition,
                            offset=record.offset,
                            key=record.key or b"",
                            value=record.value or None,
                            headers=dict(record.headers),
                        )
                    )
        return True

    async def _partitions(self) -> list[TopicPartition]:
        # A producer asks for the topics by name, upon which a broker that may make topics makes those that are missing;
        # a consumer that is given its partitions would only wait for them.
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        await _start(producer)
        async with asyncio.timeout(BROKER_SECONDS_MAX):
            try:
                return [
                    TopicPartition(topic, partition)
                    for topic in self._topics
                    for partition in sorted(await producer.partitions_for(topic))
                ]
            finally:
                await producer.stop()


async def _start(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start a client; one that does not get to the broker is closed again."""
    try:
        async with asyncio.timeout(BROKER_SECONDS_MAX):
            await client.start()
    except BaseException:
        await client.stop()
        raise
