"""How long things took: many durations, and what can be said of them."""

from array import array
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

NANOSECONDS_PER_MS: Final = 1_000_000


class Latencies:
    """Durations in nanoseconds, kept one by one: a minute at 5 000/s is 2.4 MB, and no bucket rounds anything."""

    def __init__(self, nanoseconds: Iterable[int] = ()) -> None:
        self.values: Final = array("q", nanoseconds)
        self.add = self.values.append
        """Adds one; called for each request, so it is the array's own."""

    def __len__(self) -> int:
        return len(self.values)

    def merge(self, other: "Latencies") -> None:
        """Add all of another one's."""
        self.values.extend(other.values)

    def percentile_ms(self, percent: float) -> float:
        """The smallest duration that at least ``percent`` of all do not exceed (nearest rank), in milliseconds.

        Raises:
            ValueError: there are none.
        """
        return nearest_rank(sorted(self.values), percent) / NANOSECONDS_PER_MS


def nearest_rank(ordered: Sequence[int], percent: float) -> int:
    """The percentile of values in ascending order.

    Raises:
        ValueError: there are none.
    """
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[max(1, ceil(len(ordered) * percent / 100)) - 1]
