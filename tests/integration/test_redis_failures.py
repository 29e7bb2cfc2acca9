"""Servers that are full, killed, or cut off after they have answered: nothing is lost, nothing is written twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis.asyncio

from persistence.errors import DamagedLogError, StorageError, StorageRefusedError, StorageUnavailableError
from persistence.log import AttemptsChange, Batch, Change, Conflict, Outcome, QueuedMessage, partition_of
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import verify
from tests.contract.histories import NOON, Writer
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

ENTITY = "c:GC-00000001"


def change(expected: int = 0, entity: str = ENTITY, size: int = 10) -> Change:
    return Change(entity, expected, (b"r" * size,))


class Opener:
    """Opens logs that are closed whatever becomes of the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, url: str, timeout_seconds: float = 5.0) -> RedisLog:
        log = await RedisLog.open(StorageSettings(redis_url=url, partitions=4, timeout_seconds=timeout_seconds))
        self._stack.push_async_callback(log.close)
        return log


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


# --- an answer that is lost -------------------------------------------------------------------------------------------


class Cable:
    """A TCP line to a server that can be cut after the server has answered, or carry nothing any more."""

    def __init__(self, server: RealServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self.lose_answers = False
        self.silent = False
        self.blocked = asyncio.Event()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """Its address."""
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections at once, with what is under way."""
        for writer in self._near:
            writer.transport.abort()

    async def _connect(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._near.add(to_near)
        far, to_far = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(near, to_far, answers=False))
                both.create_task(self._carry(far, to_near, answers=True))
        except* (ConnectionError, _CutError):
            pass  # the end of a line, which is what this is for
        finally:
            to_near.close()
            to_far.close()
            self._tasks.discard(task)
            self._near.discard(to_near)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(65_536):
            if answers and self.lose_answers:
                raise _CutError
            if not answers and self.blocked.is_set():
                await asyncio.Event().wait()  # reads no more, until it is torn down
            if not (answers and self.silent):
                target.write(data)
                await target.drain()
        raise _CutError


class _CutError(Exception):
    pass


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_a_write_whose_answer_is_lost_is_unknown_and_is_never_written_twice(
    opened: Opener, redis_server: RealServer, how: str
) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url, timeout_seconds=5.0 if how == "cut" else 0.3)
        batch = Batch((change(),), ((ENTITY, b"event"),), (Outcome(b"key", b"value"),))
        await log.append(Batch())  # the script is known from here on, and the connection open
        cable.lose_answers, cable.silent = how == "cut", how == "silent"

        with pytest.raises(StorageUnavailableError):
            await log.append(batch)

        cable.lose_answers = cable.silent = False
        assert await log.append(batch) == Conflict(stale=(ENTITY,), seen={b"key": b"value"})
        (loaded,) = await log.load([ENTITY])
        assert loaded.version == 1
        assert sum(await log.outbox_sizes()) == 1


async def test_an_acknowledgement_whose_answer_is_lost_acknowledges_once(
    opened: Opener, redis_server: RealServer
) -> None:
    cable = Cable(redis_server)
    partition = partition_of(ENTITY, 4)
    async with cable.laid() as url:
        log = await opened(url)
        await log.append(Batch(outbox=tuple((ENTITY, b"%d" % number) for number in range(4))))
        assert await log.acknowledge(partition, 0, 1)
        cable.lose_answers = True

        with pytest.raises(StorageUnavailableError):
            await log.acknowledge(partition, 1, 2)

        cable.lose_answers = False
        assert not await log.acknowledge(partition, 1, 2)
        page = await log.outbox(partition)
        assert (page.head, page.entries) == (3, (b"3",))


async def test_a_read_that_gets_no_answer_is_unavailable_and_the_next_one_is_not_mixed_up(
    opened: Opener,
    redis_server: RealServer,
) -> None:
    """An answer that comes after its time-out must not be taken for that of the next call."""
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url, timeout_seconds=0.3)
        await log.append(Batch((change(), change(entity="o:1", size=3))))
        cable.silent = True
        with pytest.raises(StorageUnavailableError):
            await log.load([ENTITY])
        cable.silent = False

        assert [one.tail for one in await log.load(["o:1", ENTITY])] == [(b"rrr",), (b"r" * 10,)]
        assert await log.history("o:1") == [b"rrr"]


async def test_an_append_that_was_cancelled_leaves_the_connection_clean(
    opened: Opener, redis_server: RealServer
) -> None:
    log = await opened(redis_server.url)
    for number in range(50):
        append = asyncio.create_task(log.append(Batch((change(entity=f"o:{number}"),))))
        await asyncio.sleep(0)
        append.cancel()
        await asyncio.gather(append, return_exceptions=True)

        (loaded,) = await log.load([f"o:{number}"])

        assert loaded.version in {0, 1}


async def test_more_calls_than_connections_wait_for_each_other(redis_server: RealServer) -> None:
    log = RedisLog(connect(redis_server.url, connections_max=2, timeout_seconds=10.0), partitions=4)

    conflicts = await asyncio.gather(*(log.append(Batch((change(entity=f"o:{number}"),))) for number in range(500)))

    assert conflicts == [None] * 500
    await log.close()


async def test_whoever_is_cancelled_stops(opened: Opener, redis_server: RealServer) -> None:
    """Python 3.11's `asyncio.wait_for` loses a cancellation now and then, so nothing on the way may use it."""
    log = await opened(redis_server.url)
    heard = asyncio.Event()

    async def read_for_ever() -> None:
        while True:
            await log.load([ENTITY])
            await log.outbox(0)
            heard.set()

    for _ in range(40):
        readers = [asyncio.create_task(read_for_ever()) for _ in range(4)]
        heard.clear()
        await heard.wait()
        for reader in readers:
            reader.cancel()

        _, running = await asyncio.wait(readers, timeout=5)

        assert not running
    assert (await log.load([ENTITY]))[0].version == 0


async def test_a_server_that_takes_nothing_any_more_is_unavailable(opened: Opener, redis_server: RealServer) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url, timeout_seconds=0.3)
        await log.append(Batch())
        cable.blocked.set()

        with pytest.raises(StorageUnavailableError, match="writing to socket"):
            await log.append(Batch((change(size=64_000_000),)))

        cable.blocked.clear()
        assert await log.append(Batch((change(),))) is None


