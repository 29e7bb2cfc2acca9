"""Looks at the servers around the ledger, each within a bounded time."""
# ruff: noqa: PLC0415 - what is imported inside takes long, and most commands do without it

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from persistence.settings import StorageSettings

if TYPE_CHECKING:
    from gateway.readiness import Readiness

PROBE_SECONDS: Final = 5.0
"""How long a part may take to answer."""


class NoLedgerError(Exception):
    """There is no ledger on the server: one is made by the service alone, never by looking for one."""


class NoGatewayError(Exception):
    """Something answers, and it is no gateway of ours."""


class FoundLedger(Struct, frozen=True, kw_only=True):
    """What a ledger says of itself. ``vault`` is the fingerprint of its first pepper, once it has one.

    ``peppers`` are those of the later ones that are in use, by number.
    """

    vault: str | None
    peppers: dict[int, str] = {}


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


async def find_ledger(settings: StorageSettings) -> FoundLedger | None:
    """The ledger on the Redis server, ``None`` if there is none; opening the log would make one.

    Raises:
        StorageUnsafeError: the server would lose data.
        StorageError: it does not answer.
    """
    from persistence.checks import require_safe
    from persistence.pepper_prints import PepperPrints
    from persistence.redis_client import connect as redis_client
    from persistence.redis_errors import answered
    from persistence.redis_keys import meta_key

    client = redis_client(settings.redis_url, connections_max=1, timeout_seconds=settings.timeout_seconds)
    try:
        await require_safe(client, settings.replicas, allow_unsafe=settings.allow_unsafe)
        meta = await answered(client.execute_command("HGETALL", meta_key(settings.prefix)))
    finally:
        await client.aclose()
    if b"schema" not in meta:
        return None
    vault = meta.get(b"vault")
    return FoundLedger(vault=None if vault is None else vault.decode(), peppers=PepperPrints.of(meta).used)


async def readiness(url: str, certificate: str = "") -> Readiness:
    """What the gateway at ``url`` answers to ``GET /health/ready``.

    Args:
        url: of the gateway.
        certificate: file of the one that it is trusted by, if it speaks HTTPS.

    Raises:
        OSError: nobody answers there (a time-out too), or not with that certificate.
        NoGatewayError: somebody else does.
    """
    import httpx

    from gateway.readiness import Readiness
    from gateway.tls import trusting

    verify = trusting(Path(certificate)) if certificate else True
    async with httpx.AsyncClient(base_url=url, timeout=PROBE_SECONDS, verify=verify, trust_env=False) as client:
        try:
            answer = await client.get("/health/ready")
            return msgspec.json.decode(answer.content, type=Readiness)
        except (httpx.ConnectError, httpx.TimeoutException) as error:
            raise OSError(str(error)) from error
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise NoGatewayError(str(error)) from error


async def kafka_topics(settings: BridgeSettings) -> dict[str, int]:
    """The topics of a Kafka cluster, each with its number of partitions.

    Raises:
        OSError: no broker answers (a time-out too), or none lets us in; the message says which.
    """
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    from gateway.kafka_refusals import refusal

    client = AIOKafkaClient(
        bootstrap_servers=settings.bootstrap.split(","), client_id="gift-ledger-doctor", **settings.security.options()
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await client.bootstrap()
            metadata = await client.fetch_all_metadata()
            return {topic: len(metadata.partitions_for_topic(topic) or ()) for topic in metadata.topics()}
    except KafkaError as error:
        raise OSError(await refusal(settings) or str(error)) from error
    finally:
        await client.close()
