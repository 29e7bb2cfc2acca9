"""What a scenario found: tables, targets, and what has to be said beside them."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

MS: Final = "ms"
PER_SECOND: Final = "/s"
TIMES: Final = "x"


class Target(Struct, frozen=True, kw_only=True):
    """A figure that is to be reached: at least ``bound``, or at most, in the same unit."""

    what: str
    measured: float
    bound: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


class Table(Struct, frozen=True, kw_only=True):
    """Rows under headings; those after the first column are figures."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Series(Struct, frozen=True, kw_only=True):
    """A line of a plot."""

    system: str
    points: list[tuple[float, float]]


class Section(Struct, kw_only=True):
    """Everything that a scenario has to say."""

    title: str
    how: str
    """What was asked and for how long, in a sentence or two."""
    tables: list[Table] = []
    targets: list[Target] = []
    notes: list[str] = []
    series: list[Series] = []
    """For the plot of this scenario, if it has one."""


def skipped(title: str, why: str) -> Section:
    """A scenario that could not be measured."""
    return Section(title=title, how=f"Not measured: {why}")
