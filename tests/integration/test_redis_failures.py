"""Servers that are full, damaged or killed: nothing that was answered is lost, nothing is written by half."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis.asyncio

from persistence.errors import DamagedLogError, StorageError, StorageRefusedError, StorageUnavailableError
from persistence.log import AttemptsChange, Batch, Change, Outcome, QueuedMessage, partition_of
from persistence.verification import verify
from tests.contract.histories import NOON, Writer
from tests.contract.lines import Opener
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

ENTITY = "c:GC-00000001"


def change(expected: int = 0, entity: str = ENTITY, size: int = 10) -> Change:
    return Change(entity, expected, (b"r" * size,))


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(stack)


@asynccontextmanager
async def raw(server: RealServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        yield client


# --- a server that cannot take it -------------------------------------------------------------------------------------


async def test_a_full_server_writes_nothing_and_still_lets_go(opened: Opener, own_redis: RealServer) -> None:
    log = await opened(own_redis.url)
    message = QueuedMessage("sms_1", ENTITY, b"sealed", NOON, NOON)
    await log.append(Batch((change(),), ((ENTITY, b"event"),), messages=(message,)))
    async with raw(own_redis) as client:
        await client.config_set("maxmemory", "1mb")
        before = await client.dbsize()

        with pytest.raises(StorageRefusedError, match="maxmemory"):
            await log.append(Batch((change(1),), outcomes=(Outcome(b"key", b"value"),)))
        with pytest.raises(StorageRefusedError, match="maxmemory"):
            await log.check()

        assert await client.dbsize() == before
    assert (await log.load([ENTITY]))[0].version == 1
    assert await log.outcomes([b"key"]) == {}
    # what frees memory goes on
    assert await log.acknowledge(partition_of(ENTITY, 4), 0, 1)
    await log.message_settle(message, "given up")
    assert await log.message_failures() == {"sms_1": "given up"}


async def test_memory_that_runs_out_in_the_middle_of_traffic_leaves_whole_batches(
    opened: Opener, own_redis: RealServer
) -> None:
    log = await opened(own_redis.url)
    async with raw(own_redis) as client:
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", used + 3_000_000)
    version = 0

    async def fill_up() -> None:
        nonlocal version
        while True:
            records = tuple(b"r" * 1_000 for _ in range(100))
            changes = tuple(Change(f"c:GC-{number:08d}", version, records) for number in range(4))
            await log.append(Batch(changes, tuple((one.entity, b"e" * 1_000) for one in changes)))
            version += 100

    with pytest.raises(StorageRefusedError, match="maxmemory"):
        await fill_up()

    loaded = await log.load([f"c:GC-{number:08d}" for number in range(4)])
    assert [one.version for one in loaded] == [version] * 4
    assert [one.damage for one in loaded] == [None] * 4
    assert sum(await log.outbox_sizes()) == version // 100 * 4


@pytest.mark.parametrize("key", ["log", "register", "timers", "outbox", "messages", "due", "outcomes", "attempts"])
async def test_a_key_of_another_type_is_found_before_anything_is_written(
    opened: Opener, own_redis: RealServer, key: str
) -> None:
    log = await opened(own_redis.url)
    keys, partition = log._keys, partition_of(ENTITY, 4)
    day = int(NOON // 86_400_000)
    log._clock = lambda: NOON
    name = {
        "log": keys.logs[partition] + ENTITY,
        "register": keys.entities[partition],
        "timers": keys.timers[partition],
        "outbox": keys.outboxes[partition],
        "messages": keys.messages[partition],
        "due": keys.messages_due[partition],
        "outcomes": keys.outcomes(day),
        "attempts": keys.attempts(ENTITY[2:]),
    }[key]
    batch = Batch(
        (Change(ENTITY, 0, (b"record",), due=NOON, snapshot=b"1|state"),),
        ((ENTITY, b"event"),),
        (Outcome(b"key", b"value"),),
        (AttemptsChange(ENTITY[2:], None, b"one", 60_000),),
        (QueuedMessage("sms_1", ENTITY, b"sealed", NOON, NOON),),
    )
    async with raw(own_redis) as client:
        await (client.sadd(name, "x") if key == "attempts" else client.set(name, "x"))
        before = sorted(await client.keys())

        with pytest.raises(DamagedLogError, match="WRONGTYPE"):
            await log.append(batch)

        assert sorted(await client.keys()) == before
        await client.delete(name)
    assert await log.append(batch) is None


async def test_scripts_that_were_flushed_are_loaded_again(opened: Opener, own_redis: RealServer) -> None:
    log = await opened(own_redis.url)
    await log.append(Batch((change(),)))
    async with raw(own_redis) as client:
        await client.script_flush()

        assert await log.append(Batch((change(1),))) is None

        await client.script_flush()
    assert (await log.load([ENTITY]))[0].version == 2


async def test_a_server_that_is_still_loading_or_gone_says_so(opened: Opener, own_redis: RealServer) -> None:
    log = await opened(own_redis.url)
    await asyncio.to_thread(own_redis.kill)

    with pytest.raises(StorageUnavailableError):
        await log.append(Batch((change(),)))

    await asyncio.to_thread(own_redis.start)
    assert await log.append(Batch((change(),))) is None  # the log finds its way back by itself


# --- a server that dies -----------------------------------------------------------------------------------------------


async def test_what_was_acknowledged_survives_a_server_killed_in_the_middle_of_appends(
    opened: Opener, own_redis: RealServer
) -> None:
    log = await opened(own_redis.url)
    acknowledged = [0] * 8
    unknown = [False] * 8
    enough = asyncio.Event()

    async def write(number: int) -> None:
        entity = f"c:GC-{number:08d}"
        while True:
            version = acknowledged[number]
            records = tuple(b"%d" % (version + one) for one in range(1, 4))
            batch = Batch((Change(entity, version, records, due=NOON),), ((entity, b"%d" % version),))
            try:
                assert await log.append(batch) is None
            except StorageError:
                unknown[number] = True
                return
            acknowledged[number] += 3
            if sum(acknowledged) > 600:
                enough.set()

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    await enough.wait()
    await asyncio.to_thread(own_redis.kill)
    await asyncio.gather(*writers)
    await asyncio.to_thread(own_redis.start)

    assert all(unknown)
    loaded = await log.load([f"c:GC-{number:08d}" for number in range(8)])
    for one, known in zip(loaded, acknowledged, strict=True):
        assert one.version in {known, known + 3}  # the last one, whose answer was lost, is there whole or not at all
        assert one.tail == tuple(b"%d" % version for version in range(1, one.version + 1))
        assert one.damage is None
    assert sum(await log.outbox_sizes()) == sum(one.version for one in loaded) // 3


async def test_a_ledger_is_sound_after_a_kill(opened: Opener, own_redis: RealServer) -> None:
    log = await opened(own_redis.url)
    writer = Writer(log)
    await writer.sell("SO-1", "GC-00000001", "GC-00000002", snapshot=True)
    await writer.spend("GC-00000001", 10, 20)
    before = await verify(log, None, lambda _: None, clock=lambda: NOON)

    await asyncio.to_thread(own_redis.restart)

    after = await verify(log, None, lambda _: None, clock=lambda: NOON)
    assert after == before
    assert after.findings == ()


async def test_an_append_of_a_user_without_the_rights_is_not_called_refused(
    opened: Opener, own_redis: RealServer
) -> None:
    """Rights can be taken away while the ledger runs: then nobody knows how far the script came."""
    async with raw(own_redis) as client:
        await client.acl_setuser("ledger", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
        log = await opened(own_redis.url.replace("redis://", "redis://ledger:secret@"))
        await client.acl_setuser("ledger", enabled=True, commands=["-hset"])

        with pytest.raises(StorageUnavailableError):
            await log.append(Batch((change(),)))

        await client.acl_setuser("ledger", enabled=True, commands=["+hset"])
    (loaded,) = await log.load([ENTITY])
    assert loaded.damage is not None  # and it is not served, but told
