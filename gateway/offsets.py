"""How far the topics go, and how far the inbox has read: noted in a backup, and put back with it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from gateway.bridge_settings import BridgeSettings
from gateway.kafka_consumer import SESSION_SECONDS, close_consumer, new_consumer
from gateway.kafka_producer import KAFKA_FAILURES, close_producer, new_producer, start_client
from gateway.kafka_refusals import refusal

ANSWER_SECONDS_MAX: Final = 10.0
"""How long the broker may take over one step; somebody sits before the screen."""
GROUP_SECONDS_MAX: Final = 2 * SESSION_SECONDS
"""An inbox that was killed belongs to its group for one session more."""
AGAIN_SECONDS: Final = 0.5
"""Between two tries to set back the place of a group."""
CLIENT: Final = "gift-ledger-recovery"

Offsets = dict[str, dict[int, int]]
"""By topic and partition."""


class TopicsError(OSError):
    """Kafka does not answer, or a topic is not there."""


@asynccontextmanager
async def consumer_of(
    settings: BridgeSettings, topics: Sequence[str], group: str | None
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that all partitions of these topics are assigned to.

    Raises:
        TopicsError: Kafka does not answer, or a topic is not there.
    """
    producer = new_producer(settings, CLIENT)
    consumer = new_consumer(settings, group, CLIENT)
    try:
        try:
            await start_client(producer.start(), ANSWER_SECONDS_MAX)
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                found = {topic: sorted(await producer.partitions_for(topic)) for topic in topics}
            await start_client(consumer.start(), ANSWER_SECONDS_MAX)
            consumer.assign([TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers])
        except KAFKA_FAILURES as error:
            what = f"{' and '.join(topics)} cannot be opened at {settings.bootstrap}"
            if refused := await refusal(settings):
                raise TopicsError(f"{what}: {refused}.") from error
            raise topics_error(what, error) from error
        yield consumer
    finally:
        await close_consumer(consumer)
        await close_producer(producer)


async def read_so_far(settings: BridgeSettings) -> Offsets:
    """Up to where the inbox has given orders and payments to the ledger.

    Raises:
        TopicsError: Kafka does not answer, or a topic is not there.
    """
    topics = (settings.sales_orders, settings.payments)
    async with consumer_of(settings, topics, settings.group) as consumer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return _by_topic({one: await consumer.committed(one) or 0 for one in consumer.assignment()})
        except KAFKA_FAILURES as error:
            raise topics_error("what the inbox has read is not told", error) from error


async def published_so_far(settings: BridgeSettings) -> Offsets:
    """Where the topics end that we publish to.

    Raises:
        TopicsError: Kafka does not answer, or a topic is not there.
    """
    async with consumer_of(settings, (settings.states, settings.transactions), None) as consumer:
        return _by_topic(await ends(consumer))


async def ends(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Offsets behind the last record of each partition that is assigned.

    Raises:
        TopicsError: Kafka does not answer.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found: dict[TopicPartition, int] = await consumer.end_offsets(consumer.assignment())
    except KAFKA_FAILURES as error:
        raise topics_error("the ends of the topics are not told", error) from error
    return found


async def read_again(settings: BridgeSettings, offsets: Mapping[str, Mapping[int, int]]) -> None:
    """Have the inbox begin at these offsets when it starts; it must not run now.

    Raises:
        TopicsError: Kafka does not answer, or an inbox runs: the group belongs to its members.
    """
    deadline = asyncio.get_running_loop().time() + GROUP_SECONDS_MAX
    async with consumer_of(settings, tuple(offsets), settings.group) as consumer:
        places = {
            TopicPartition(topic, number): at
            for topic, partitions in offsets.items()
            for number, at in partitions.items()
        }
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    await consumer.commit(places)
            except KAFKA_FAILURES as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise topics_error(f"the place of the group {settings.group} cannot be set back", error) from error
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


def topics_error(what: str, error: Exception) -> TopicsError:
    """The error for a step that failed."""
    why = str(error) if isinstance(error, KafkaError) and not isinstance(error, KafkaTimeoutError) else "no answer"
    return TopicsError(f"{what}: {why}.")


def _by_topic(offsets: Mapping[TopicPartition, int]) -> Offsets:
    found: Offsets = {}
    for (topic, partition), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[partition] = offset
    return found
