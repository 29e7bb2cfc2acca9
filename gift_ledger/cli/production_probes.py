"""Looks at servers for what is open, and changes nothing."""
# ruff: noqa: PLC0415 - what is imported inside takes long, and most commands do without it

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from persistence.settings import StorageSettings

ANSWER_SECONDS_MAX: Final = 5.0
"""How long a server may take to answer one question."""
DANGEROUS: Final = {
    # each would be refused for its last word, if the user's rights did not refuse it before
    "FLUSHALL": ("FLUSHALL", "NO-SUCH-MODE"),
    "CONFIG SET": ("CONFIG", "SET", "no-such-setting", "1"),
    "SHUTDOWN": ("SHUTDOWN", "NO-SUCH-MODE"),
    "ACL SETUSER": ("ACL", "SETUSER", "gift-ledger-doctor", "no-such-rule"),
}


class RedisFacts(Struct, frozen=True, kw_only=True):
    """How open a Redis is. ``unsafe``: by what it may lose writes; ``settings``: empty where it does not tell them."""

    open_to_all: bool
    allowed: tuple[str, ...]
    reads_others: bool
    unsafe: tuple[str, ...]
    settings: dict[str, str]


class TopicFacts(Struct, frozen=True, kw_only=True):
    """How many brokers have a topic, and how many of them have to have a record; ``None`` if we may not know."""

    replicas: int
    in_sync_min: int | None


async def redis_facts(settings: StorageSettings) -> RedisFacts:
    """What a Redis lets us do, and those who say nothing of themselves.

    Raises:
        StorageError: it does not answer.
    """
    from persistence.checks import findings, look
    from persistence.redis_client import connect
    from persistence.redis_errors import answered

    client = connect(settings.redis_url, connections_max=1, timeout_seconds=settings.timeout_seconds)
    nobody = connect(_unnamed(settings.redis_url), connections_max=1, timeout_seconds=settings.timeout_seconds)
    try:
        server = await look(client)
        told: dict[str, str] = {}
        if server.settings is not None:
            told = await answered(client.execute_command("CONFIG GET", "protected-mode", "maxmemory-policy"))
        return RedisFacts(
            open_to_all=await _lets(nobody, ("PING",)),
            allowed=tuple([name for name, words in DANGEROUS.items() if await _lets(client, words)]),
            reads_others=await _lets(client, ("GET", "gift-ledger-doctor:no-such-key")),
            unsafe=tuple(findings(server, settings.replicas)),
            settings=told,
        )
    finally:
        await client.aclose()
        await nobody.aclose()


async def topic_facts(settings: BridgeSettings) -> dict[str, TopicFacts]:
    """The topics that are there.

    Raises:
        OSError: no broker answers, or none lets us in.
    """
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
    from aiokafka.errors import KafkaError

    from gateway.kafka_refusals import refusal

    client = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap.split(","),
        client_id="gift-ledger-doctor",
        request_timeout_ms=int(ANSWER_SECONDS_MAX * 1_000),
        **settings.security.options(),
    )
    try:
        async with asyncio.timeout(2 * ANSWER_SECONDS_MAX):
            await client.start()
            found = {
                topic["topic"]: min((len(one["replicas"]) for one in topic["partitions"]), default=0)
                for topic in await client.describe_topics()
            }
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
            minima: dict[str, int] = {}
            for answer in await client.describe_configs(resources) if resources else ():
                for code, _, _, name, entries in answer.resources:
                    if code == 0:
                        told = {entry[0]: entry[1] for entry in entries}
                        minima[name] = int(told["min.insync.replicas"])
            return {
                name: TopicFacts(replicas=replicas, in_sync_min=minima.get(name)) for name, replicas in found.items()
            }
    except KafkaError as error:
        raise OSError(await refusal(settings) or str(error)) from error
    finally:
        with suppress(KafkaError):
            await client.close()


def _unnamed(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else url


async def _lets(client: object, words: tuple[str, ...]) -> bool:
    """Whether a command is refused for what it says, if at all, and not for who asks.

    Raises:
        StorageError: no answer.
    """
    from typing import cast

    import redis.exceptions as r

    from persistence.redis_client import Client
    from persistence.redis_errors import answered

    async def said() -> bool:
        try:
            await cast("Client", client).execute_command(*words)
        except (r.NoPermissionError, r.AuthenticationError):
            return False
        except r.ResponseError as error:
            return not str(error).startswith(("NOAUTH", "NOPERM", "DENIED"))
        except r.ConnectionError as error:
            if "DENIED" in str(error):  # protected mode hangs up on strangers
                return False
            raise
        return True

    return await answered(said())
