"""How long a wrong CVC locks."""

import pytest

from ledger.attempts import NO_ATTEMPTS, Attempts, after_wrong, seconds_locked
from ledger.policy import DEFAULT_POLICY


@pytest.mark.parametrize(
    ("before", "seconds"), [(0, 0), (1, 0), (2, 30), (3, 60), (4, 120), (8, 1_920), (9, 3_600), (10**9, 3_600)]
)
def test_the_third_wrong_cvc_locks_and_each_further_one_twice_as_long_up_to_an_hour(before: int, seconds: int) -> None:
    after = after_wrong(Attempts(wrong=before), 5_000, DEFAULT_POLICY)

    assert after == Attempts(before + 1, 5_000 + seconds * 1_000 if seconds else 0)


@pytest.mark.parametrize(("now", "seconds"), [(0, 31), (1, 30), (30_000, 1), (30_001, 0), (99_999, 0)])
def test_the_wait_is_rounded_up_to_whole_seconds(now: int, seconds: int) -> None:
    assert seconds_locked(Attempts(3, 30_001), now) == seconds
    assert seconds_locked(NO_ATTEMPTS, now) == 0
