"""The product's own relay, on an outbox in PostgreSQL: ``python -m benchmarks.baselines.relay ADDRESS KAFKA``."""

import asyncio
import logging
import signal
import sys
import time
from typing import Any, Final, cast

import asyncpg
import uvloop

from gateway.bridge_settings import BridgeSettings
from gateway.relay import OutboxRelay
from ledger.publications import Publication
from persistence import codec
from persistence.log import PAGE_MAX, Log, OutboxPage

LANES: Final = 8
"""Parts of the outbox that are carried at the same time; ``schema.sql`` deals the certificates out to them."""
TOPIC_PREFIX: Final = "Postgres."
"""Its topics stand beside the product's on the same broker."""
_PAGE: Final = "SELECT seq, topic, code, event_id, at, value FROM outbox WHERE lane = $1 ORDER BY seq LIMIT $2"
_SIZES: Final = (
    "SELECT one, EXISTS (SELECT FROM outbox WHERE outbox.lane = one) FROM generate_series(0, $1) AS lanes (one)"
)
_DELETE: Final = "DELETE FROM outbox WHERE lane = $1 AND seq = ANY($2::bigint[])"


class PostgresOutbox:
    """As much of a log as the relay needs."""

    partitions: Final = LANES

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._read: dict[int, list[int]] = {}

    async def outbox_sizes(self) -> list[int]:
        """1 for each lane in which something waits: to count it would take longer than to carry it."""
        return [int(there) for _, there in await self._pool.fetch(_SIZES, LANES - 1)]

    async def outbox(self, partition: int, limit: int = PAGE_MAX) -> OutboxPage:
        """The oldest of a lane."""
        rows = await self._pool.fetch(_PAGE, partition, limit)
        self._read[partition] = [row["seq"] for row in rows]
        return OutboxPage(0, tuple(_entry(row) for row in rows), len(rows))

    async def acknowledge(self, partition: int, _head: int, count: int) -> bool:
        """Delete what was read last. By their numbers: a transaction with a lower one may have come in since."""
        await self._pool.execute(_DELETE, partition, self._read[partition][:count])
        return True


def _entry(row: asyncpg.Record) -> bytes:
    event = Publication(row["topic"], row["code"], row["event_id"], row["at"], row["value"].encode())
    return codec.encode_publication(event)


async def run(address: str, kafka: str) -> None:
    """Carry until SIGTERM comes."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = BridgeSettings(
        bootstrap=kafka,
        states=f"{TOPIC_PREFIX}GiftCertificateState",
        transactions=f"{TOPIC_PREFIX}GiftCertificateTransaction",
    )
    async with asyncpg.create_pool(address, min_size=LANES, max_size=LANES) as pool:
        outbox: Any = PostgresOutbox(pool)
        await OutboxRelay(cast("Log", outbox), settings, lambda: time.time_ns() // 1_000_000).run(stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(run(*sys.argv[1:3]))
