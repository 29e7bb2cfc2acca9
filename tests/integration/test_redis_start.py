"""Opening a ledger on a real server: it is checked, made once, and joined by everybody who comes later."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis.asyncio

from persistence.errors import StorageRefusedError, StorageUnavailableError, StorageUnsafeError
from persistence.log import Batch, Change, partition_of
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.real.fixtures import ServerKind, binary_of
from tests.real.process import free_port
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

NOON = 1_795_521_600_000
WAIT_SECONDS = 60.0


@pytest.fixture
async def client(own_redis: RealServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as connected:
        yield connected


async def command(client: redis.asyncio.Redis, *words: object) -> None:
    await client.execute_command(*words)  # type: ignore[no-untyped-call]


def settings(server: RealServer, **more: object) -> StorageSettings:
    return StorageSettings(redis_url=server.url, partitions=4, timeout_seconds=WAIT_SECONDS, **more)  # type: ignore[arg-type]


async def test_a_ledger_is_made_and_joined_with_the_number_of_partitions_it_has(own_redis: RealServer) -> None:
    first = await RedisLog.open(settings(own_redis))
    second = await RedisLog.open(StorageSettings(redis_url=own_redis.url, partitions=16))

    assert (first.partitions, second.partitions) == (4, 4)
    await first.check()

    await first.close()
    await second.close()


async def test_of_many_that_make_a_ledger_at_once_one_does(own_redis: RealServer) -> None:
    logs = await asyncio.gather(
        *(RedisLog.open(StorageSettings(redis_url=own_redis.url, partitions=number)) for number in range(1, 9))
    )

    assert len({log.partitions for log in logs}) == 1

    await asyncio.gather(*(log.close() for log in logs))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"appendonly": "no"}, "`CONFIG SET appendonly yes`"),
        ({"appendfsync": "everysec"}, "`CONFIG SET appendfsync always`"),
        ({"no-appendfsync-on-rewrite": "yes"}, "`CONFIG SET no-appendfsync-on-rewrite no`"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "`CONFIG SET maxmemory-policy noeviction`"),
    ],
)
async def test_an_unsafe_setting_is_refused_and_the_advice_mends_it(
    own_redis: RealServer, client: redis.asyncio.Redis, options: dict[str, str], advice: str
) -> None:
    for name, value in options.items():
        await client.config_set(name, value)

    with pytest.raises(StorageUnsafeError) as caught:
        await RedisLog.open(settings(own_redis))

    assert advice in str(caught.value)
    assert await client.dbsize() == 0  # nothing was written to it
    await command(client, *advice.strip("`").split())
    await (await RedisLog.open(settings(own_redis))).close()


async def test_an_unsafe_server_can_be_used_to_try_things_out(
    own_redis: RealServer, client: redis.asyncio.Redis
) -> None:
    await client.config_set("appendonly", "no")

    log = await RedisLog.open(settings(own_redis, allow_unsafe=True))

    await log.check()
    assert await log.append(Batch((Change("o:1", 0, (b"record",)),))) is None
    await log.close()


async def test_a_server_that_becomes_unsafe_later_fails_the_check(
    own_redis: RealServer, client: redis.asyncio.Redis
) -> None:
    log = await RedisLog.open(settings(own_redis))
    await client.config_set("appendfsync", "everysec")

    with pytest.raises(StorageUnsafeError, match="appendfsync is everysec"):
        await log.check()

    await log.close()


async def test_a_replica_is_refused_with_the_name_of_its_primary(
    own_redis: RealServer, redis_server: RealServer, client: redis.asyncio.Redis
) -> None:
    await command(client, "REPLICAOF", "127.0.0.1", redis_server.port)

    with pytest.raises(StorageUnsafeError, match=f"replica of 127.0.0.1:{redis_server.port}"):
        await RedisLog.open(settings(own_redis))


async def test_a_cluster_is_refused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RealServer(
        binary_of("redis"),
        tmp_path_factory.mktemp("cluster"),
        ("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
    )
    request.addfinalizer(server.kill)
    server.start()

    with pytest.raises(StorageUnsafeError, match="Redis Cluster, which is not supported"):
        await RedisLog.open(settings(server))


async def test_replicas_that_are_not_there_are_refused(own_redis: RealServer) -> None:
    with pytest.raises(StorageUnsafeError, match="0 replicas are connected and 1 have to confirm"):
        await RedisLog.open(settings(own_redis, replicas=1))


async def test_settings_that_a_user_may_not_see_are_refused_with_the_command_that_allows_it(
    own_redis: RealServer, client: redis.asyncio.Redis
) -> None:
    await command(client, "ACL", "SETUSER", "ledger", "on", ">secret", "~*", "&*", "+@all", "-config")
    url = own_redis.url.replace("redis://", "redis://ledger:secret@")

    with pytest.raises(StorageUnsafeError, match="ACL SETUSER user"):
        await RedisLog.open(StorageSettings(redis_url=url))

    await command(client, "ACL", "SETUSER", "ledger", "+config|get")
    await (await RedisLog.open(StorageSettings(redis_url=url))).close()


@pytest.mark.parametrize(
    "right", ["expire", "set", "del", "rpush", "zrem", "unlink", "incrby", "hdel", "evalsha", "script"]
)
async def test_a_user_who_may_not_do_all_that_an_append_does_is_refused_before_one_stops_half_way(
    own_redis: RealServer, client: redis.asyncio.Redis, right: str
) -> None:
    await command(client, "ACL", "SETUSER", "ledger", "on", ">secret", "~*", "&*", "+@all", f"-{right}")
    url = own_redis.url.replace("redis://", "redis://ledger:secret@")

    with pytest.raises(StorageUnsafeError, match="stop half-way"):
        await RedisLog.open(StorageSettings(redis_url=url))

    assert await client.dbsize() == 0
    await command(client, "ACL", "SETUSER", "ledger", "reset", "on", ">secret", "~*", "+@all", "-@admin", "+config|get")
    log = await RedisLog.open(StorageSettings(redis_url=url))
    await log.check()
    await log.close()
    assert await client.keys() == ["gl:meta"]


async def test_a_full_server_is_refused_as_what_it_is(own_redis: RealServer, client: redis.asyncio.Redis) -> None:
    await client.config_set("maxmemory", "1mb")

    with pytest.raises(StorageRefusedError, match="maxmemory"):
        await RedisLog.open(settings(own_redis))


async def test_a_wrong_password_is_told_in_the_servers_words(
    own_redis: RealServer, client: redis.asyncio.Redis
) -> None:
    await command(client, "ACL", "SETUSER", "ledger", "on", ">secret", "~*", "&*", "+@all")
    url = own_redis.url.replace("redis://", "redis://ledger:wrong@")

    with pytest.raises(StorageRefusedError, match="invalid username-password"):
        await RedisLog.open(StorageSettings(redis_url=url))


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError):
        await RedisLog.open(StorageSettings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(StorageUnavailableError):
        await RedisLog.open(StorageSettings(redis_url=f"unix://{tmp_path}/none.sock"))


async def test_a_ledger_of_another_schema_is_refused(own_redis: RealServer, client: redis.asyncio.Redis) -> None:
    await (await RedisLog.open(settings(own_redis))).close()
    await command(client, "HSET", "gl:meta", "schema", 7)

    with pytest.raises(StorageUnsafeError, match="schema 7, and this version knows 1"):
        await RedisLog.open(settings(own_redis))

    await (await RedisLog.open(settings(own_redis, prefix="other"))).close()


async def test_a_ledger_is_tied_to_its_first_pepper(own_redis: RealServer) -> None:
    log = await RedisLog.open(settings(own_redis))

    await log.bind_vault("one")
    await log.bind_vault("one")

    with pytest.raises(StorageUnsafeError, match="pepper one, and the secrets file has two"):
        await log.bind_vault("two")
    await log.close()


async def test_two_ledgers_on_one_server_do_not_see_each_other(own_redis: RealServer) -> None:
    one, two = (
        await RedisLog.open(settings(own_redis, prefix="a")),
        await RedisLog.open(settings(own_redis, prefix="a*")),
    )

    await one.append(Batch((Change("o:1", 0, (b"record",)),)))

    assert [entity async for entity in one.stored()] == ["o:1"]
    assert [entity async for entity in two.stored()] == []
    assert (await two.load(["o:1"]))[0].version == 0
    await one.close()
    await two.close()


async def test_a_ledger_is_reached_over_a_unix_socket(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    directory = tmp_path_factory.mktemp("s")
    server = RealServer(binary_of("redis"), directory, ("--unixsocket", f"{directory}/r.sock"))
    request.addfinalizer(server.kill)
    server.start()

    log = await RedisLog.open(StorageSettings(redis_url=f"unix://{directory}/r.sock"))

    assert await log.append(Batch((Change("o:1", 0, (b"record",)),))) is None
    await log.close()


# --- replicas ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def replica(
    request: pytest.FixtureRequest, own_redis: RealServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RealServer]:
    """A replica of `own_redis`, in step with it."""
    kind: ServerKind = "valkey" if "valkey" in request.node.callspec.id else "redis"
    server = RealServer(binary_of(kind), tmp_path_factory.mktemp("replica"))
    try:
        server.start()
        async with redis.asyncio.Redis.from_url(own_redis.url) as primary:
            await primary.config_set("repl-diskless-sync-delay", 0)  # or it waits 5 s for more replicas to come
        async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as connected:
            await command(connected, "REPLICAOF", "127.0.0.1", own_redis.port)
            await until(lambda: in_step(connected))
            yield server
    finally:
        server.kill()


async def in_step(replica: redis.asyncio.Redis) -> bool:
    info = await replica.info("replication")
    return bool(info["role"] == "slave" and info["master_link_status"] == "up")


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """A server tells nobody when it has caught up: it has to be asked."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await happened():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


