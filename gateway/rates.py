"""How many requests a second a client may send, and how it is told: the ``RateLimit`` header fields.

Each gateway counts for itself, in memory: a limit for fairness, which costs no question to anybody. The fields are
those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

from gateway.exchange import Exchange
from gateway.faults import ProblemError
from ledger.refusals import Refusal

CLIENTS_MAX: Final = 20_000
"""Buckets: clients with keys are far fewer, and how many there are by tokens is for the identity provider to say."""

POLICY: Final = b'"requests"'
"""The name of the policy in the header fields."""


class _Bucket:
    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


class Rates:
    """A bucket of tokens for each client: a request takes one, and so does each item of a bulk call.

    A bulk call is let in if there is a token; what its other items take may leave the bucket in debt.

    Args:
        per_second: tokens that come back in a second.
        counts: where refusals are counted, as ``rate``.
        clock: seconds.
    """

    def __init__(self, per_second: float, counts: Counter[str], clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._counts = counts
        self._clock = clock
        self._window = 1 if per_second >= 1 else math.ceil(1 / per_second)
        self._quota = int(per_second * self._window)
        self._policy = (b"ratelimit-policy", b"%s;q=%d;w=%d" % (POLICY, self._quota, self._window))
        self._buckets: dict[str, _Bucket] = {}

    def has_room(self, client: str) -> bool:
        """Whether a request may come in now."""
        return self._bucket(client).tokens >= 1

    def spend(self, client: str, exchange: Exchange, number: int = 1) -> None:
        """Take tokens, and have the response tell how many are left."""
        bucket = self._bucket(client)
        bucket.tokens -= number
        self._tell(exchange, bucket)

    def enter(self, client: str, exchange: Exchange) -> None:
        """Let a request in.

        Raises:
            ProblemError: 429 ``RateLimited``; nothing happened.
        """
        if self.has_room(client):
            self.spend(client, exchange)
            return
        bucket = self._bucket(client)
        self._tell(exchange, bucket)
        self._counts["rate"] += 1
        wait = max(1, math.ceil((1 - bucket.tokens) / self._per_second))
        detail = f"This client may send {self._quota} requests in {self._window} s; try again in {wait} s."
        raise ProblemError(Refusal.RATE_LIMITED, detail, figures={"retryAfter": wait})

    def _bucket(self, client: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= CLIENTS_MAX:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[client] = _Bucket(self._quota, now)
        bucket.tokens = min(float(self._quota), bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        return bucket

    def _tell(self, exchange: Exchange, bucket: _Bucket) -> None:
        left = max(0, int(bucket.tokens))
        full = max(1, math.ceil((self._quota - bucket.tokens) / self._per_second))
        field = (b"ratelimit", b"%s;r=%d;t=%d" % (POLICY, left, full))
        others = [header for header in exchange.common if not header[0].startswith(b"ratelimit")]
        exchange.common = (*others, self._policy, field)
