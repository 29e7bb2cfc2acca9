"""Measurements in turns: A B A B, so that a noisy machine hurts all alike; and what is told of them."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def in_turns(rounds: int, subjects: Sequence[str], measure: Callable[[str], T]) -> dict[str, list[T]]:
    """Measure every subject once a round, one at a time.

    Every other round goes backwards, so that nobody always comes after the same one.
    """
    found: dict[str, list[T]] = {subject: [] for subject in subjects}
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            found[subject].append(measure(subject))
    return found


def middle(values: Sequence[float]) -> float:
    """The median.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no median of nothing")
    return median(values)


def spread(values: Sequence[float]) -> str:
    """Median, with the least and the greatest."""
    return f"{figure(middle(values))} ({figure(min(values))} to {figure(max(values))})"


def figure(value: float) -> str:
    """A figure as people read it: three digits that count, thousands apart."""
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004