async def test_a_write_that_is_cancelled_half_way_is_not_finished_by_the_next(
    opened: Opener, redis_server: RealServer
) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url)
        await log.append(Batch())
        cable.blocked.set()
        append = asyncio.create_task(log.append(Batch((change(size=64_000_000),))))
        await asyncio.sleep(0.2)  # the line is full by then; nothing tells when

        append.cancel()

        await asyncio.wait([append], timeout=5)
        assert append.cancelled()
        cable.blocked.clear()
        assert (await log.load([ENTITY]))[0].version == 0


async def test_a_line_that_breaks_during_a_write_leaves_the_outcome_open(
    opened: Opener, redis_server: RealServer
) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url)
        await log.append(Batch())
        cable.blocked.set()
        append = asyncio.create_task(log.append(Batch((change(size=64_000_000),))))
        await asyncio.sleep(0.2)  # the line is full by then; nothing tells when

        cable.cut()

        with pytest.raises(StorageUnavailableError):
            await append
        cable.blocked.clear()
        assert (await log.load([ENTITY]))[0].version == 0


async def test_an_append_of_a_user_without_the_rights_is_not_called_refused(
    opened: Opener, own_redis: RealServer
) -> None:
    """Rights can be taken away while the ledger runs: then nobody knows how far the script came."""
    async with raw(own_redis) as client:
        await client.acl_setuser("ledger", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
        log = await opened(own_redis.url.replace("redis://", "redis://ledger:secret@"))
        await client.acl_setuser("ledger", commands=["-hset"])

        with pytest.raises(StorageUnavailableError):
            await log.append(Batch((change(),)))

        await client.acl_setuser("ledger", commands=["+hset"])
    (loaded,) = await log.load([ENTITY])
    assert loaded.damage is not None  # and it is not served, but told
