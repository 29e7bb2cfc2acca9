"""What the gateway counts of itself, and what ``GET /metrics`` answers with.

The counts are plain numbers that requests add to (one thread, one loop); the library's metrics are made of them when
they are asked for, so that a request does not pay for locks.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.reply import NO_STORE, Reply
from gateway.services import Services

BUCKETS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """Requests by call and status, how long they took, problems by code, and how many are under way."""

    def __init__(self) -> None:
        self.in_flight = 0
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

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        requests = CounterMetricFamily(
            "gift_ledger_http_requests", "Requests that were answered.", labels=("call", "status")
        )
        for (call, status), number in self._requests.items():
            requests.add_metric((call, str(status)), number)
        yield requests
        problems = CounterMetricFamily(
            "gift_ledger_http_problems", "Requests that were answered with a problem.", labels=("call", "code")
        )
        for (call, code), number in self._problems.items():
            problems.add_metric((call, code), number)
        yield problems
        durations = HistogramMetricFamily(
            "gift_ledger_http_request_seconds", "From the head of the request to the response.", labels=("call",)
        )
        for call, counts in self._durations.items():
            durations.add_metric((call,), buckets=list(_cumulative(counts)), sum_value=self._seconds[call])
        yield durations
        yield GaugeMetricFamily("gift_ledger_http_requests_in_flight", "Requests under way.", value=self.in_flight)


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


def _cumulative(counts: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, number in zip((*map(str, BUCKETS_SECONDS), "+Inf"), counts, strict=True):
        total += number
        yield bound, total
