"""What the shards and the bridge say of themselves, for Prometheus.

Their reports are asked for when ``GET /metrics`` is; the library collects them without waiting.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.reports import ActorReport

ANSWER_SECONDS_MAX: Final = 1.5
"""How long each actor may take to answer, so that one that hangs does not hide the others."""

LABELS: Final = ("actor",)

_logger = logging.getLogger(__name__)


class Figure(Struct, frozen=True):
    """A metric, and the fact of an actor's report that it is made of. A counter's name goes without ``_total``."""

    kind: str
    fact: str
    name: str
    text: str
    counts: bool = True
    """A counter; otherwise a gauge."""


FIGURES: Final = (
    Figure("shard", "residents", "gift_ledger_shard_residents", "Entities in memory.", counts=False),
    Figure("shard", "queued", "gift_ledger_shard_queued", "Commands in the mailbox.", counts=False),
    Figure("shard", "sales", "gift_ledger_shard_sales", "Sales under way.", counts=False),
    Figure("shard", "errands", "gift_ledger_shard_errands", "Errands under way.", counts=False),
    Figure("shard", "callers", "gift_ledger_shard_callers", "Open connections to the shard.", counts=False),
    Figure("shard", "commands", "gift_ledger_shard_commands", "Commands taken."),
    Figure("shard", "rounds", "gift_ledger_shard_rounds", "Rounds: commands divided by these are the batch."),
    Figure("shard", "replayed", "gift_ledger_shard_replayed", "Commands answered with their first outcome."),
    Figure("shard", "loaded", "gift_ledger_shard_loaded", "Entities read from the log."),
    Figure("shard", "passivated", "gift_ledger_shard_passivated", "Entities let go of."),
    Figure("shard", "overloaded", "gift_ledger_shard_overloaded", "Commands sent away, because too much waited."),
    Figure("shard", "conflicts", "gift_ledger_shard_conflicts", "Entities that another writer had changed."),
    Figure("shard", "storage_lost", "gift_ledger_shard_storage_lost", "Rounds whose log did not answer."),
    Figure("shard", "storage_refused", "gift_ledger_shard_storage_refused", "Rounds that the log refused to write."),
    Figure("shard", "damaged", "gift_ledger_shard_damaged", "Entities whose log is damaged, at each attempt to read."),
    Figure("shard", "defects", "gift_ledger_shard_defects", "Commands and rounds that failed by a defect."),
    Figure(
        "shard",
        "pepperMissing",
        "gift_ledger_shard_pepper_missing",
        "CVCs that could not be checked, because the gateway lacks a pepper.",
    ),
    Figure("shard", "timersRung", "gift_ledger_shard_timers_rung", "Timers that woke their entity."),
    Figure("shard", "timersFailed", "gift_ledger_shard_timers_failed", "Timers that could not, and will ring again."),
    Figure(
        "shard",
        "coverageShort",
        "gift_ledger_lines_coverage_short",
        "Lines of settled orders that became CoverageShort.",
    ),
    Figure("shard", "coverageMended", "gift_ledger_lines_coverage_mended", "Lines that are no longer CoverageShort."),
    Figure("relay", "waiting", "gift_ledger_outbox_waiting", "Events that wait for Kafka.", counts=False),
    Figure(
        "relay",
        "waitingSeconds",
        "gift_ledger_outbox_waiting_seconds",
        "For how long events have waited without one going out.",
        counts=False,
    ),
    Figure("relay", "acknowledged", "gift_ledger_outbox_acknowledged", "Events that Kafka has."),
    Figure(
        "relay",
        "held",
        "gift_ledger_outbox_held",
        "Partitions of the outbox whose next event cannot be read.",
        counts=False,
    ),
    Figure("inbox", "inFlight", "gift_ledger_inbox_in_flight", "Inputs that are being applied.", counts=False),
    Figure("inbox", "lag", "gift_ledger_inbox_lag", "Records that wait on the input topics.", counts=False),
    Figure("inbox", "applied", "gift_ledger_inbox_applied", "Orders and payments that were applied."),
    Figure("inbox", "retries", "gift_ledger_inbox_retries", "Attempts to apply one that were made again."),
    Figure("inbox", "deadLetters", "gift_ledger_dead_letters", "Inputs put aside for good."),
    Figure("sms", "waiting", "gift_ledger_sms_waiting", "Messages that wait for the SMS gateway.", counts=False),
    Figure("sms", "inFlight", "gift_ledger_sms_in_flight", "Messages that are being sent.", counts=False),
    Figure("sms", "retried", "gift_ledger_sms_retried", "Attempts that failed and will be made again."),
    Figure("sms", "accepted", "gift_ledger_sms_accepted", "Messages that the SMS gateway has."),
    Figure("sms", "givenUp", "gift_ledger_sms_given_up", "Messages given up: refused, unreadable, or 24 h of trying."),
)
"""All of them; each has the label ``actor``."""


class ActorMetrics(Collector):
    """The last report of each actor, as metrics.

    Args:
        names: the actors.
        ask: gives the report of one. Every gateway asks all of them, so the same figures come from each gateway.
    """

    def __init__(self, names: Sequence[str], ask: Callable[[str], Awaitable[ActorReport]]) -> None:
        self._names = tuple(names)
        self._ask = ask
        self._up = dict.fromkeys(self._names, False)
        self._last: dict[str, ActorReport] = {}

    async def refresh(self) -> None:
        """Ask all actors at once. Of one that does not answer the last report stands, and ``up`` is 0."""
        await asyncio.gather(*(self._refresh(name) for name in self._names))

    def collect(self) -> Iterator[Metric]:
        """The metrics as of the last refresh."""
        up = GaugeMetricFamily(
            "gift_ledger_actor_up",
            "Whether the actor answers; its other figures are of its last answer.",
            labels=LABELS,
        )
        for name, answers in self._up.items():
            up.add_metric((name,), answers)
        yield up
        for figure in FIGURES:
            family = CounterMetricFamily if figure.counts else GaugeMetricFamily
            metric = family(figure.name, figure.text, labels=LABELS)
            for name, report in self._last.items():
                if report.kind == figure.kind:
                    metric.add_metric((name,), float(report.facts.get(figure.fact, 0)))
            yield metric

    async def _refresh(self, name: str) -> None:
        self._up[name] = False
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                report = await self._ask(name)
        except TimeoutError:
            return
        except Exception:
            _logger.exception("%s cannot be asked for its figures", name)
            return
        if report.kind:  # of one that cannot be reached only its name is known
            self._last[name] = report
            self._up[name] = report.state == "ALIVE"
