"""The connections to Redis."""

from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

RESP: Final = 2
"""Version of the protocol. RESP3 is no faster for what we ask, and brings push messages that nobody here reads."""


def connect(url: str, *, connections_max: int, timeout_seconds: float) -> "Redis[Any]":
    """A client that never sends a command twice.

    redis-py's default is to try ten times by itself on a lost connection. An append whose answer was lost would
    then be refused as a conflict with itself.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password if there are any.
        connections_max: most connections at once; a call waits for a free one.
        timeout_seconds: longest wait for a connection, for its opening, and for an answer.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=RESP,
        decode_responses=False,
    )
    return Redis.from_pool(pool)
