"""What the gateway counts of itself, and what ``GET /metrics`` answers with.

The counts are plain numbers that requests add to (one thread, one loop); the library's metrics are made of them when
they are asked for, so that a request does not pay for locks.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.reply import NO_STORE, Reply
from gateway.services import Services
from gateway.token_check import Reason

BUCKETS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LIMITS: Final = ("rate", "address", "client", "busy", "closed")
"""What a request may be refused for: how many the client sends; a CVC for the wrong ones of its address or client, too
many at once, or windows that do not answer."""
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """Requests by call and status, how long they took, problems by code, and how many are under way.

    A bulk call is one request. Its items are counted beside, under the name of the single call: so requests and items
    together tell how many authorizations there were.
    """

    def __init__(self) -> None:
        self.limited: Counter[str] = Counter()
        self.tokens_refused: Counter[str] = Counter()
        self.in_flight = 0
        self.items_in_flight = 0
        self.connections = 0
        self.connections_refused = 0
        self._items: Counter[tuple[str, int]] = Counter()
        self._item_problems: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._problems: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def count(self, call: str, status: int, seconds: float, code: str = "") -> None:
        """Count a request that was answered; ``code`` names its problem, if it had one."""
        self._requests[call, status] += 1
        if code:
            self._problems[call, code] += 1
        durations = self._durations.get(call)
        if durations is None:
            durations = self._durations[call] = [0] * (len(BUCKETS_SECONDS) + 1)
        durations[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._seconds[call] = self._seconds.get(call, 0.0) + seconds

    def count_refused(self, status: int, code: str) -> None:
        """Count what was answered before it was a request: too long, too late, or on a connection too many."""
        self._requests["other", status] += 1
        self._problems["other", code] += 1

    def count_items(self, call: str, outcomes: Mapping[tuple[int, str], int]) -> None:
        """Count the items of a bulk call by status and code of the problem (``""``: none).

        ``call`` is the single one.
        """
        for (status, code), number in outcomes.items():
            self._items[call, status] += number
            if code:
                self._item_problems[call, code] += number

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield _counted("gift_ledger_http_requests", "Requests that were answered.", "status", self._requests)
        yield _counted(
            "gift_ledger_http_problems", "Requests that were answered with a problem.", "code", self._problems
        )
        yield _counted("gift_ledger_http_items", "Items of bulk calls that were answered.", "status", self._items)
        yield _counted(
            "gift_ledger_http_item_problems", "Items that were answered with a problem.", "code", self._item_problems
        )
        durations = HistogramMetricFamily(
            "gift_ledger_http_request_seconds", "From the head of the request to the response.", labels=("call",)
        )
        for call, counts in self._durations.items():
            durations.add_metric((call,), buckets=list(_cumulative(counts)), sum_value=self._seconds[call])
        yield durations
        yield GaugeMetricFamily("gift_ledger_http_requests_in_flight", "Requests under way.", value=self.in_flight)
        yield GaugeMetricFamily(
            "gift_ledger_http_items_in_flight", "Items of bulk calls under way.", value=self.items_in_flight
        )
        yield GaugeMetricFamily("gift_ledger_http_connections", "Open connections.", value=self.connections)
        yield CounterMetricFamily("gift_ledger_http_cvc_wrong", "CVCs that were wrong.", value=self.limited["wrong"])
        limited = CounterMetricFamily(
            "gift_ledger_http_limited", "Requests and items that were refused, by the limit.", labels=("limit",)
        )
        for limit in LIMITS:
            limited.add_metric((limit,), self.limited[limit])
        yield limited
        tokens = CounterMetricFamily(
            "gift_ledger_http_tokens_refused", "Tokens that were not taken, by what was wrong.", labels=("reason",)
        )
        for reason in Reason:
            tokens.add_metric((reason.value,), self.tokens_refused[reason])
        yield tokens
        yield CounterMetricFamily(
            "gift_ledger_http_connections_refused",
            "Connections that were closed at once, because too many were open.",
            value=self.connections_refused,
        )


class Exposition:
    """All metrics of the process in Prometheus' text format."""

    def __init__(self, services: Services, seconds_max: float) -> None:
        self._registry = services.metrics
        self._actors = services.actors
        self._seconds_max = seconds_max
        if self._actors is not None:
            self._registry.register(self._actors)

    async def reply(self) -> Reply:
        """The metrics now. Actors that do not answer in time keep nobody from the rest."""
        if self._actors is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_max):
                    await self._actors.refresh()
        return Reply(200, ((b"content-type", CONTENT_TYPE), NO_STORE), generate_latest(self._registry))


def _counted(name: str, meaning: str, label: str, counts: Mapping[tuple[str, Any], int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=("call", label))
    for (call, value), number in counts.items():
        family.add_metric((call, str(value)), number)
    return family


def _cumulative(counts: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, number in zip((*map(str, BUCKETS_SECONDS), "+Inf"), counts, strict=True):
        total += number
        yield bound, total
