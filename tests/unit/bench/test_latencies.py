"""Percentiles of what was measured."""

import pytest

from gift_ledger.bench.latencies import Latencies, nearest_rank

MS = 1_000_000


@pytest.mark.parametrize(
    ("percent", "found"), [(0, 1), (1, 1), (50, 50), (50.1, 51), (99, 99), (99.9, 100), (100, 100)]
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: float, found: int) -> None:
    assert nearest_rank(range(1, 101), percent) == found


def test_of_one_value_every_percentile_is_that_value() -> None:
    latencies = Latencies([3 * MS])

    assert {latencies.percentile_ms(percent) for percent in (1, 50, 99.9)} == {3.0}


def test_the_order_in_which_they_came_does_not_matter() -> None:
    latencies = Latencies([9 * MS, 1 * MS])
    latencies.add(5 * MS)

    assert latencies.percentile_ms(50) == 5.0


def test_several_rounds_count_as_one() -> None:
    latencies = Latencies([1 * MS])

    latencies.merge(Latencies([2 * MS, 3 * MS]))

    assert len(latencies) == 3
    assert latencies.percentile_ms(100) == 3.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="of nothing"):
        Latencies().percentile_ms(50)
