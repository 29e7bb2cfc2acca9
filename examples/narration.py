"""Telling the story of the demo, checking it as it goes, and adding it all up at the end."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.bi_pipeline import Totals
from examples.connection import RefusedError

T = TypeVar("T")

Wire = Literal["HTTP", "Kafka", "SMS", "in person"]

COLOURS: dict[Wire, str] = {"HTTP": "cyan", "Kafka": "magenta", "SMS": "yellow", "in person": "white"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that had to come out in one way."""

    scenario: str
    name: str
    expected: object
    got: object
    money: bool = False

    @property
    def held(self) -> bool:
        """Whether it did."""
        return self.expected == self.got


@dataclass(slots=True, kw_only=True)
class Report:
    """What the demo found."""

    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each scenario took."""
    measured_ms: dict[str, list[float]] = field(default_factory=dict)
    """What was timed, in milliseconds."""
    totals: dict[str, Totals] = field(default_factory=dict)
    """What the BI pipeline added up for the certificates of this run, per currency."""

    @property
    def passed(self) -> int:
        """How many checks held."""
        return sum(check.held for check in self.checks)

    @property
    def failed(self) -> int:
        """How many did not."""
        return len(self.checks) - self.passed

    @property
    def exit_code(self) -> int:
        """0 if everything was checked and held, else 1."""
        return 0 if self.checks and self.failed == 0 else 1

    def show(self, out: Console) -> None:
        """Print the report."""
        out.print(self._scenario_table())
        out.print(self._timing_table())
        out.print(self._money_table())
        for check in self.checks:
            if not check.held:
                out.print(f"[bold red]✗[/] {escape(check.scenario)}: {_told(check)}")
        if self.exit_code == 0:
            out.print(f"[bold green]All {self.passed} checks held.[/]")
        else:
            out.print(f"[bold red]{self.failed} of {len(self.checks)} checks failed.[/]")

    def _scenario_table(self) -> Table:
        table = _table("What was checked", "scenario", "passed", "failed", "seconds")
        for scenario, seconds in self.seconds.items():
            held = [check.held for check in self.checks if check.scenario == scenario]
            failed = held.count(False)
            table.add_row(scenario, str(sum(held)), f"[red]{failed}[/]" if failed else "0", f"{seconds:.2f}")
        table.add_section()
        table.add_row("all", str(self.passed), str(self.failed), f"{sum(self.seconds.values()):.2f}")
        return table

    def _timing_table(self) -> Table:
        table = _table("How long it took", "what", "times", "median ms", "slowest ms")
        for what, values in self.measured_ms.items():
            if values:
                table.add_row(what, str(len(values)), f"{median(values):.1f}", f"{max(values):.1f}")
        return table

    def _money_table(self) -> Table:
        headings = ("currency", "issued", "redeemed", "refunded", "expired", "undone", "liability")
        table = _table("What the BI pipeline added up", *headings)
        for currency, sums in self.totals.items():
            figures = (sums.issued, sums.redeemed, sums.refunded, sums.expired, sums.undone, sums.liability)
            table.add_row(currency, *(as_money(figure) for figure in figures))
        return table


class Narrator:
    """Tells each step as it is taken, and checks what came of it.

    Args:
        out: Where to.
        expect_wrong: Expect one wrong value on purpose, to show that a check that fails is seen.
    """

    def __init__(self, out: Console, *, expect_wrong: bool = False) -> None:
        self.out = out
        self.expect_wrong = expect_wrong
        self.report = Report()
        self._scenario = "Before the curtain"
        self._began = time.perf_counter()

    def begin(self, scenario: str) -> None:
        """Begin a scenario."""
        self._scenario = scenario
        self._began = time.perf_counter()
        self.out.print()
        self.out.rule(f"[bold]{escape(scenario)}", align="left")

    def end(self) -> None:
        """End the scenario, and note how long it took."""
        self.report.seconds[self._scenario] = time.perf_counter() - self._began

    def step(self, who: str, wire: Wire, what: str) -> None:
        """Say which system does what, over which protocol."""
        self._line((12, 9), f"[bold]{escape(who)}[/]", f"[{COLOURS[wire]}]{wire}[/]", escape(what))

    def check(self, name: str, *, expected: object, got: object, money: bool = False) -> bool:
        """Check that something came out as it had to, and say so.

        Args:
            name: What was checked.
            expected: What had to come out.
            got: What came out.
            money: Whether the integers in it are money in minor units, to be told as people read it.
        """
        check = Check(scenario=self._scenario, name=name, expected=expected, got=got, money=money)
        self.report.checks.append(check)
        mark = "[green]✓[/]" if check.held else "[bold red]✗[/]"
        self._line((22,), "", f"{mark} {_told(check)}")
        return check.held

    async def refused(self, name: str, code: str, asked: Awaitable[object]) -> RefusedError | None:
        """Check that the service refuses something, and with which code.

        Returns:
            The refusal; None if there was none, and then the check has failed.
        """
        try:
            await asked
        except RefusedError as refusal:
            self.check(name, expected=code, got=refusal.code)
            return refusal
        self.check(name, expected=code, got="done, not refused")
        return None

    def _line(self, widths: tuple[int, ...], *cells: str) -> None:
        """A line in columns; what is too long for the terminal goes on below, under its own column."""
        line = Table.grid(padding=(0, 1, 0, 0))
        for width in widths:
            line.add_column(width=width, no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(*cells)
        self.out.print(line)

    def measured(self, what: str, *milliseconds: float) -> None:
        """Note how long something took."""
        self.report.measured_ms.setdefault(what, []).extend(milliseconds)


def as_money(minor_units: int) -> str:
    """An amount as people read it: 150000 → `1 500.00`."""
    sign = "-" if minor_units < 0 else ""
    whole, rest = divmod(abs(minor_units), 100)
    return f"{sign}{whole:,}.{rest:02}".replace(",", " ")


def _told(check: Check) -> str:
    if check.held:
        return f"{escape(check.name)}: [dim]{escape(_plain(check.got, money=check.money))}[/]"
    return f"{escape(check.name)}: expected {escape(repr(check.expected))}, got {escape(repr(check.got))}"


def _plain(value: object, *, money: bool) -> str:
    """A value as it is told when all is well; when not, it is shown as it is."""
    match value:
        case None | bool():
            return {None: "nothing", True: "yes", False: "no"}[value]
        case int() if money:
            return as_money(value)
        case bytes():
            return value.decode(errors="replace")
        case dict():
            return ", ".join(f"{name} {_plain(inner, money=money)}" for name, inner in value.items()) or "none"
        case list() | tuple() | set():
            return ", ".join(_plain(inner, money=money) for inner in value) or "none"
        case _:
            return str(value)


def _table(title: str, first: str, *figures: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for heading in figures:
        table.add_column(heading, justify="right")
    return table
