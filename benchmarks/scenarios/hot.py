"""One certificate that takes all the load, beside load that is spread out."""

from typing import Final

from benchmarks.rounds import figure, in_turns, middle, spread
from benchmarks.section import TIMES, Section, Table, Target
from benchmarks.stage import POSTGRES, REDIS_LUA, Stage
from benchmarks.wrk import load

CONNECTIONS: Final = 64
SHARE: Final = 0.5
"""Of the spread-out rate that one certificate alone is to reach."""
_HOT: Final = "hot"


def hot(stage: Stage) -> Section:
    """Measure."""
    options = stage.options
    systems = stage.systems(REDIS_LUA, POSTGRES)
    subjects = [f"{system} {kind}" for system in systems for kind in ("spread", _HOT)]

    def one(subject: str) -> float:
        system, _, kind = subject.partition(" ")
        return load(
            stage.address(system),
            "authorize",
            certificates=1 if kind == _HOT else options.certificates,
            connections=CONNECTIONS,
            seconds=options.seconds,
        ).rate

    rates = in_turns(options.rounds, subjects, one)
    rows, shares = [], []
    for system in systems:
        spread_out, alone = rates[f"{system} spread"], rates[f"{system} {_HOT}"]
        shares.append(middle(alone) / middle(spread_out))
        rows.append((system, spread(spread_out), spread(alone), figure(shares[-1])))
    stage.say(f"hot certificate: {figure(shares[0])} of the spread-out rate")
    return Section(
        title="One hot certificate",
        how=(
            f"`wrk` over {CONNECTIONS} connections, on one certificate alone and on {figure(options.certificates)}. "
            f"Medians of {options.rounds} rounds of {options.seconds:g} s in turns."
        ),
        tables=[Table(headings=("", "spread out, /s", "one certificate, /s", "share"), rows=rows)],
        targets=[Target(what="one certificate against many", measured=shares[0], bound=SHARE, unit=TIMES)],
    )
