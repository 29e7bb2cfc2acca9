"""Inputs that can never be applied are put aside, as they came, with headers that say why and where from."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka.errors import MessageSizeTooLargeError
from msgspec import Struct

from gateway.kafka_producer import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, KAFKA_FAILURES, ProducerKeeper
from ledger.money import rfc3339

DETAIL_CHARACTERS_MAX: Final = 500
"""Of the reason: an event may be wrong at great length."""
KEY_BYTES_MAX: Final = 1_024
"""A longer key is left out of a letter that is too large; the longest that Orders uses has 64."""

REASON: Final = "dlq_reason"
DETAIL: Final = "dlq_detail"
TOPIC: Final = "dlq_topic"
PARTITION: Final = "dlq_partition"
OFFSET: Final = "dlq_offset"
TIME: Final = "dlq_time"
VALUE_BYTES: Final = "dlq_value_bytes"
"""Only in a letter whose value was too large to be put aside: how large it was."""
OURS: Final = frozenset({REASON, DETAIL, TOPIC, PARTITION, OFFSET, TIME, VALUE_BYTES})

_logger = logging.getLogger(__name__)


class Received(Struct, frozen=True):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def source(self) -> str:
        """Where it was read: ``topic/partition/offset``."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class DeadLetterWriter:
    """Puts records aside.

    Args:
        topic: where to.
        keeper: has the producer.
        clock: milliseconds since the epoch.
    """

    def __init__(self, topic: str, keeper: ProducerKeeper, clock: Callable[[], int]) -> None:
        self._topic = topic
        self._keeper = keeper
        self._clock = clock
        self.written = 0
        self.failing = False
        """Whether the last attempt failed, and is being repeated."""

    async def put(self, record: Received, reason: str, detail: str) -> None:
        """Put a record aside; returns when the broker has it, however long that takes."""
        _logger.warning("%s can never be applied: %s", record.source, reason)
        why = self._why(record, reason, detail)
        kept = [header for header in record.headers if header[0] not in OURS]
        key, value, headers = record.key, record.value, [*kept, *why]
        pause = BACKOFF_SECONDS_MIN
        while True:
            try:
                async with self._keeper.delivery() as producer:
                    await producer.send_and_wait(self._topic, value, key=key, headers=headers)
            except KAFKA_FAILURES as error:
                _logger.warning("a dead letter is not written yet: %r", error)
                self.failing = True
                if isinstance(error, MessageSizeTooLargeError):
                    # with the reason added it no longer fits; the original can still be read where it came from
                    key = None if len(key or b"") > KEY_BYTES_MAX else key
                    value, headers = b"", [*why, (VALUE_BYTES, str(len(record.value or b"")).encode())]
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_SECONDS_MAX)
            else:
                self.written += 1
                self.failing = False
                return

    def _why(self, record: Received, reason: str, detail: str) -> list[tuple[str, bytes]]:
        return [
            (REASON, reason.encode()),
            (DETAIL, detail[:DETAIL_CHARACTERS_MAX].encode(errors="replace")),
            (TOPIC, record.topic.encode()),
            (PARTITION, str(record.partition).encode()),
            (OFFSET, str(record.offset).encode()),
            (TIME, rfc3339(self._clock()).encode()),
        ]
