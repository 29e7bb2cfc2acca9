"""How much memory processes take over time, and whether it is flat.

A process that was started again is counted anew. Of each life that is long enough to tell, the first third is left
out: it fills what has a bound. Through the rest a line is fitted; what it rises from its beginning to its end is the
growth of that life.

Redis keeps the whole history, so it does grow. What has to stay the same is what it takes for one call that was
acknowledged: the last third of the run is held against the third before.
"""

from __future__ import annotations

import time
from statistics import linear_regression
from typing import TYPE_CHECKING, Final

import redis
from msgspec import Struct, field

from benchmarks.memory import resident_bytes
from tests.real.stack import INBOX, RELAY, SHARD, SMS_SENDER, UP, VALKEY, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KINDS: Final = {
    "gateway": UP,
    "shard": SHARD,
    "relay": RELAY,
    "inbox": INBOX,
    "SMS sender": SMS_SENDER,
    "Valkey": VALKEY,
}
"""Our processes, and what their command lines hold."""
UNJUDGED: Final = {"Valkey"}
"""Its data is judged by what it says itself: its process also holds what a fork shares."""

MB: Final = 1_000_000
LIFE_SECONDS_MIN: Final = 120.0
"""A shorter life tells nothing: it is filling up."""
GROWTH_BYTES_MAX: Final = 4 * MB
"""What the allocator and the collector of a Python process move up and down by themselves."""
REDIS_GROWTH_MAX: Final = 1.25
"""How many times as much a call may take in the last third: the traffic is not the same to the byte."""
ANSWER_SECONDS_MAX: Final = 1.0


class Life(Struct):
    """One process from its first sample to its last."""

    kind: str
    points: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start of the soak, and resident bytes."""

    @property
    def seconds(self) -> float:
        """How long it was seen."""
        return self.points[-1][0] - self.points[0][0]

    @property
    def tells(self) -> bool:
        """Whether it was seen long enough to be judged."""
        return self.kind not in UNJUDGED and self.seconds >= LIFE_SECONDS_MIN

    @property
    def growth(self) -> float:
        """Bytes that the line through the last two thirds rises."""
        start = self.points[0][0] + self.seconds / 3
        late = [point for point in self.points if point[0] >= start]
        slope = linear_regression([at for at, _ in late], [size for _, size in late]).slope
        return slope * (late[-1][0] - late[0][0])


class RedisPoint(Struct, frozen=True):
    """What Redis says at one time."""

    at: float
    calls: int
    """Acknowledged so far."""
    used: int
    """Its `used_memory`, bytes."""


class Memory:
    """Takes samples.

    Args:
        data_dir: Of the stack.
        redis_url: Of its log.
    """

    def __init__(self, data_dir: Path, redis_url: str) -> None:
        self.lives: dict[int, Life] = {}
        """By process id."""
        self.redis: list[RedisPoint] = []
        self._data_dir = data_dir
        self._redis_url = redis_url
        self._began = time.monotonic()

    def sample(self, calls: int) -> None:
        """Look at every process once; blocks for some milliseconds.

        Args:
            calls: Acknowledged so far.
        """
        at = time.monotonic() - self._began
        for pid, command in processes_of(self._data_dir).items():
            kind = next((kind for kind, part in KINDS.items() if part in command), None)
            if kind is None:
                continue
            try:
                size = resident_bytes(pid)
            except OSError:  # it has ended meanwhile
                continue
            if size:
                self.lives.setdefault(pid, Life(kind)).points.append((at, size))
        used = self._used()
        if used is not None:
            self.redis.append(RedisPoint(at, calls, used))

    def _used(self) -> int | None:
        """What Redis says; None if it is down, or stands still."""
        try:
            with redis.Redis.from_url(self._redis_url, socket_timeout=ANSWER_SECONDS_MAX) as client:
                return int(client.info("memory")["used_memory"])
        except (redis.RedisError, OSError):
            return None


def redis_bytes_per_call(points: Sequence[RedisPoint]) -> tuple[float, float]:
    """What a call takes in Redis: in the second third of the run, and in the last."""
    third = points[-1].at / 3
    parts = ([one for one in points if third <= one.at < 2 * third], [one for one in points if one.at >= 2 * third])
    middle, last = (linear_regression([one.calls for one in part], [one.used for one in part]).slope for part in parts)
    return middle, last


def grown(lives: Iterable[Life], points: Sequence[RedisPoint]) -> list[str]:
    """What is not flat, in words."""
    found = [
        f"a process of {life.kind} grew by {life.growth / MB:.1f} MB in the last two thirds of {life.seconds:.0f} s"
        for life in lives
        if life.tells and life.growth > GROWTH_BYTES_MAX
    ]
    middle, last = redis_bytes_per_call(points)
    if last > REDIS_GROWTH_MAX * middle:
        found.append(f"a call took {middle:.0f} bytes in Redis, and later {last:.0f}")
    return found
