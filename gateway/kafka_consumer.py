"""A consumer that commits by hand, and how it is closed for certain."""

import asyncio
import logging
from typing import Final

from aiokafka import AIOKafkaConsumer

from gateway.bridge_settings import BridgeSettings
from gateway.kafka_producer import REQUEST_SECONDS_MAX

SESSION_SECONDS: Final = 6.0
"""A member of the group that was not heard of for so long loses its partitions: how long orders and payments wait after
an inbox was killed. Brokers allow no less unless told to."""
HEARTBEAT_SECONDS: Final = 1.5
"""How often a member is heard of."""
REBALANCE_SECONDS_MAX: Final = 30.0
"""How long the members may take to hand over their partitions."""
METADATA_SECONDS: Final = 5.0
"""How soon new topics and partitions are noticed."""
FETCH_SECONDS_MAX: Final = 0.05
"""How long a broker may hold back an answer in the hope of records. The embedded one always does."""
STOP_SECONDS_MAX: Final = 3.0
"""How long a consumer may take to leave its group; the broker then misses it by itself."""
CUT_SECONDS_MAX: Final = 1.0
"""How long the parts of a consumer may take to end that did not stop by itself."""
_NEVER_MS: Final = 2**31 - 1

_logger = logging.getLogger(__name__)


def new_consumer(settings: BridgeSettings, group: str | None, client_id: str) -> AIOKafkaConsumer:
    """A consumer, not started yet; it begins with the oldest record that its group has not committed.

    Raises:
        persistence.tls.TrustError: a file of TLS cannot be used.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap.split(","),
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        # what a transaction of another system took back was never said
        isolation_level="read_committed",
        request_timeout_ms=int(REQUEST_SECONDS_MAX * 1_000),
        metadata_max_age_ms=int(METADATA_SECONDS * 1_000),
        fetch_max_wait_ms=int(FETCH_SECONDS_MAX * 1_000),
        session_timeout_ms=int(SESSION_SECONDS * 1_000),
        heartbeat_interval_ms=int(HEARTBEAT_SECONDS * 1_000),
        rebalance_timeout_ms=int(REBALANCE_SECONDS_MAX * 1_000),
        # while the ledger is away nothing is polled; another member could do no better
        max_poll_interval_ms=_NEVER_MS,
        **settings.security.options(),
    )


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer within a bounded time, whatever state it is in.

    Its own ``stop`` leaves the group, but may wait for ever on a broker that is away, and cannot be interrupted.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    _, late = await asyncio.wait({stopping}, timeout=STOP_SECONDS_MAX)
    if not late:
        await asyncio.gather(stopping, return_exceptions=True)
        return
    _logger.info("a consumer did not stop by itself")
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    tasks = [getattr(coordinator, name, None) for name in names]
    tasks += [getattr(fetcher, "_fetch_task", None), *getattr(fetcher, "_pending_tasks", ())]
    ending = [stopping, asyncio.ensure_future(consumer._client.close()), *filter(None, tasks)]  # noqa: SLF001
    for task in filter(None, tasks):
        task.cancel()
    _, late = await asyncio.wait(ending, timeout=CUT_SECONDS_MAX)
    for task in late:
        task.cancel()
    await asyncio.wait(ending, timeout=CUT_SECONDS_MAX)
    await consumer._client.close()  # noqa: SLF001 - what they have opened meanwhile
