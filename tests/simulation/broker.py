"""A Kafka-protocol broker in memory, and the two ends of aiokafka that the bridge uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner
from msgspec import Struct

from tests.simulation.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.loop import VirtualLoop
    from tests.simulation.trace import Trace
    from tests.simulation.weather import Weather

PARTITIONS = 2
ANSWER_SECONDS_MAX = 1.5
"""How long its clients wait for one answer; aiokafka's own retries are inside."""
BATCH_RECORDS_MAX = 5

Result = TypeVar("Result")
Headers = Sequence[tuple[str, bytes]]
_partition_of = DefaultPartitioner()


class Kept(Struct, frozen=True):
    """A record in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Broker:
    """Keeps topics and committed offsets through everything."""

    def __init__(self, topics: Iterable[str], loop: VirtualLoop, seed: int, weather: Weather, trace: Trace) -> None:
        self.kept: dict[TopicPartition, list[Kept]] = {
            TopicPartition(topic, number): [] for topic in topics for number in range(PARTITIONS)
        }
        self.committed: dict[TopicPartition, int] = {}
        self.came = asyncio.Event()
        self.server = Server(
            "broker",
            loop,
            seed,
            weather,
            trace,
            seconds_max=ANSWER_SECONDS_MAX,
            lost=KafkaConnectionError,
            refused=KafkaConnectionError,
        )

    def publish(self, topic: str, key: bytes, value: bytes) -> str:
        """Another system publishes; gives where the record is: `topic/partition/offset`."""
        number = _partition_of(key, list(range(PARTITIONS)), ())
        return self.keep(topic, number, [(key, value, ())])

    def keep(self, topic: str, number: int, records: Sequence[tuple[bytes | None, bytes | None, Headers]]) -> str:
        """Take records in."""
        log = self.kept[TopicPartition(topic, number)]
        for key, value, headers in records:
            log.append(Kept(topic, number, len(log), key, value, headers))
        self.came.set()
        self.came = asyncio.Event()
        return f"{topic}/{number}/{len(log) - 1}"

    def at(self, source: str) -> Kept:
        """The record at `topic/partition/offset`."""
        topic, number, offset = source.rsplit("/", 2)
        return self.kept[TopicPartition(topic, int(number))][int(offset)]

    def topic(self, name: str) -> list[Kept]:
        """All records of a topic, those of one key in their order."""
        return [record for partition, log in self.kept.items() if partition.topic == name for record in log]

    def lag(self, topics: Iterable[str]) -> int:
        """Records of these topics that are not committed."""
        names = set(topics)
        return sum(
            len(log) - self.committed.get(partition, 0)
            for partition, log in self.kept.items()
            if partition.topic in names
        )

    def partitions(self, topic: str) -> set[int]:
        """Numbers of a topic's partitions."""
        found = {partition.partition for partition in self.kept if partition.topic == topic}
        if not found:
            raise UnknownTopicOrPartitionError
        return found


class Pending:
    """A batch that is being filled."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, Headers]] = []

    def append(self, *, key: bytes, value: bytes | None, timestamp: None, headers: Headers) -> object | None:
        assert timestamp is None
        if len(self.records) == BATCH_RECORDS_MAX:
            return None
        self.records.append((key, value, headers))
        return self

    def close(self) -> None:
        """Nothing more comes."""


class _Metadata:
    """What :class:`~gateway.kafka_producer.ProducerKeeper` asks of a producer's connections."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._conns: dict[str, Any] = {}

    async def force_metadata_update(self) -> bool:
        return await self._broker.server.call("metadata", lambda: True, writes=False)

    async def close(self) -> None:
        """Nothing is open."""


class _Sender:
    sender_task: None = None


class Producer:
    """As much of `AIOKafkaProducer` as the bridge uses."""

    def __init__(self, broker: Broker) -> None:
        self.client = _Metadata(broker)
        self._broker = broker
        self._sender = _Sender()
        self._closed = False

    async def start(self) -> None:
        await self.client.force_metadata_update()

    def create_batch(self) -> Pending:
        return Pending()

    async def partitions_for(self, topic: str) -> set[int]:
        return self._broker.partitions(topic)

    async def send_batch(self, batch: Pending, topic: str, *, partition: int) -> asyncio.Future[str]:
        return asyncio.ensure_future(self._send(topic, partition, batch.records))

    async def send_and_wait(self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers) -> None:
        await self._send(topic, 0, [(key, value, headers)])

    async def _send(
        self, topic: str, number: int, records: Sequence[tuple[bytes | None, bytes | None, Headers]]
    ) -> str:
        keys = ", ".join(str(key and key.decode()) for key, _, _ in records)
        name = f"produce({topic}/{number}: {keys})"
        return await self._broker.server.call(name, lambda: self._broker.keep(topic, number, records), writes=True)


class Consumer:
    """As much of `AIOKafkaConsumer` as the inbox uses, with all partitions assigned."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        await self._ask("metadata", lambda: True)

    async def stop(self) -> None:
        """Nothing is open."""

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = {one: self._broker.committed.get(one, 0) for one in sorted(partitions)}

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Kept]]:
        came = self._broker.came
        try:
            found = await self._ask("fetch", lambda: self._fetched(max_records))
            if not found:
                async with asyncio.timeout(timeout_ms / 1_000):
                    await came.wait()
        except (TimeoutError, KafkaConnectionError):
            return {}  # aiokafka says nothing of a broker that is away
        for partition, records in found.items():
            self._positions[partition] = records[-1].offset + 1
        return found

    def _fetched(self, most: int) -> dict[TopicPartition, list[Kept]]:
        found = {}
        for partition, position in self._positions.items():
            records = [] if partition in self._paused else self._broker.kept[partition][position : position + most]
            if records:
                found[partition] = records
                most -= len(records)
        return found

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        # a consumer that was overtaken takes the others back: they read again what they have read
        text = ", ".join(f"{one.topic}/{one.partition}: {at}" for one, at in sorted(positions.items()))
        name = f"commit({text})"
        await self._broker.server.call(name, lambda: self._broker.committed.update(positions), writes=True)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        asked = sorted(partitions)
        return await self._ask("ends", lambda: {one: len(self._broker.kept[one]) for one in asked})

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._broker.partitions(topic)

    async def topics(self) -> set[str]:
        return await self._ask("topics", lambda: {one.topic for one in self._broker.kept})

    async def _ask(self, name: str, run: Callable[[], Result]) -> Result:
        return await self._broker.server.call(name, run, writes=False)
