"""Authorization and capture, with both events of each capture on Kafka."""

import time
from typing import Final

from msgspec import Struct

from benchmarks.baselines.relay import TOPIC_PREFIX
from benchmarks.kafka_ends import KafkaEnds
from benchmarks.lag import LagWatch, growth
from benchmarks.product import NAME
from benchmarks.rounds import figure, in_turns, middle, spread
from benchmarks.section import PER_SECOND, TIMES, Section, Table, Target
from benchmarks.stage import POSTGRES, Stage
from benchmarks.wrk import LoadError, load
from gift_ledger.bench.generator import Generator, Load
from gift_ledger.bench.requests import Pairs
from gift_ledger.bench.schedule import AtRate
from ledger.publications import STATE, TRANSACTION

RATE: Final = 2_000
"""Pairs a second that are to be sustained."""
LAG_GROWTH_MAX: Final = 0.01
"""Of the events a second by which the lag may seem to grow: what is left when a line is drawn through noise."""
LATE_SECONDS: Final = 0.5
RATIO: Final = 2.0
CONNECTIONS: Final = 64
ARRIVAL_SECONDS_MAX: Final = 120.0
_LOOK_SECONDS: Final = 0.02
_QUIET_SECONDS: Final = 0.3
_EVENTS: Final = 2
"""Of each capture."""


class Delivered(Struct, frozen=True):
    """Pairs of one measurement."""

    rate: float
    """Pairs a second, until the last of their events was on Kafka."""
    answered: float
    """Pairs a second, until the last of their answers."""


def pairs(stage: Stage) -> Section:
    """Measure."""
    options = stage.options
    sustained = _sustained(stage)
    systems = stage.systems(POSTGRES)
    found = in_turns(options.rounds, systems, lambda system: _delivered(stage, system))
    rates = {system: [one.rate for one in found[system]] for system in systems}
    stage.say(f"pairs: {', '.join(f'{system} {figure(middle(rates[system]))}/s' for system in systems)}")
    targets = sustained.targets()
    if POSTGRES in systems:
        times = middle(rates[NAME]) / middle(rates[POSTGRES])
        targets.append(Target(what=f"pairs as fast as {POSTGRES}", measured=times, bound=RATIO, unit=TIMES))
    rows = [(system, spread(rates[system]), spread([one.answered for one in found[system]])) for system in systems]
    return Section(
        title="Authorization and capture, with both events on Kafka",
        how=(
            f"First {figure(RATE)} pairs a second for {options.sustained_seconds:g} s in an open loop, the outbox "
            f"looked at every second. Then `wrk` over {CONNECTIONS} connections without a pause, medians of "
            f"{options.rounds} rounds of {options.seconds:g} s in turns; a pair counts once its two events are on the "
            "broker. The outbox table of postgres is carried by the same relay, in eight lanes."
        ),
        tables=[
            sustained.table(),
            Table(headings=("closed loop", "pairs/s, events delivered", "pairs/s, answered"), rows=rows),
        ],
        targets=targets,
    )


class Sustained(Struct, frozen=True, kw_only=True):
    """Pairs at a given rate, for a while."""

    load: Load
    seconds: float
    """How long pairs were begun."""
    events: dict[str, int]
    """On each topic."""
    waiting: list[tuple[float, float]]
    """Seconds since the beginning, and how many events waited."""
    drained_seconds: float
    """From the last answer until no event waited."""

    def table(self) -> Table:
        """As the report shows it."""
        load, waiting = self.load, [value for _, value in self.waiting]
        p50, p99 = (figure(load.latencies.percentile_ms(percent)) for percent in (50, 99))
        rows = [
            ("pairs/s", figure(held_rate(load, self.seconds))),
            ("pairs", figure(len(load.latencies))),
            *((f"events on {topic}", figure(count)) for topic, count in self.events.items()),
            ("events that wait, median and most", f"{figure(middle(waiting))}, {figure(max(waiting))}"),
            ("growth of that a second", f"{growth(self.waiting):+.2f}"),
            ("s until none waited", figure(self.drained_seconds)),
            (
                "ms for both answers, p50 and p99",
                f"{p50}, {p99}",
            ),
        ]
        return Table(headings=(f"open loop, {figure(RATE)} pairs/s", ""), rows=rows)

    def targets(self) -> list[Target]:
        """What of it is a target."""
        return [
            Target(what="pairs sustained", measured=held_rate(self.load, self.seconds), bound=RATE, unit=PER_SECOND),
            Target(
                what="events by which the relay's lag grows a second",
                measured=growth(self.waiting),
                bound=LAG_GROWTH_MAX * _EVENTS * RATE,
                unit=PER_SECOND,
                at_most=True,
            ),
        ]


def held_rate(load: Load, seconds: float) -> float:
    """Flows a second of an open loop that ran for ``seconds``.

    That the last answers come a moment after the last request makes it no lower, but that they come late does.
    """
    late = load.seconds > seconds + LATE_SECONDS
    return len(load.latencies) / (load.seconds if late else seconds)


def _sustained(stage: Stage) -> Sustained:
    product = stage.product
    product.wait_until_published()
    plan = Pairs(product.address, stage.random_codes(), stage.run_name())
    schedule = AtRate(RATE, stage.options.sustained_seconds)
    with KafkaEnds(product.endpoints.kafka, TRANSACTION, STATE) as ends:
        before = ends.by_topic()
        with LagWatch(lambda: product.metric("gift_ledger_outbox_waiting")) as lag:
            found = Generator(product.address, plan, schedule, connections=CONNECTIONS * 2).run()
        ended = time.monotonic()
        product.wait_until_published()
        drained = time.monotonic() - ended
        events = {topic: end - before[topic] for topic, end in ends.by_topic().items()}
    if found.refused or found.lost:
        raise LoadError(f"{found.refused} pairs were refused, {found.lost} lost: {found.refusals}")
    stage.say(f"pairs sustained: {figure(found.flows_per_second)}/s, lag grows by {growth(lag.samples):+.2f} a second")
    return Sustained(
        load=found, seconds=stage.options.sustained_seconds, events=events, waiting=lag.samples, drained_seconds=drained
    )


def _delivered(stage: Stage, system: str) -> Delivered:
    prefix = "" if system == NAME else TOPIC_PREFIX
    stage.product.wait_until_published()
    with KafkaEnds(stage.product.endpoints.kafka, prefix + STATE, prefix + TRANSACTION) as ends:
        before = sum(ends.by_topic().values())
        began = time.monotonic()
        found = load(
            stage.address(system),
            "pairs",
            certificates=stage.options.certificates,
            connections=CONNECTIONS,
            seconds=stage.options.seconds,
        )
        wanted = before + _EVENTS * found.captures
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        while sum(ends.by_topic().values()) < wanted:
            if time.monotonic() > deadline:
                raise LoadError(f"{system}: not all events are on Kafka after {ARRIVAL_SECONDS_MAX:g} s")
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - began
        _settle(ends)
    return Delivered(found.captures / seconds, found.captures / found.seconds)


def _settle(ends: KafkaEnds) -> None:
    """Wait for what wrk did not wait for any more, so that it counts in no other round."""
    arrived = ends.by_topic()
    before: dict[str, int] = {}
    while arrived != before:
        time.sleep(_QUIET_SECONDS)
        arrived, before = ends.by_topic(), arrived
