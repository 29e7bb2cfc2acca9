"""Moving windows: how often something has happened lately, as all gateways know it together.

The library `limits` keeps them in Redis, as lists of times that go away by themselves.
"""

import time
from typing import Any, Final, NamedTuple, Protocol

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from persistence.redis_client import pool_of
from persistence.redis_errors import answered

CONNECTIONS_MAX: Final = 4
"""One question is about four windows, asked for at once."""
ANSWER_SECONDS_MAX: Final = 1.0
"""After this a call without an answer counts as lost: somebody waits for it before the ledger is asked."""


class Count(NamedTuple):
    """How many there are in a window, and in how many seconds the oldest of them leaves it (0 if there is none)."""

    number: int
    oldest_seconds: float


class Windows(Protocol):
    """Windows by name. Every method may raise :class:`~persistence.errors.StorageError`."""

    async def add(self, name: str, number: int = 1) -> None:
        """Note that it happened now, ``number`` times. A window that has no room for all of them takes none."""
        ...

    async def count(self, name: str) -> Count:
        """What is in the window now, as many as are kept at most."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class RedisWindows:
    """Windows in ``PREFIX:guesses``.

    Args:
        url: of the server.
        prefix: first part of its keys.
        seconds: length of the windows.
        kept_max: of each window.
        timeout_seconds: after this a call counts as unanswered.
        pool: of connections to use instead of a new one to ``url``; redis-py's.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        seconds: int,
        kept_max: int,
        *,
        timeout_seconds: float = ANSWER_SECONDS_MAX,
        pool: Any = None,  # noqa: ANN401 - untyped in both libraries
    ) -> None:
        if pool is None:
            pool = pool_of(url, connections_max=CONNECTIONS_MAX, timeout_seconds=timeout_seconds)
        # the address is the pool's; the one that is given here is only looked at
        self._pool = pool
        storage = RedisStorage(
            "async+redis://pool:6379",
            implementation="redispy",
            key_prefix=f"{prefix}:guesses",
            connection_pool=pool,
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._item: RateLimitItem = RateLimitItemPerSecond(kept_max, seconds, namespace="window")

    async def add(self, name: str, number: int = 1) -> None:
        """See :meth:`Windows.add`."""
        await answered(self._limiter.hit(self._item, name, cost=min(number, self._item.amount)))

    async def count(self, name: str) -> Count:
        """See :meth:`Windows.count`."""
        ends, left = await answered(self._limiter.get_window_stats(self._item, name))
        number = self._item.amount - left
        return Count(number, max(0.0, ends - time.time()) if number else 0.0)

    async def close(self) -> None:
        """See :meth:`Windows.close`."""
        await self._pool.disconnect()
