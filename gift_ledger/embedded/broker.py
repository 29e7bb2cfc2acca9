"""The embedded Kafka-protocol broker: librdkafka's mock cluster, inside of this process.

It is for a first look. It keeps the newest 5 MiB of each partition in memory, and forgets everything when it stops; it
cannot do a second member of a consumer group, so whoever reads from it assigns himself the partitions.
"""

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

ANSWER_SECONDS_MAX: Final = 5.0
"""How long the broker may take to make a topic."""
_ERRORS: Final = 3
"""Level of syslog: below it librdkafka tells that the cluster is a mock one, which everybody here knows."""

_logger = logging.getLogger(__name__)


class BrokerError(OSError):
    """The embedded broker does not start."""


class EmbeddedBroker:
    """One broker on a random port of 127.0.0.1; an ``async with`` block.

    Args:
        topics: made at the start, each with librdkafka's default of 4 partitions.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._cluster: Producer | None = None
        self.bootstrap = ""

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            BrokerError: it does not come up.
        """
        try:
            await asyncio.to_thread(self._start)
        except KafkaException as error:
            raise BrokerError(f"the embedded broker does not start: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # the cluster lives and dies with the client that made it
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await asyncio.to_thread(cluster.flush, 0)

    def _start(self) -> None:
        self._cluster = Producer({"test.mock.num.brokers": 1, "logger": _logger, "log_level": _ERRORS})
        for topic in self._topics:
            self._cluster.list_topics(topic, timeout=ANSWER_SECONDS_MAX)  # asking for a topic makes it
        (broker,) = self._cluster.list_topics(timeout=ANSWER_SECONDS_MAX).brokers.values()
        self.bootstrap = f"{broker.host}:{broker.port}"
