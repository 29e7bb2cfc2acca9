"""Amounts and times as the ledger counts them.

Money is a whole number of minor units (kopecks, cents); time is a whole number of milliseconds since the epoch, UTC.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

AMOUNT_MAX: Final = 10**12
"""Largest amount in minor units that a caller may name."""

CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"
"""ISO 4217 alphabetic code."""

SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600 * SECOND_MS
DAY_MS: Final = 24 * HOUR_MS


def rfc3339(at_ms: int) -> str:
    """RFC 3339 UTC with milliseconds, e.g. ``2026-11-23T07:00:00.000Z``."""
    seconds, millis = divmod(at_ms, 1_000)
    return f"{_to_the_second(seconds)}.{millis:03d}Z"


@lru_cache(maxsize=4_096)
def _to_the_second(seconds: int) -> str:
    # a time stands in every reply, and under load many replies name the same second
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def rfc3339_or_none(at_ms: int | None) -> str | None:
    """As :func:`rfc3339`; ``None`` stays ``None``."""
    return None if at_ms is None else rfc3339(at_ms)
