"""Answers that are lost, lines that are cut and callers that go away: nothing is written twice or mixed up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext

import pytest
import redis.asyncio

from persistence.errors import StorageUnavailableError
from persistence.log import Batch, Change, Conflict, Outcome, partition_of
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from tests.contract.lines import Cable, Opener, in_haste
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

ENTITY = "c:GC-00000001"
WAIT_SECONDS = 60.0


def change(expected: int = 0, entity: str = ENTITY, size: int = 10) -> Change:
    return Change(entity, expected, (b"r" * size,))


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(stack)


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_a_write_whose_answer_is_lost_is_unknown_and_is_never_written_twice(
    opened: Opener, redis_server: RealServer, how: str
) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url)
        batch = Batch((change(),), ((ENTITY, b"event"),), (Outcome(b"key", b"value"),))
        await log.append(Batch())  # the script is known from here on, and the connection open
        cable.lose_answers, cable.silent = how == "cut", how == "silent"

        with pytest.raises(StorageUnavailableError), in_haste(log) if how == "silent" else nullcontext():
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
        log = await opened(url)
        await log.append(Batch((change(), change(entity="o:1", size=3))))
        cable.silent = True
        with pytest.raises(StorageUnavailableError), in_haste(log):
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
    log = RedisLog(connect(redis_server.url, connections_max=2, timeout_seconds=WAIT_SECONDS), partitions=4)

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

        _, running = await asyncio.wait(readers, timeout=WAIT_SECONDS)

        assert not running
    assert (await log.load([ENTITY]))[0].version == 0


async def test_a_server_that_takes_nothing_any_more_is_unavailable(opened: Opener, redis_server: RealServer) -> None:
    cable = Cable(redis_server)
    async with cable.laid() as url:
        log = await opened(url)
        await log.append(Batch())
        cable.blocked.set()

        with pytest.raises(StorageUnavailableError, match="writing to socket"), in_haste(log):
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

        await asyncio.wait([append], timeout=WAIT_SECONDS)
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


async def test_a_line_that_was_hung_up_between_two_writes_is_laid_anew(
    opened: Opener, redis_server: RealServer
) -> None:
    log = await opened(redis_server.url)
    await log.append(Batch((change(),)))
    operator = redis.asyncio.Redis.from_url(redis_server.url)
    await operator.client_kill_filter(_type="normal", skipme=True)
    await operator.aclose()

    # nobody has to ask whether it was written: it was not sent yet when the end of the line was seen
    assert await log.append(Batch((change(1),))) is None


async def test_more_writes_at_once_than_lines_wait_for_one_and_leave_them_all(
    opened: Opener, redis_server: RealServer
) -> None:
    log = await opened(redis_server.url, connections_max=2)
    batches = [Batch((change(entity=f"c:GC-{number:08}"),)) for number in range(20)]

    assert await asyncio.gather(*map(log.append, batches)) == [None] * 20

    # a transaction takes a line of its own beside the one that is kept for scripts
    assert await asyncio.gather(*(log.outbox_sizes() for _ in range(5)))


async def test_one_line_is_enough_for_scripts_and_all_else(opened: Opener, redis_server: RealServer) -> None:
    log = await opened(redis_server.url, connections_max=1)

    for expected in range(2):
        assert await log.append(Batch((change(expected),))) is None
        assert await log.outbox_sizes() == [0, 0, 0, 0]
