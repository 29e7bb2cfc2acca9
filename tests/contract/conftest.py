import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest
from fakeredis import FakeServer

from persistence.log import Log
from persistence.memory import MemoryLog
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from tests.contract.fake_redis import fake_redis
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer

NOON: Final = 1_795_521_600_000
"""Milliseconds; 2026-11-24T12:00:00Z."""
PARTITIONS: Final = 8
STEP_SECONDS: Final = 0.005
WAIT_SECONDS: Final = 60.0
SERVERS: Final = (
    "fakeredis",
    pytest.param("redis", marks=pytest.mark.real),
    pytest.param("valkey", marks=pytest.mark.real),
)


class Clock:
    """Milliseconds that a test decides about."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


class Storage:
    """One place to store things, and as many logs on it as a test wants."""

    def __init__(self, kind: str, connect_client: Callable[[], Client] | None, stack: AsyncExitStack) -> None:
        self.kind = kind
        self.clock = Clock()
        self.on_server = connect_client is not None
        self._connect_client = connect_client
        self._stack = stack
        self._memory = MemoryLog(PARTITIONS, self.clock)

    def log(self) -> Log:
        """Another log on the same place, with connections of its own."""
        if self._connect_client is None:
            return self._memory
        # fakeredis has no settings that could be looked at
        unsafe = self.kind == "fakeredis"
        return RedisLog(self.client(), partitions=PARTITIONS, clock=self.clock, allow_unsafe=unsafe)

    def client(self) -> Client:
        """A client of the server, for what only a test does."""
        assert self._connect_client is not None
        client = self._connect_client()
        self._stack.push_async_callback(client.aclose)
        return client

    async def pass_time_until(self, happened: Callable[[], Awaitable[bool]]) -> None:
        """Let time go on: a server has a clock of its own, and nothing tells when it has let a key expire."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not await happened():
                self.clock.now += 1
                await asyncio.sleep(STEP_SECONDS if self.on_server else 0)


def client_of(kind: str, start_shared: Callable[[ServerKind], RealServer]) -> Callable[[], Client]:
    """What makes clients of an empty server of a kind."""
    if kind == "fakeredis":
        fake = FakeServer(version=(7, 4), server_type="redis")
        return lambda: fake_redis(fake)
    server = start_shared("redis" if kind == "redis" else "valkey")
    server.empty()
    return lambda: connect(server.url, connections_max=8, timeout_seconds=WAIT_SECONDS)


@pytest.fixture(params=SERVERS)
async def connect_client(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> Callable[[], Client]:
    return client_of(request.param, start_shared)


@pytest.fixture(params=("memory", *SERVERS))
async def storage(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        kind = request.param
        yield Storage(kind, None if kind == "memory" else client_of(kind, start_shared), stack)


@pytest.fixture
def log(storage: Storage) -> Log:
    return storage.log()
