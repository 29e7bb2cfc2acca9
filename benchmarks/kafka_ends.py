"""How far topics reach: what a broker was given, counted by the offsets at their ends."""

from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

ANSWER_SECONDS_MAX: Final = 5.0


class KafkaEnds:
    """A ``with`` block.

    Args:
        bootstrap: the broker.
        topics: whose ends.
    """

    def __init__(self, bootstrap: str, *topics: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "benchmark",
                "allow.auto.create.topics": True,  # nothing may have been published yet
                "log_level": 3,
            }
        )
        self._topics = topics
        self._partitions: list[TopicPartition] = []

    def __enter__(self) -> Self:
        for topic in self._topics:
            found = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS_MAX).topics[topic]
            if not found.partitions:
                raise KafkaException(found.error)
            self._partitions += [TopicPartition(topic, number) for number in found.partitions]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def by_topic(self) -> dict[str, int]:
        """How many records each topic was ever given."""
        ends = dict.fromkeys(self._topics, 0)
        for partition in self._partitions:
            _, end = self._consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS_MAX, cached=False)
            ends[partition.topic] += end
        return ends
