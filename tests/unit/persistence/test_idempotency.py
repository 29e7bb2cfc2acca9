"""How long outcomes are kept."""

import time

import pytest

from persistence.idempotency import KEPT_DAYS, day_name, day_of, days_read, now_ms, seconds_kept

DAY_MS = 86_400_000
MIDNIGHT = 1_795_478_400_000  # 2026-11-24T00:00:00Z


@pytest.mark.parametrize(
    ("now", "name"),
    [(MIDNIGHT - 1, "20261123"), (MIDNIGHT, "20261124"), (MIDNIGHT + DAY_MS - 1, "20261124"), (0, "19700101")],
)
def test_a_day_begins_at_midnight_utc(now: int, name: str) -> None:
    assert day_name(day_of(now)) == name


def test_today_yesterday_and_tomorrow_are_read() -> None:
    assert [day_name(day) for day in days_read(MIDNIGHT)] == ["20261124", "20261123", "20261125"]


@pytest.mark.parametrize("now", [MIDNIGHT, MIDNIGHT + DAY_MS // 2, MIDNIGHT + DAY_MS - 1])
def test_outcomes_outlive_the_last_day_on_which_they_are_read(now: int) -> None:
    forgotten = now + seconds_kept(now) * 1_000
    read_last = MIDNIGHT + 2 * DAY_MS

    assert read_last + DAY_MS <= forgotten <= MIDNIGHT + KEPT_DAYS * DAY_MS


def test_the_clock_counts_milliseconds() -> None:
    before = time.time()

    assert before * 1_000 - 1 <= now_ms() <= time.time() * 1_000
