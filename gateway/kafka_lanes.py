"""Publishes records in order: one lane for each partition of a topic, with one batch on the way at a time.

What comes in while a batch is out makes up the next one. A batch that was not acknowledged is sent again, by a new
producer if need be, before anything behind it: so whatever fails in between, a later record of a key is never
published before an earlier one. Records may come twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner
from msgspec import Struct

from gateway.kafka_producer import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, KAFKA_FAILURES, ProducerKeeper

BATCH_RECORDS_MAX: Final = 4_096
"""Most records in a batch: more than fit into its bytes, unless a batch was too large for the broker."""
ROUTE_SECONDS_MAX: Final = 10.0
"""How long it may take to learn which partitions a topic has."""
REFUSED_SECONDS: Final = 5.0
"""After this a record that the broker will not have is tried again: somebody may have raised its limit."""
STALLED_SECONDS: Final = 2.0
"""A batch that is on the way for so long tells that Kafka does not answer."""

TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
UNWILLING: Final = (*TOO_LARGE, InvalidTopicError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError)
"""Answers that only a person can change."""

Headers = Sequence[tuple[str, bytes]]

_partition_of: Final = DefaultPartitioner()
_logger = logging.getLogger(__name__)


class Outgoing(Struct, frozen=True):
    """A record to be published; ``value`` is ``None`` for a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers


class Shipment:
    """Records that somebody waits for together."""

    __slots__ = ("delivered", "missing")

    def __init__(self, count: int) -> None:
        self.missing = count
        self.delivered: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self.arrived(0)

    def arrived(self, count: int) -> None:
        """``count`` more of them were acknowledged by the broker."""
        self.missing -= count
        if self.missing == 0 and not self.delivered.done():
            self.delivered.set_result(None)


class Lane:
    """What goes to one partition of a topic."""

    def __init__(self, topic: str, partition: int, keeper: ProducerKeeper) -> None:
        self._topic = topic
        self._partition = partition
        self._keeper = keeper
        self._queue: deque[tuple[Outgoing, Shipment]] = deque()
        self._filled = asyncio.Event()
        self._records_max = BATCH_RECORDS_MAX
        self._tried = 0
        self.since: float | None = None
        """When the first record in the queue began to wait (the loop's time); ``None`` if none does."""
        self.refused = ""
        """Why the broker will not have the first record, as long as it will not."""
        self.failure = ""
        """Why the last attempt failed; empty if it did not."""
        self.published = 0

    def put(self, record: Outgoing, shipment: Shipment) -> None:
        """Queue a record."""
        self._queue.append((record, shipment))
        if self.since is None:
            self.since = asyncio.get_running_loop().time()
        self._filled.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        pause = BACKOFF_SECONDS_MIN
        while True:
            await self._filled.wait()
            try:
                async with self._keeper.delivery() as producer:
                    count = await self._deliver(producer)
            except UNWILLING as error:
                await self._refused(error)
            except KAFKA_FAILURES as error:
                _logger.warning("%s/%d: not delivered: %r", self._topic, self._partition, error)
                self.failure = type(error).__name__
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_SECONDS_MAX)
            else:
                pause = BACKOFF_SECONDS_MIN
                self._delivered(count)

    async def _deliver(self, producer: AIOKafkaProducer) -> int:
        """Send as many as one batch holds, and wait for the broker; gives how many."""
        batch = producer.create_batch()
        count = 0
        for record, _ in islice(self._queue, self._records_max):
            # the first one always fits in
            if batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
                break
            count += 1
        batch.close()
        self._tried = count
        if self._partition not in await producer.partitions_for(self._topic):
            raise UnknownTopicOrPartitionError(f"{self._topic} has no partition {self._partition} any more")
        await (await producer.send_batch(batch, self._topic, partition=self._partition))
        return count

    def _delivered(self, count: int) -> None:
        for _ in range(count):
            self._queue.popleft()[1].arrived(1)
        self.published += count
        self.refused = self.failure = ""
        self._records_max = min(self._records_max * 2, BATCH_RECORDS_MAX)
        self.since = asyncio.get_running_loop().time() if self._queue else None
        if not self._queue:
            self._filled.clear()

    async def _refused(self, error: Exception) -> None:
        """The broker will not have it. Nothing is skipped: what is behind it waits until somebody has helped."""
        if isinstance(error, TOO_LARGE) and self._tried > 1:
            self._records_max = self._tried // 2  # together they may be too large
            return
        if not self.refused:
            _logger.critical(
                "%s/%d: the broker refuses a record (%r); what is behind it waits", self._topic, self._partition, error
            )
        self.refused = type(error).__name__
        await asyncio.sleep(REFUSED_SECONDS)


class Lanes:
    """All lanes; each is opened when the first record goes to its partition.

    Args:
        keeper: has the producer.
        tasks: owns the lanes' tasks.
    """

    def __init__(self, keeper: ProducerKeeper, tasks: asyncio.TaskGroup) -> None:
        self._keeper = keeper
        self._tasks = tasks
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._running: list[asyncio.Task[None]] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Publish records, those of one key in their order; returns when the broker has them all.

        Raises:
            aiokafka.errors.KafkaError: a topic is not there, or no broker; nothing was published.
            TimeoutError: no broker answers; nothing was published.
        """
        shipment = Shipment(len(records))
        partitions = await self._partitions({record.topic for record in records})
        for record in records:
            partition = _partition_of(record.key, partitions[record.topic], ())
            self._lane(record.topic, partition).put(record, shipment)
        await shipment.delivered

    async def _partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        async with asyncio.timeout(ROUTE_SECONDS_MAX):
            producer = await self._keeper.producer()
            return {topic: sorted(await producer.partitions_for(topic)) for topic in topics}

    def _lane(self, topic: str, partition: int) -> Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = Lane(topic, partition, self._keeper)
            self._running.append(self._tasks.create_task(lane.run(), name=f"lane {topic}/{partition}"))
        return lane

    @property
    def published(self) -> int:
        """Records that brokers have acknowledged."""
        return sum(lane.published for lane in self._lanes.values())

    @property
    def refused(self) -> str:
        """What the broker will not have, and why; empty if nothing."""
        held = (f"{topic}/{number}: {lane.refused}" for (topic, number), lane in self._lanes.items() if lane.refused)
        return ", ".join(held)

    @property
    def failure(self) -> str:
        """Why something did not get out at the first attempt, as long as it has not."""
        return next((lane.failure for lane in self._lanes.values() if lane.failure), "")

    @property
    def stalled(self) -> bool:
        """Whether something waits for the broker for longer than it should."""
        late = asyncio.get_running_loop().time() - STALLED_SECONDS
        return any(lane.since is not None and lane.since < late for lane in self._lanes.values())

    def close(self) -> None:
        """End all lanes; what waits in them is not published."""
        for task in self._running:
            task.cancel()
