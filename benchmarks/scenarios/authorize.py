"""Authorizations a second, over the number of connections, against all rivals."""

from typing import Final

from benchmarks.product import NAME
from benchmarks.rounds import figure, in_turns, middle, spread
from benchmarks.section import PER_SECOND, TIMES, Section, Series, Table, Target
from benchmarks.stage import NOOP, POSTGRES, REDIS_LUA, RIVALS, Stage
from benchmarks.wrk import Closed, load

CONNECTIONS: Final = (16, 64, 256)
RATE: Final = {16: 7_000, 64: 15_000, 256: 15_000}
"""Authorizations a second that are to be reached at so many connections."""
RATIO: Final = {REDIS_LUA: 3.0, POSTGRES: 6.0, NOOP: 1.5}
"""How many times as fast as these the product is to be, at 64 and at 256 connections."""
RATIO_FROM: Final = 64

Measured = dict[int, dict[str, list[Closed]]]


def authorize(stage: Stage) -> Section:
    """Measure."""
    options = stage.options
    measured: Measured = {}
    for connections in CONNECTIONS:

        def one(system: str, connections: int = connections) -> Closed:
            return load(
                stage.address(system),
                "authorize",
                certificates=options.certificates,
                connections=connections,
                seconds=options.seconds,
            )

        measured[connections] = in_turns(options.rounds, stage.systems(*RIVALS), one)
        stage.say(f"authorize, {connections} connections: {_line(measured[connections])}")
    return section(measured, options.certificates, options.rounds, options.seconds)


def section(measured: Measured, certificates: int, rounds: int, seconds: float) -> Section:
    """What was measured, as the report tells it."""
    systems = list(next(iter(measured.values())))
    rows = [
        (system, str(connections), *_figures(by_system[system]))
        for system in systems
        for connections, by_system in measured.items()
    ]
    return Section(
        title="Authorizations, closed loop",
        how=(
            f"`wrk` asks without a pause over so many connections; {figure(certificates)} certificates, drawn at "
            "random, each request with an idempotency key of its own. Medians of "
            f"{rounds} rounds of {seconds:g} s in turns, with the slowest and the fastest."
        ),
        tables=[Table(headings=("", "connections", "authorizations/s", "p50 ms", "p99 ms"), rows=rows)],
        targets=_targets(measured),
        series=[
            Series(system=system, points=[(many, _rate(by_system[system])) for many, by_system in measured.items()])
            for system in systems
        ],
    )


def _targets(measured: Measured) -> list[Target]:
    found = []
    for connections, rate in RATE.items():
        if connections in measured:
            what = f"authorizations at {connections} connections"
            found.append(Target(what=what, measured=_rate(measured[connections][NAME]), bound=rate, unit=PER_SECOND))
    for rival, ratio in RATIO.items():
        for connections, by_system in measured.items():
            if rival in by_system and connections >= RATIO_FROM:
                times = _rate(by_system[NAME]) / _rate(by_system[rival])
                what = f"as fast as {rival} at {connections} connections"
                found.append(Target(what=what, measured=times, bound=ratio, unit=TIMES))
    return found


def _rate(rounds: list[Closed]) -> float:
    return middle([one.rate for one in rounds])


def _figures(rounds: list[Closed]) -> tuple[str, ...]:
    return (
        spread([one.rate for one in rounds]),
        figure(middle([one.p50_ms for one in rounds])),
        figure(middle([one.p99_ms for one in rounds])),
    )


def _line(by_system: dict[str, list[Closed]]) -> str:
    return ", ".join(f"{system} {figure(_rate(rounds))}/s" for system, rounds in by_system.items())
