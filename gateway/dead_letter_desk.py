"""What operators do with dead letters: read them, and give them to the inbox once more."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from gateway.dead_letters import DETAIL, OFFSET, OURS, PARTITION, REASON, TIME, TOPIC, VALUE_BYTES
from gateway.kafka_consumer import close_consumer, new_consumer
from gateway.kafka_producer import KAFKA_FAILURES, close_producer, new_producer, start_client
from gateway.kafka_refusals import refusal

ANSWER_SECONDS_MAX: Final = 10.0
"""How long the broker may take over one step; somebody sits before the screen."""
REPLAY_OF: Final = "dlq_replay_of"
"""Header of a replayed event: the letter that it comes from."""


class DeskError(OSError):
    """Kafka does not answer, or the topic of dead letters is not there."""


class Letter(Struct, frozen=True, kw_only=True):
    """A dead letter. ``topic``, ``source_partition`` and ``source_offset`` say where the event was read."""

    partition: int
    offset: int
    at: str
    reason: str
    detail: str
    topic: str
    source_partition: str
    source_offset: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    replayed: bool
    """Whether it stands before the mark of :meth:`DeadLetterDesk.mark_replayed`."""

    @property
    def name(self) -> str:
        """``PARTITION:OFFSET`` in the topic of dead letters."""
        return f"{self.partition}:{self.offset}"

    @property
    def size(self) -> int:
        """Bytes of the original value."""
        told = dict(self.headers).get(VALUE_BYTES, b"")
        return int(told) if told.isdigit() else len(self.value or b"")


class DeadLetterDesk:
    """The topic of dead letters; an ``async with`` block.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._settings = settings
        # a group of its own only keeps the mark of what was replayed
        self._consumer: AIOKafkaConsumer = new_consumer(settings, f"{settings.group}-dlq", "gift-ledger-dlq")
        self._producer = new_producer(settings, "gift-ledger-dlq")

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            DeskError: Kafka does not answer, or the topic is not there.
        """
        topic = self._settings.dead_letters
        try:
            await start_client(self._producer.start(), ANSWER_SECONDS_MAX)
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                partitions = await self._producer.partitions_for(topic)
            await start_client(self._consumer.start(), ANSWER_SECONDS_MAX)
            self._consumer.assign([TopicPartition(topic, number) for number in sorted(partitions)])
        except BaseException as error:
            await self._close()
            if isinstance(error, KAFKA_FAILURES):
                what = f"{topic} cannot be opened at {self._settings.bootstrap}"
                if refused := await refusal(self._settings):
                    raise DeskError(f"{what}: {refused}.") from error
                raise _desk_error(what, error) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def letters(self) -> AsyncIterator[Letter]:
        """All letters that are there now, oldest first within each partition.

        Raises:
            DeskError: Kafka stopped to answer.
        """
        for partition in sorted(self._consumer.assignment()):
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    (end,) = (await self._consumer.end_offsets([partition])).values()
                    (at,) = (await self._consumer.beginning_offsets([partition])).values()
                    mark = await self._consumer.committed(partition) or 0
                self._consumer.seek(partition, at)
                while at < end:
                    async with asyncio.timeout(ANSWER_SECONDS_MAX):
                        record = await self._consumer.getone(partition)
                    at = record.offset + 1
                    yield _letter(record, replayed=record.offset < mark)
            except KAFKA_FAILURES as error:
                raise _desk_error("the dead letters cannot be read", error) from error

    def obstacle(self, letter: Letter) -> str | None:
        """Why a letter cannot be replayed; ``None`` if it can."""
        if letter.topic not in {self._settings.sales_orders, self._settings.payments}:
            return "it came from none of our topics"
        if VALUE_BYTES in dict(letter.headers):
            return "its value was too large to be put aside, and is only where it was read"
        return None

    async def replay(self, letter: Letter) -> None:
        """Publish the original key and value to the topic that the event came from.

        Raises:
            DeskError: Kafka did not take it.
        """
        headers = [header for header in letter.headers if header[0] not in {*OURS, REPLAY_OF}]
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._producer.send_and_wait(
                    letter.topic,
                    letter.value,
                    key=letter.key,
                    headers=[*headers, (REPLAY_OF, letter.name.encode())],
                )
        except KAFKA_FAILURES as error:
            raise _desk_error(f"{letter.name} was not taken", error) from error

    async def mark_replayed(self, letter: Letter) -> None:
        """Note that everything in its partition up to this letter was replayed.

        Raises:
            DeskError: Kafka did not take the note.
        """
        partition = TopicPartition(self._settings.dead_letters, letter.partition)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._consumer.commit({partition: letter.offset + 1})
        except KAFKA_FAILURES as error:
            raise _desk_error("what was replayed could not be noted", error) from error

    async def _close(self) -> None:
        await close_consumer(self._consumer)
        await close_producer(self._producer)


def _desk_error(what: str, error: Exception) -> DeskError:
    why = str(error) if isinstance(error, KafkaError) and not isinstance(error, KafkaTimeoutError) else "no answer"
    return DeskError(f"{what}: {why}.")


def _letter(record: Any, *, replayed: bool) -> Letter:  # noqa: ANN401 - aiokafka has no types
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at=headers.get(TIME, ""),
        reason=headers.get(REASON, ""),
        detail=headers.get(DETAIL, ""),
        topic=headers.get(TOPIC, ""),
        source_partition=headers.get(PARTITION, ""),
        source_offset=headers.get(OFFSET, ""),
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        replayed=replayed,
    )
