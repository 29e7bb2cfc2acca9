"""One consumer's life: it reads, has the records worked on, and commits what is done."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, UnknownTopicOrPartitionError

from gateway.bridge_settings import BridgeSettings
from gateway.dead_letters import Received
from gateway.inbox_progress import Progress
from gateway.inbox_work import InboxWork
from gateway.kafka_consumer import METADATA_SECONDS, close_consumer, new_consumer
from gateway.kafka_producer import KAFKA_FAILURES, ProducerKeeper, start_client

WINDOW: Final = 500
"""Most records under way at once; it keeps the shards' mailboxes short for the tills."""
SPAN_MAX: Final = 10_000
"""Most records of a partition beyond one that cannot be finished yet. So many are applied again after a restart."""
POLL_SECONDS: Final = 0.1
"""How long one poll waits for records, and thereby how late a stop is seen."""
REASSIGNMENT_SECONDS: Final = 1.0
"""How long a poll may take while the group hands partitions over."""
COMMIT_SECONDS: Final = 0.2
"""Between two commits."""
WATCH_SECONDS: Final = 2.0
"""Between two questions to the broker how far each partition reaches."""
STUCK_SECONDS: Final = 30.0
"""A partition that has more, and from which nothing came for so long, is read by a new consumer (aiokafka #1154)."""
ANSWER_SECONDS_MAX: Final = 5.0
"""How long the broker may take to answer; aiokafka itself would ask for ever."""
LOOK_SECONDS_MAX: Final = 2.0
"""After this a broker that does not say how far its partitions reach counts as away."""
SETTLE_SECONDS_MAX: Final = 3.0
"""How long records under way may take when their partitions go to another member, or when the inbox stops."""

_logger = logging.getLogger(__name__)


class StuckError(Exception):
    """The consumer has stopped without saying so, or there are other partitions now: a new one is needed."""