async def can_wait(client: redis.asyncio.Redis) -> None:
    if (await client.info("server"))["redis_version"].startswith("7.0"):
        pytest.skip("Redis 7.0 cannot wait for the disks of replicas; what the check says of it is tested elsewhere")


async def test_a_write_counts_when_the_replica_has_it_on_disk(
    own_redis: RealServer, client: redis.asyncio.Redis, replica: RealServer
) -> None:
    await can_wait(client)
    log = await RedisLog.open(settings(own_redis, replicas=1))

    assert await log.append(Batch((Change("o:1", 0, (b"record",)),))) is None
    await asyncio.to_thread(replica.kill)

    async with redis.asyncio.Redis.from_url(own_redis.url) as primary:
        assert await primary.llen(log._keys.logs[partition_of("o:1", log.partitions)] + "o:1") == 1
    await log.close()


async def test_a_write_that_the_replica_does_not_confirm_has_no_known_outcome(
    own_redis: RealServer, client: redis.asyncio.Redis, replica: RealServer
) -> None:
    await can_wait(client)
    log = await RedisLog.open(settings(own_redis, replicas=1))
    log._scripts._wait_ms = 400
    await asyncio.to_thread(replica.kill)

    with pytest.raises(StorageUnavailableError, match="0 of 1 replicas"):
        await log.append(Batch((Change("o:1", 0, (b"record",)),)))

    assert (await log.load(["o:1"]))[0].version == 1
    await log.close()


async def test_a_primary_that_became_a_replica_writes_nothing(
    own_redis: RealServer, client: redis.asyncio.Redis, redis_server: RealServer
) -> None:
    log = await RedisLog.open(settings(own_redis))
    await log.append(Batch((Change("o:1", 0, (b"record",)),)))
    await command(client, "REPLICAOF", "127.0.0.1", redis_server.port)

    with pytest.raises(StorageRefusedError, match="read only"):
        await log.append(Batch((Change("o:1", 1, (b"record",)),)))
    with pytest.raises(StorageRefusedError, match="read only"):
        await log.acknowledge(0, 0, 0)
    with pytest.raises(StorageUnsafeError, match="replica"):
        await log.check()

    await log.close()
