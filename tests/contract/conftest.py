import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple, cast

import pytest
from fakeredis import FakeServer

from persistence.log import Log
from persistence.memory import MemoryLog
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from tests.contract.fake_redis import fake_redis
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer
from tests.real.secured_redis import ADMIN, OPERATOR_USER, PASSWORD, SERVICE_USER, SecuredServer

NOON: Final = 1_795_521_600_000
"""Milliseconds; 2026-11-24T12:00:00Z."""
PARTITIONS: Final = 8
STEP_SECONDS: Final = 0.005
WAIT_SECONDS: Final = 60.0
SERVERS: Final = (
    "fakeredis",
    pytest.param("redis", marks=pytest.mark.real),
    pytest.param("valkey", marks=pytest.mark.real),
    # as a user who may no more than docs/security.md says; over TLS where the server has it
    pytest.param("redis-secured", marks=pytest.mark.real),
    pytest.param("valkey-secured", marks=pytest.mark.real),
)


class Clock:
    """Milliseconds that a test decides about."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


class Storage:
    """One place to store things, and as many logs on it as a test wants."""

    def __init__(
        self,
        kind: str,
        connect_client: Callable[[], Client] | None,
        stack: AsyncExitStack,
        connect_hand: Callable[[], Client] | None = None,
    ) -> None:
        self.kind = kind
        self.clock = Clock()
        self.on_server = connect_client is not None
        self._connect_client = connect_client
        self._connect_hand = connect_hand or connect_client
        self._stack = stack
        self._memory = MemoryLog(PARTITIONS, self.clock)

    def log(self) -> Log:
        """Another log on the same place, with connections of its own."""
        if self._connect_client is None:
            return self._memory
        # fakeredis has no settings that could be looked at
        unsafe = self.kind == "fakeredis"
        client = self._opened(self._connect_client)
        return RedisLog(client, partitions=PARTITIONS, clock=self.clock, allow_unsafe=unsafe)

    def client(self) -> Client:
        """A client of the server, for what only a test does."""
        assert self._connect_hand is not None
        return self._opened(self._connect_hand)

    def _opened(self, connect_client: Callable[[], Client]) -> Client:
        client = connect_client()
        self._stack.push_async_callback(client.aclose)
        return client

    async def pass_time_until(self, happened: Callable[[], Awaitable[bool]]) -> None:
        """Let time go on: a server has a clock of its own, and nothing tells when it has let a key expire."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not await happened():
                self.clock.now += 1
                await asyncio.sleep(STEP_SECONDS if self.on_server else 0)


class Connects(NamedTuple):
    """Makes clients of an empty server: as whoever the product is there, and as somebody who may do everything."""

    client: Callable[[], Client]
    hand: Callable[[], Client]


def connects_to(kind: str, start_shared: Callable[[ServerKind], RealServer], user: str = SERVICE_USER) -> Connects:
    """What makes clients of a server of a kind; where it knows users, with the rights of ``user``."""
    if kind == "fakeredis":
        fake = FakeServer(version=(7, 4), server_type="redis")
        return Connects(lambda: fake_redis(fake), lambda: fake_redis(fake))
    server = start_shared(cast("ServerKind", kind))
    server.empty()
    urls = (server.url, server.url)
    if isinstance(server, SecuredServer):
        urls = (server.address(user, PASSWORD), server.address(ADMIN, PASSWORD))
    ours, theirs = (partial(connect, url, connections_max=8, timeout_seconds=WAIT_SECONDS) for url in urls)
    return Connects(ours, theirs)


def user_of(request: pytest.FixtureRequest) -> str:
    """As whom a test runs the product, where a server knows users."""
    return SERVICE_USER if request.node.get_closest_marker("operator") is None else OPERATOR_USER


@pytest.fixture(params=SERVERS)
async def connect_client(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> Callable[[], Client]:
    return connects_to(request.param, start_shared).hand


@pytest.fixture(params=("memory", *SERVERS))
async def storage(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        kind = request.param
        if kind == "memory":
            yield Storage(kind, None, stack)
        else:
            made = connects_to(kind, start_shared, user_of(request))
            yield Storage(kind, made.client, stack, made.hand)


@pytest.fixture
def log(storage: Storage) -> Log:
    return storage.log()
