"""How long the outcome of an idempotency key is kept.

Outcomes are kept by the UTC day in which they were written, and a whole day is forgotten at once: that costs nothing
for each key. A key written in the last moment of a day is still found during all of the next one, so each is honoured
for at least 24 hours.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ledger.money import DAY_MS, SECOND_MS

KEPT_DAYS: Final = 4
"""A day's outcomes are gone for good this many days after it began; they are read for two."""
DAYS_AT_HAND_MAX: Final = 8
"""Days whose names are kept: three are read at a time, and some more around a midnight."""


def now_ms() -> int:
    """The time in milliseconds, from the system's clock."""
    return time.time_ns() // 1_000_000


def day_of(now: int) -> int:
    """The UTC day of a time in milliseconds, counted from the epoch."""
    return now // DAY_MS


def days_read(now: int) -> tuple[int, int, int]:
    """Days in which an outcome may stand: today, yesterday, and tomorrow for a writer whose clock is ahead."""
    day = day_of(now)
    return day, day - 1, day + 1


@lru_cache(maxsize=DAYS_AT_HAND_MAX)
def day_name(day: int) -> str:
    """``yyyymmdd`` of a day."""
    return f"{datetime.fromtimestamp(0, UTC) + timedelta(days=day):%Y%m%d}"


def seconds_kept(now: int) -> int:
    """Seconds from now until today's outcomes may be forgotten."""
    return ((day_of(now) + KEPT_DAYS) * DAY_MS - now) // SECOND_MS
