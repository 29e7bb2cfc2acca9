"""How long tills wait: an open loop at a given rate, and one till alone."""

from functools import partial
from typing import Final

from msgspec import Struct

from benchmarks.product import NAME
from benchmarks.rounds import figure, in_turns, middle
from benchmarks.section import MS, Section, Series, Table, Target
from benchmarks.stage import POSTGRES, REDIS_LUA, Stage
from benchmarks.wrk import LoadError
from gift_ledger.bench.generator import Generator, Load
from gift_ledger.bench.latencies import Latencies
from gift_ledger.bench.requests import Authorizations
from gift_ledger.bench.schedule import AsSoonAsPossible, AtRate, Schedule

QUIET_RATE: Final = 1_000
BUSY_RATE: Final = 5_000
CONNECTIONS: Final = 128
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
CURVE: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99)
"""Points of the distribution that are drawn."""
_TARGETS: Final[dict[tuple[float, float], float]] = {
    (QUIET_RATE, 50.0): 2.0,
    (QUIET_RATE, 99.0): 8.0,
    (QUIET_RATE, 99.9): 30.0,
    (BUSY_RATE, 99.0): 20.0,
    (0, 50.0): 1.5,
}
"""Rate (0: one till alone) and percentile, with the milliseconds that it may be at most."""


class Setting(Struct, frozen=True):
    """One kind of load: ``rate`` a second, or 0 for one till alone."""

    rate: float
    seconds: float
    systems: list[str]

    @property
    def title(self) -> str:
        """As the report names it."""
        return f"{figure(self.rate)}/s" if self.rate else "one alone"

    def schedule(self) -> Schedule:
        """When requests are sent."""
        return AtRate(self.rate, self.seconds) if self.rate else AsSoonAsPossible(self.seconds)


def latency(stage: Stage) -> Section:
    """Measure."""
    options = stage.options
    rivals = stage.systems(REDIS_LUA, POSTGRES)
    settings = (
        Setting(QUIET_RATE, options.latency_seconds, rivals),
        Setting(BUSY_RATE, options.seconds, [NAME]),
        Setting(0, options.seconds / 2, rivals),
    )
    rows: list[tuple[str, ...]] = []
    targets: list[Target] = []
    series: list[Series] = []
    for setting in settings:
        found = in_turns(options.rounds, setting.systems, partial(_round, stage, setting))
        rows += [_row(setting, system, rounds) for system, rounds in found.items()]
        targets += _targets(setting, found[NAME])
        if setting.rate == QUIET_RATE:
            series = [Series(system=system, points=_curve(rounds)) for system, rounds in found.items()]
        stage.say(f"latency, {setting.title}: {_line(found)}")
    return Section(
        title="Latency at a given rate",
        how=(
            f"An open loop of our own over {CONNECTIONS} connections: a request leaves when it is due, whatever came "
            "of those before it, and its latency counts from then. One alone: one connection, the next request after "
            "the answer. "
            f"Medians of {options.rounds} rounds in turns, of {options.latency_seconds:g} s at {figure(QUIET_RATE)}/s, "
            f"{options.seconds:g} s at {figure(BUSY_RATE)}/s, {options.seconds / 2:g} s alone."
        ),
        tables=[Table(headings=("", "rate", *(f"p{percent:g} ms" for percent in PERCENTILES)), rows=rows)],
        targets=targets,
        series=series,
    )


def _round(stage: Stage, setting: Setting, system: str) -> Load:
    address = stage.address(system)
    plan = Authorizations(address, stage.random_codes(), stage.run_name())
    connections = CONNECTIONS if setting.rate else 1
    found = Generator(address, plan, setting.schedule(), connections=connections).run()
    if found.refused or found.lost:
        raise LoadError(f"{system}: {found.refused} were refused, {found.lost} lost: {found.refusals}")
    return found


def _row(setting: Setting, system: str, rounds: list[Load]) -> tuple[str, ...]:
    return (system, setting.title, *(figure(_percentile(rounds, percent)) for percent in PERCENTILES))


def _line(found: dict[str, list[Load]]) -> str:
    return ", ".join(
        f"{system} p50 {figure(_percentile(rounds, 50))} ms, p99 {figure(_percentile(rounds, 99))} ms"
        for system, rounds in found.items()
    )


def _percentile(rounds: list[Load], percent: float) -> float:
    return middle([one.latencies.percentile_ms(percent) for one in rounds])


def _targets(setting: Setting, rounds: list[Load]) -> list[Target]:
    return [
        Target(
            what=f"p{percent:g}, {setting.title}",
            measured=_percentile(rounds, percent),
            bound=bound,
            unit=MS,
            at_most=True,
        )
        for (rate, percent), bound in _TARGETS.items()
        if rate == setting.rate
    ]


def _curve(rounds: list[Load]) -> list[tuple[float, float]]:
    """Percentiles over all rounds together."""
    together = Latencies()
    for one in rounds:
        together.merge(one.latencies)
    return [(percent, together.percentile_ms(percent)) for percent in CURVE]
