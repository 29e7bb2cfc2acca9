"""What came of the faults, as a table: collected from the tests of a run, printed, and written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from tests.fault.trial import Fault, Figures, S, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _pytest.mark import ParameterSet

PROPERTY: Final = "figures"
FILE: Final = Path(__file__).with_name("report.md")

_HEAD: Final = """\
# What came of the faults

Written by `make faults`; [docs/reliability.md](../../docs/reliability.md) says what each fault is. Lost: a client was
told of it, and it is not there. Doubled: it is there once more than clients were told. Missing: a change of money that
Kafka was not told of. Seconds: from the end of the fault until every certificate was served.

"""
_COLUMNS: Final = (
    "fault",
    "acknowledged",
    "unknown",
    "retried",
    "lost",
    "doubled",
    "events",
    "missing",
    "seconds",
    "attempts that failed",
)


def marked(faults: Iterable[Fault[S]]) -> list[ParameterSet]:
    """The parameters of a test of each fault: `make test` leaves out what is not always tried."""
    always, long = (pytest.mark.faults,), (pytest.mark.faults, pytest.mark.long)
    return [pytest.param(one, id=one.name, marks=always if one.always else long) for one in faults]


async def settle(trial: Trial[S], record_property: Callable[[str, object], None]) -> None:
    """Run a trial, report its figures whatever they are, and see that all is as clients were told."""
    figures = await trial.run()
    record_property(PROPERTY, msgspec.json.encode(figures).decode())
    assert (figures.lost, figures.doubled, figures.missing) == (0, 0, 0), "\n".join(trial.findings)
    assert not trial.findings, "\n".join(trial.findings)
    assert set(figures.saw) <= trial.fault.sees


class Collector:
    """A plugin of pytest that keeps the figures of all faults."""

    def __init__(self) -> None:
        self.figures: list[Figures] = []
        self.failed: list[str] = []
        """Tests that failed, those without figures too."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test has reported."""
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when == "call":
            told = [value for name, value in report.user_properties if name == PROPERTY]
            self.figures += [msgspec.json.decode(str(value), type=Figures) for value in told]


def table(figures: list[Figures]) -> str:
    """A table in Markdown that is read as easily in a terminal."""
    rows = [_COLUMNS, *(_row(one) for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    head, *body = [f"| {line} |\n" for line in lines]
    rule = "|".join("-" * (width + 2) for width in widths)
    return f"{head}|{rule}|\n{''.join(body)}"


def write(figures: list[Figures], path: Path = FILE) -> None:
    """Write the table to where the documents point."""
    path.write_text(_HEAD + table(figures))


def _row(one: Figures) -> tuple[str, ...]:
    saw = ", ".join(f"{count} {kind}" for kind, count in one.saw.items()) or "none"
    counts = (one.acknowledged, one.unknown, one.retried, one.lost, one.doubled, one.events, one.missing)
    return (one.fault, *(str(count) for count in counts), f"{one.seconds:.1f}", saw)
