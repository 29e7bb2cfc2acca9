"""How far each partition is done: only offsets before which nothing is missing are committed."""

from collections import deque
from typing import Final

from aiokafka import TopicPartition


class Mark:
    """A record that was begun."""

    __slots__ = ("done", "offset")

    def __init__(self, offset: int) -> None:
        self.offset: Final = offset
        self.done = False


class Progress:
    """The partitions that are read now."""

    def __init__(self) -> None:
        self._open: dict[TopicPartition, deque[Mark]] = {}
        self._positions: dict[TopicPartition, int] = {}

    def begin(self, partition: TopicPartition, offset: int) -> Mark:
        """A record was read."""
        mark = Mark(offset)
        self._open.setdefault(partition, deque()).append(mark)
        return mark

    def finish(self, partition: TopicPartition, mark: Mark) -> None:
        """A record is done with."""
        mark.done = True
        began = self._open.get(partition, ())
        while began and began[0].done:
            self._positions[partition] = began.popleft().offset + 1

    def span(self, partition: TopicPartition) -> int:
        """How many records were begun from the oldest on that is not done."""
        return len(self._open.get(partition, ()))

    def to_commit(self) -> dict[TopicPartition, int]:
        """For each partition that got on since it was last committed, the offset to go on at."""
        return dict(self._positions)

    def committed(self, positions: dict[TopicPartition, int]) -> None:
        """The broker has these."""
        for partition, position in positions.items():
            if self._positions.get(partition) == position:
                del self._positions[partition]

    def forget(self) -> None:
        """The partitions are somebody else's now."""
        self._open.clear()
        self._positions.clear()
