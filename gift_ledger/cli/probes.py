"""Looks at the servers around the ledger, each within a bounded time."""
# ruff: noqa: PLC0415 - what is imported inside takes long, and most commands do without it

import asyncio
import ssl
from typing import Final

from persistence.settings import StorageSettings

PROBE_SECONDS: Final = 5.0


async def connect(host: str, port: int, *, tls: bool = False) -> None:
    """Open a connection and close it again.

    Raises:
        OSError: nobody answers there (a time-out too).
    """
    async with asyncio.timeout(PROBE_SECONDS):
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if tls else None)
        writer.close()
        await writer.wait_closed()


async def redis_time_ms(settings: StorageSettings) -> int:
    """The clock of the Redis server, in milliseconds.

    Raises:
        StorageError: it does not answer.
    """
    from persistence.redis_client import connect as redis_client
    from persistence.redis_errors import answered

    client = redis_client(settings.redis_url, connections_max=1, timeout_seconds=settings.timeout_seconds)
    try:
        seconds, micros = await answered(client.execute_command("TIME"))
    finally:
        await client.aclose()
    return int(seconds) * 1_000 + int(micros) // 1_000


async def kafka_topics(bootstrap: str) -> dict[str, int]:
    """The topics of a Kafka cluster, each with its number of partitions.

    Raises:
        OSError: no broker answers (a time-out too).
    """
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=bootstrap.split(","), client_id="gift-ledger-doctor")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await client.bootstrap()
            metadata = await client.fetch_all_metadata()
            return {topic: len(metadata.partitions_for_topic(topic) or ()) for topic in metadata.topics()}
    except KafkaError as error:
        raise OSError(str(error)) from error
    finally:
        await client.close()
