"""The real servers that other tests build on do what those tests take for granted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.real.process import ServerFailedError, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.real.kafka import RealKafka
    from tests.real.redis import RealServer

pytestmark = pytest.mark.real

WAIT_SECONDS = 60.0


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as connected:
        yield connected


async def test_redis_syncs_every_write_and_evicts_nothing(client: redis.asyncio.Redis) -> None:
    settings = await client.config_get("append*", "maxmemory-policy", "save")

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""


async def test_redis_keeps_what_it_answered_through_a_kill(redis_server: RealServer) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as before:
        await before.set("balance", "150000")

    await asyncio.to_thread(redis_server.restart)

    async with redis.asyncio.Redis.from_url(redis_server.url) as after:
        assert await after.get("balance") == b"150000"


async def test_redis_is_handed_out_empty_and_running_whatever_was_done_to_it(redis_server: RealServer) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.set("left", "over")
        digest = await client.script_load("return 1")
    redis_server.stop()

    redis_server.empty()

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        assert await client.dbsize() == 0
        assert await client.script_exists(digest) == [False]


def test_each_test_can_have_a_redis_of_its_own(own_redis: RealServer, redis_server: RealServer) -> None:
    assert own_redis.running
    assert own_redis.port != redis_server.port
    assert own_redis.process.pid != redis_server.process.pid


async def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await asyncio.wait_for(producer.send_and_wait(topic, value, key=b"GC-7K2M-9QXA"), WAIT_SECONDS)


async def consume(bootstrap: str, topic: str, group: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    async with consumer, asyncio.timeout(WAIT_SECONDS):
        values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.commit()
    return values


async def test_kafka_delivers_in_order_and_remembers_a_group(kafka: RealKafka, kafka_prefix: str) -> None:
    topic, group = f"{kafka_prefix}All_Payments", f"{kafka_prefix}group"
    await kafka.create_topics(topic, partitions=3)
    await produce(kafka.bootstrap, topic, b"1", b"2", b"3")

    assert await consume(kafka.bootstrap, topic, group, 2) == [b"1", b"2"]
    assert await consume(kafka.bootstrap, topic, group, 1) == [b"3"]


async def test_kafka_takes_two_members_in_one_group(kafka: RealKafka, kafka_prefix: str) -> None:
    topic, group = f"{kafka_prefix}All_SalesOrder", f"{kafka_prefix}group"
    await kafka.create_topics(topic, partitions=2)
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap, "group_id": group, "heartbeat_interval_ms": 100}

    async with (
        asyncio.timeout(WAIT_SECONDS),
        AIOKafkaConsumer(topic, **options) as first,
        AIOKafkaConsumer(topic, **options) as second,
    ):
        while {len(first.assignment()), len(second.assignment())} != {1}:
            await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50))
        assert first.assignment() | second.assignment() == {TopicPartition(topic, 0), TopicPartition(topic, 1)}


async def test_kafka_keeps_topics_and_events_through_a_kill(kafka: RealKafka, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}GiftCertificateState"
    await kafka.create_topics(topic, compacted={topic})
    await produce(kafka.bootstrap, topic, b"before")

    await asyncio.to_thread(kafka.restart)
    await produce(kafka.bootstrap, topic, b"after")

    assert await consume(kafka.bootstrap, topic, f"{kafka_prefix}group", 2) == [b"before", b"after"]


async def test_kafka_compacts_only_what_was_asked_for(kafka: RealKafka, kafka_prefix: str) -> None:
    state, transaction = f"{kafka_prefix}state", f"{kafka_prefix}transaction"
    await kafka.create_topics(state, transaction, compacted={state})

    policies = {}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        for topic in (state, transaction):
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": None})
            (response,) = await admin.describe_configs([resource])
            ((_, _, _, _, entries),) = response.resources
            policies[topic] = entries[0][1]
    finally:
        await admin.close()

    assert policies == {state: "compact", transaction: "delete"}


async def test_kafka_says_which_topic_it_did_not_create(kafka: RealKafka, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}twice"
    await kafka.create_topics(topic)

    with pytest.raises(ServerFailedError, match=topic):
        await kafka.create_topics(topic)


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    server = ServerProcess(["/bin/sh", "-c", "echo no such option; exit 3"], tmp_path)

    with pytest.raises(ServerFailedError, match=r"status 3:\nno such option"):
        server.start(lambda: False, 5)

    assert not server.running


def test_a_server_that_is_never_ready_is_not_left_running(tmp_path: Path) -> None:
    server = ServerProcess(["/bin/sleep", "60"], tmp_path)

    with pytest.raises(ServerFailedError, match="not ready"):
        server.start(lambda: False, 0.1)

    assert not server.running


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(8)}) == 8
