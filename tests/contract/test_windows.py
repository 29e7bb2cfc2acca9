"""How often something has happened lately, in memory and on servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

import pytest
from fakeredis import FakeServer

from persistence.errors import StorageError
from persistence.memory_windows import MemoryWindows
from persistence.redis_client import Client
from persistence.windows import Count, RedisWindows, Windows
from tests.contract.conftest import SERVERS, WAIT_SECONDS, connects_to
from tests.contract.fake_redis import fake_pool, fake_redis
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer
from tests.real.secured_redis import PASSWORD, SecuredServer

SECONDS: Final = 3_600
KEPT_MAX: Final = 5
NONE: Final = Count(0, 0.0)


class Stage(NamedTuple):
    """Makes windows of one place, each as a gateway of its own has them."""

    windows: Callable[[int], Windows]
    client: Client | None


@pytest.fixture(params=("memory", *SERVERS))
async def stage(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[Stage]:
    if request.param == "memory":
        made = {seconds: MemoryWindows(seconds, KEPT_MAX) for seconds in (1, SECONDS)}
        yield Stage(made.__getitem__, None)
        return
    opened: list[RedisWindows] = []
    pool: Callable[[], object]
    if request.param == "fakeredis":
        fake = FakeServer(version=(7, 4), server_type="redis")
        url, client, pool = "redis://fake", fake_redis(fake), lambda: fake_pool(fake)
    else:
        client = connects_to(request.param, start_shared).hand()
        server = start_shared(request.param)
        url, pool = server.url, lambda: None
        if isinstance(server, SecuredServer):
            url = server.address(password=PASSWORD)

    def windows(seconds: int) -> Windows:
        opened.append(RedisWindows(url, "gl", seconds, KEPT_MAX, timeout_seconds=WAIT_SECONDS, pool=pool()))
        return opened[-1]

    yield Stage(windows, client)
    for one in opened:
        await one.close()
    await client.aclose()


async def test_a_window_that_nothing_happened_in_is_empty(stage: Stage) -> None:
    assert await stage.windows(SECONDS).count("a") == NONE


async def test_what_happened_is_counted_by_name(stage: Stage) -> None:
    windows = stage.windows(SECONDS)

    await windows.add("a")
    await windows.add("a", 2)
    await windows.add("b")

    assert [(await windows.count(name)).number for name in ("a", "b", "c")] == [3, 1, 0]


async def test_everybody_sees_what_one_has_added(stage: Stage) -> None:
    await stage.windows(SECONDS).add("a", 4)

    assert (await stage.windows(SECONDS).count("a")).number == 4


async def test_none_is_lost_of_many_at_once(stage: Stage) -> None:
    windows = [stage.windows(SECONDS) for _ in range(2)]

    await asyncio.gather(*(windows[number % 2].add("a") for number in range(KEPT_MAX)))

    assert (await windows[0].count("a")).number == KEPT_MAX


async def test_a_window_that_has_no_room_for_all_takes_none(stage: Stage) -> None:
    windows = stage.windows(SECONDS)

    await windows.add("a", KEPT_MAX - 1)
    await windows.add("a", 2)
    assert (await windows.count("a")).number == KEPT_MAX - 1
    await windows.add("a")
    await windows.add("a")

    assert (await windows.count("a")).number == KEPT_MAX


async def test_more_than_a_window_holds_fill_it(stage: Stage) -> None:
    windows = stage.windows(SECONDS)

    await windows.add("a", 10 * KEPT_MAX)

    assert (await windows.count("a")).number == KEPT_MAX


async def test_it_is_told_when_the_oldest_leaves(stage: Stage) -> None:
    windows = stage.windows(SECONDS)
    before = time.time()
    await windows.add("a")

    found = await windows.count("a")

    # a server's Lua writes down fourteen digits of a time
    assert SECONDS - (time.time() - before) - 0.001 <= found.oldest_seconds <= SECONDS + 0.001


async def test_what_is_older_than_the_window_does_not_count(stage: Stage) -> None:
    windows = stage.windows(1)
    await windows.add("a", KEPT_MAX)

    async def is_empty() -> bool:
        return await windows.count("a") == NONE

    await _until(is_empty)
    await windows.add("a")

    assert (await windows.count("a")).number == 1


@pytest.mark.parametrize("stage", SERVERS, indirect=True)
async def test_nothing_of_it_stays_on_a_server(stage: Stage) -> None:
    client = stage.client
    assert client is not None
    windows = stage.windows(1)
    await windows.add("a")
    (key,) = await client.execute_command("KEYS", "*")
    assert key.startswith(b"gl:guesses:")

    async def is_gone() -> bool:
        return not await client.execute_command("EXISTS", key)

    await _until(is_gone)


async def test_they_close_twice(stage: Stage) -> None:
    windows = stage.windows(SECONDS)
    await windows.count("a")

    await windows.close()
    await windows.close()


@pytest.mark.real
async def test_a_server_that_is_not_there_is_told_as_ours() -> None:
    windows = RedisWindows("redis://127.0.0.1:1", "gl", SECONDS, KEPT_MAX)

    with pytest.raises(StorageError):
        await windows.add("a")
    with pytest.raises(StorageError):
        await windows.count("a")

    await windows.close()


async def _until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await happened():  # noqa: ASYNC110 - no server tells when time has passed
            await asyncio.sleep(0.05)
