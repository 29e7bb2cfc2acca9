"""The page about a soak: `docs/soak.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.soak.memory import GROWTH_BYTES_MAX, KINDS, LIFE_SECONDS_MIN, MB, UNJUDGED, redis_bytes_per_call
from tests.soak.run import FAULT_EVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.soak.memory import Life
    from tests.soak.run import Outcome

PICTURE: Final = "images/soak.png"


def page(outcome: Outcome) -> str:
    """The page, in Markdown."""
    return "\n".join(_lines(outcome)) + "\n"


def _lines(outcome: Outcome) -> Iterator[str]:
    minutes = outcome.seconds / 60
    attempts = ", ".join(f"{name} {count:,}" for name, count in outcome.failed.most_common()) or "none"
    yield "## Soak"
    yield ""
    yield f"![Calls, memory and Redis over {minutes:.0f} minutes]({PICTURE})"
    yield ""
    yield (
        f"`make soak`: {minutes:.0f} minutes of tills and shops on a stack with two shards, Valkey and Apache Kafka; "
        f"every {FAULT_EVERY_SECONDS:g} s a fault, drawn from seed {outcome.seed}."
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| calls of tills acknowledged | {outcome.told:,} |"
    yield f"| certificates sold and activated meanwhile | {outcome.sold:,} |"
    yield f"| attempts with no answer or 503, repeated with the same key | {attempts} |"
    yield f"| acknowledged calls lost, or done twice | {_found(outcome)} |"
    what = f"events missing, or out of order, of {outcome.events:,}; `gift-ledger verify`"
    yield f"| {what} | {_found(outcome)}; {outcome.proof} |"
    yield ""
    yield "| fault | times | all certificates served again, s: median, at most |"
    yield "|---|---|---|"
    for name in sorted({one.name for one in outcome.struck}):
        served = sorted(one.served_seconds for one in outcome.struck if one.name == name)
        yield f"| {name} | {len(served)} | {served[len(served) // 2]:.1f}, {served[-1]:.1f} |"
    yield ""
    yield (
        f"Memory is called flat if the line through the last two thirds of each process's life (of "
        f"{LIFE_SECONDS_MIN:g} s or more) rises by less than {GROWTH_BYTES_MAX / MB:g} MB:"
    )
    yield ""
    yield "| process | lives, of these judged | resident MB at most | growth MB, at most | in its longest life |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        lives = [life for life in outcome.lives if life.kind == kind]
        judged = [life for life in lives if life.tells]
        most = max((size for life in lives for _, size in life.points), default=0) / MB
        if kind not in UNJUDGED:
            yield f"| {kind} | {len(lives)}, {len(judged)} | {most:.0f} | {_growth(judged)} |"
    middle, last = redis_bytes_per_call(outcome.redis)
    yield ""
    yield f"Not flat: {'; '.join(outcome.grown) or 'nothing'}."
    yield (
        f"Valkey keeps the history, and so grows with it: by {middle:.0f} bytes for each call in the second third of "
        f"the run, its sales included, and by {last:.0f} in the last."
    )


def _growth(lives: Sequence[Life]) -> str:
    if not lives:
        return "not judged | not judged"
    longest = max(lives, key=lambda life: life.seconds)
    most = max(life.growth for life in lives)
    return f"{most / MB:+.1f} | {longest.growth / MB:+.1f} in {longest.seconds:.0f} s"


def _found(outcome: Outcome) -> str:
    return "; ".join(outcome.wrong) or "0"
