"""What is flat is told from what grows."""

from __future__ import annotations

import pytest

from tests.soak.memory import LIFE_SECONDS_MIN, MB, Life, RedisPoint, grown, redis_bytes_per_call

EVERY_SECONDS = 5


def life(kind: str, seconds: float, mb_per_second: float, warm_up_mb: float = 0.0) -> Life:
    """A process that fills up in its first third, and then grows steadily."""
    points = [
        (float(at), int(MB * (90 + warm_up_mb * min(1.0, 3 * at / seconds) + mb_per_second * at)))
        for at in range(0, int(seconds) + 1, EVERY_SECONDS)
    ]
    return Life(kind, points)


def of_redis(late_bytes: int) -> list[RedisPoint]:
    """400 bytes for a call at first, in the last third something else."""
    return [
        RedisPoint(float(at), 100 * at, 40_000 * at + 100 * (late_bytes - 400) * max(0, at - 60)) for at in range(91)
    ]


def test_a_process_that_fills_up_and_then_stays_is_flat() -> None:
    assert grown([life("shard", 600, 0.0, warm_up_mb=50.0)], of_redis(400)) == []


def test_a_process_that_goes_on_growing_is_found() -> None:
    (found,) = grown([life("shard", 600, 0.02)], of_redis(400))

    assert found == "a process of shard grew by 8.0 MB in the last two thirds of 600 s"


def test_a_life_that_was_too_short_and_a_forking_server_are_not_judged() -> None:
    short = life("shard", LIFE_SECONDS_MIN - EVERY_SECONDS, 1.0)

    assert grown([short, life("Valkey", 600, 1.0)], of_redis(400)) == []


def test_redis_is_judged_by_what_one_call_takes() -> None:
    (found,) = grown([], of_redis(700))

    assert redis_bytes_per_call(of_redis(400)) == pytest.approx((400, 400))
    assert found == "a call took 400 bytes in Redis, and later 700"
