"""Measuring in turns, and what is told of it."""

import pytest

from benchmarks.rounds import figure, in_turns, middle, spread


def test_subjects_are_measured_in_turns_and_every_other_round_backwards() -> None:
    seen: list[str] = []

    def measure(subject: str) -> int:
        seen.append(subject)
        return len(seen)

    found = in_turns(3, ["a", "b"], measure)

    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(("values", "found"), [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0, 4.0, 9.0], 3.0)])
def test_the_middle_is_the_median(values: list[float], found: float) -> None:
    assert middle(values) == found


def test_there_is_no_middle_of_nothing() -> None:
    with pytest.raises(ValueError, match="of nothing"):
        middle([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123, "0.12"), (9.994, "9.99"), (12.34, "12.3"), (123.4, "123"), (15_000.4, "15 000")],
)
def test_a_figure_has_three_digits_that_count(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_spread_tells_the_median_the_least_and_the_greatest() -> None:
    assert spread([300.0, 100.0, 20_000.0]) == "300 (100 to 20 000)"
