"""The statistics that other tests rely on, against figures that are known."""

from __future__ import annotations

import math
from random import Random

import pytest

from tests.real.ranks import alike, kolmogorov_smirnov, mann_whitney


def test_ranks_by_hand() -> None:
    # the ranks of the first are 1 to 20 of 40: their sum is 200 below its mean, whose variance is 20 * 20 * 41 / 12
    low, high = list(range(20)), list(range(100, 120))

    assert mann_whitney(low, high) == pytest.approx(math.erfc(200 / math.sqrt(2 * 20 * 20 * 41 / 12)))
    assert mann_whitney(low, high) == mann_whitney(high, low)


def test_values_that_are_equal_share_their_ranks() -> None:
    assert mann_whitney([1, 1, 2, 2], [1, 1, 2, 2]) == 1
    # by hand: ranks 2.5 (four times) and 6.5 (four times); the first has one more of the low ones
    # its sum is 14 for a mean of 18; the variance is 16 / 12 * (9 - 120 / 56)
    assert mann_whitney([1, 1, 1, 2], [1, 2, 2, 2]) == pytest.approx(
        math.erfc(4 / math.sqrt(2 * 16 / 12 * (9 - 120 / 56)))
    )


def test_distance_of_distributions_by_a_table() -> None:
    # Kolmogorov's distribution: 1.3581 is passed once in twenty times
    first = [number / 1_000 for number in range(1_000)]
    shift = 1.3581 * math.sqrt(2 / 1_000)

    assert kolmogorov_smirnov(first, [one + shift for one in first]) == pytest.approx(0.05, abs=0.002)
    assert kolmogorov_smirnov(first, first) == 1


def test_honest_samples_are_told_apart_as_seldom_as_promised() -> None:
    lot = Random(1)

    def sample() -> list[float]:
        return [lot.gauss() for _ in range(200)]

    alarms = sum(alike(sample(), sample()) < 0.05 for _ in range(400))

    assert alarms <= 30  # of 400, 20 on the average


def test_another_place_and_another_shape_are_found() -> None:
    lot = Random(1)
    plain = [lot.gauss() for _ in range(2_000)]

    assert alike(plain, [lot.gauss(0.3) for _ in range(2_000)]) < 1e-6
    assert alike(plain, [lot.gauss(0, 1.5) for _ in range(2_000)]) < 1e-6