class Reading(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Reads orders and payments until told to stop.

    Args:
        settings: where from.
        work: what becomes of the records.
        keeper: knows the partitions of topics, where there is no group to share them.
    """

    def __init__(self, settings: BridgeSettings, work: InboxWork, keeper: ProducerKeeper) -> None:
        self._topics: Final = (settings.sales_orders, settings.payments)
        self._assign = settings.assign_partitions
        self._work = work
        self._keeper = keeper
        self._consumer = new_consumer(settings, settings.group, "gift-ledger-inbox")
        self._progress = Progress()
        self._watching: asyncio.Task[None] | None = None
        self._seen: dict[TopicPartition, tuple[int, float]] = {}
        self._joined = False
        self._uncommitted_since: float | None = None
        self.answered = False
        """Whether the broker has answered lately, and all topics are there."""
        self.lag = 0
        """Records that wait in the topics."""

    @property
    def partitions(self) -> set[TopicPartition]:
        """What it reads now."""
        return set(self._consumer.assignment())

    async def open(self) -> None:
        """Join the group, or take all partitions.

        Raises:
            aiokafka.errors.KafkaError: the broker refuses, or there is nothing to read.
            TimeoutError: no answer.
        """
        await start_client(self._consumer.start(), ANSWER_SECONDS_MAX)
        if self._assign:
            self._consumer.assign(await self._all_partitions())
            self._joined = True
        else:
            self._consumer.subscribe(self._topics, listener=self)
        self._watching = asyncio.create_task(self._watch(), name="inbox watch")

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set.

        Raises:
            StuckError: a new reading is needed.
            aiokafka.errors.KafkaError: as well.
        """
        now = asyncio.get_running_loop().time
        commit_at = now() + COMMIT_SECONDS
        while not stop.is_set():
            if self._work.failure is not None:
                raise self._work.failure
            if self._watching is not None and self._watching.done():
                self._watching.result()
            room = WINDOW - self._work.in_flight
            if room > 0:
                await self._poll(room)
            else:
                await self._work.moved(POLL_SECONDS)
            if now() >= commit_at:
                await self._commit()
                commit_at = now() + COMMIT_SECONDS

    async def close(self) -> None:
        """Commit what is done, and leave."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        try:
            await self._hand_over()
        finally:
            await close_consumer(self._consumer)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """The group shares its partitions anew. aiokafka calls this from a task of its own, and polls give nothing."""
        _logger.info("%d partitions go back to the group", len(revoked))
        self._joined = False
        await self._hand_over()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """These partitions are ours now."""
        _logger.info("%d partitions to read", len(assigned))
        self._joined = True

    async def _poll(self, room: int) -> None:
        self._hold_back()
        try:
            async with asyncio.timeout(REASSIGNMENT_SECONDS):
                found = await self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1_000), max_records=room)
        except TimeoutError:
            return
        for partition, records in found.items():
            for record in records:
                received = Received(
                    record.topic, record.partition, record.offset, record.key, record.value, record.headers
                )
                mark = self._progress.begin(partition, record.offset)
                self._work.take(received, partial(self._progress.finish, partition, mark))

    def _hold_back(self) -> None:
        """Read no more from partitions that are far beyond a record that waits."""
        paused = self._consumer.paused()
        for partition in self._consumer.assignment():
            span = self._progress.span(partition)
            if span >= SPAN_MAX and partition not in paused:
                self._consumer.pause(partition)
            elif span < SPAN_MAX // 2 and partition in paused:
                self._consumer.resume(partition)

    async def _hand_over(self) -> None:
        await self._work.settle(SETTLE_SECONDS_MAX)
        with suppress(StuckError):  # what is not committed will be read again
            await self._commit()
        self._progress.forget()

    async def _commit(self) -> None:
        own = self._consumer.assignment()
        positions = {partition: offset for partition, offset in self._progress.to_commit().items() if partition in own}
        if not positions:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._consumer.commit(positions)
        except (CommitFailedError, IllegalStateError) as error:
            # they are somebody else's by now, who reads them again
            _logger.info("not committed: %r", error)
        except KAFKA_FAILURES as error:
            # aiokafka finds the broker again by itself, as a rule
            self.answered = False
            self._not_committed(error)
        else:
            self._progress.committed(positions)
            self._uncommitted_since = None

    def _not_committed(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        _logger.warning("not committed yet: %r", error)
        self._uncommitted_since = self._uncommitted_since or now
        if now - self._uncommitted_since > STUCK_SECONDS:
            raise StuckError("nothing can be committed") from error

    async def _watch(self) -> None:
        """Find out again and again whether the broker answers, and whether all that is there has come."""
        now = asyncio.get_running_loop().time
        look_again = now() + METADATA_SECONDS
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS_MAX):
                    self.answered = await self._look() and self._joined
            except KAFKA_FAILURES as error:
                level = logging.WARNING if self.answered else logging.DEBUG  # said once
                _logger.log(level, "Kafka does not answer the inbox: %r", error)
                self.answered = False
            if self._assign and now() >= look_again:
                await self._look_for_partitions()
                look_again = now() + METADATA_SECONDS
            await asyncio.sleep(WATCH_SECONDS if self.answered else POLL_SECONDS)

    async def _look(self) -> bool:
        consumer, now = self._consumer, asyncio.get_running_loop().time()
        own = consumer.assignment()
        ends = await consumer.end_offsets(own) if own else {}
        if not own:
            await consumer.topics()
        lag = 0
        for partition, end in ends.items():
            position = await consumer.position(partition)
            lag += max(0, end - position)
            before, since = self._seen.get(partition, (-1, now))
            waits = position == before and position < end and partition not in consumer.paused()
            self._seen[partition] = (position, since if waits else now)
            if now - since > STUCK_SECONDS and waits and self._work.in_flight == 0:
                raise StuckError(f"{partition.topic}/{partition.partition} has more, and nothing comes")
        self.lag = lag
        return all(consumer.partitions_for_topic(topic) for topic in self._topics)

    async def _look_for_partitions(self) -> None:
        try:
            partitions = await self._all_partitions()
        except KAFKA_FAILURES:
            return
        if partitions != self.partitions:
            raise StuckError("there are other partitions now")

    async def _all_partitions(self) -> set[TopicPartition]:
        found = set()
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            producer = await self._keeper.producer()
            for topic in self._topics:
                found |= {TopicPartition(topic, number) for number in await producer.partitions_for(topic)}
        if not found:
            raise UnknownTopicOrPartitionError
        return found
