"""The looks at servers, against real ones."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from examples.sms_gateway import SmsGateway
from gateway.bridge_settings import BridgeSettings
from gateway.services import Condition
from gift_ledger.cli.doors import open_keys, open_log
from gift_ledger.cli.probes import (
    FoundLedger,
    NoGatewayError,
    NoLedgerError,
    connect,
    find_ledger,
    kafka_topics,
    readiness,
    redis_time_ms,
)
from persistence.errors import StorageUnavailableError, StorageUnsafeError
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.real.process import free_port
from tests.real.redis import RealServer


@pytest.fixture
def storage(redis_url: str) -> StorageSettings:
    return StorageSettings(redis_url=redis_url, partitions=8)


async def answering(answer: bytes) -> tuple[asyncio.Server, int]:
    """A server that answers each connection with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.real
async def test_looking_for_a_ledger_makes_none(storage: StorageSettings) -> None:
    assert await find_ledger(storage) is None
    with pytest.raises(NoLedgerError, match="There is no ledger 'gl' on this Redis: start the service first"):
        await open_log(storage)

    assert await find_ledger(storage) is None


@pytest.mark.real
async def test_a_ledger_that_is_there_is_found_with_its_pepper_and_opened(storage: StorageSettings) -> None:
    made = await RedisLog.open(storage)
    assert await find_ledger(storage) == FoundLedger(vault=None)

    await made.bind_vault("0123456789abcdef")
    await made.bind_peppers({2: "used", 3: "prepared"}, 2)
    await made.close()

    assert await find_ledger(storage) == FoundLedger(vault="0123456789abcdef", peppers={2: "used"})
    log = await open_log(StorageSettings(redis_url=storage.redis_url))
    assert log.partitions == 8
    await log.close()


@pytest.mark.real
async def test_the_keys_are_in_redis(storage: StorageSettings) -> None:
    store = await open_keys(storage)

    assert await store.all() == []
    await store.close()


@pytest.mark.real
async def test_the_clock_of_redis_is_told_in_milliseconds(storage: StorageSettings) -> None:
    before = time.time_ns() // 1_000_000

    told = await redis_time_ms(storage)

    assert before - 1 <= told <= time.time_ns() // 1_000_000 + 1


@pytest.mark.real
async def test_a_server_that_would_lose_data_is_not_looked_into(own_redis: RealServer) -> None:
    with own_redis._client() as client:
        client.config_set("appendfsync", "everysec")

    with pytest.raises(StorageUnsafeError, match="appendfsync is everysec"):
        await find_ledger(StorageSettings(redis_url=own_redis.url))


async def test_a_redis_that_is_away_is_said() -> None:
    away = StorageSettings(redis_url=f"redis://127.0.0.1:{free_port()}/0")

    for look in (find_ledger, redis_time_ms):
        with pytest.raises(StorageUnavailableError):
            await look(away)


async def test_a_connection_is_opened_and_closed() -> None:
    server, port = await answering(b"")
    async with server:
        await connect("127.0.0.1", port)

    with pytest.raises(OSError, match="Connect call failed"):
        await connect("127.0.0.1", port)


@pytest.fixture
def broker() -> Iterator[str]:
    """A broker that speaks the protocol (librdkafka's mock), alive as long as its producer is."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (found,) = producer.list_topics(timeout=60).brokers.values()
    producer.produce("All_Payments", b"{}")
    producer.flush(60)
    yield f"{found.host}:{found.port}"
    producer.flush(1)


async def test_topics_are_told_with_their_partitions(broker: str) -> None:
    topics = await kafka_topics(BridgeSettings(bootstrap=broker))

    assert topics["All_Payments"] > 0


async def test_a_broker_that_is_away_is_said() -> None:
    with pytest.raises(OSError, match="Unable to bootstrap"):
        await kafka_topics(BridgeSettings(bootstrap=f"127.0.0.1:{free_port()}"))


async def test_a_gateway_says_how_it_is() -> None:
    body = b'{"status":"degraded","components":{"kafka":{"status":"degraded","detail":"it waits"}}}'
    server, port = await answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    async with server:
        found = await readiness(f"http://127.0.0.1:{port}")

    assert found.status is Condition.DEGRADED
    assert found.components["kafka"].detail == "it waits"


async def test_something_else_is_no_gateway() -> None:
    other = SmsGateway()
    url = await other.start()
    with pytest.raises(NoGatewayError):
        await readiness(url)
    await other.stop()

    server, port = await answering(b"+PONG\r\n")
    async with server:
        with pytest.raises(NoGatewayError):
            await readiness(f"http://127.0.0.1:{port}")


async def test_nobody_is_no_gateway_either() -> None:
    with pytest.raises(OSError, match="All connection attempts failed"):
        await readiness(f"http://127.0.0.1:{free_port()}")
