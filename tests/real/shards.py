"""Shards behind real channels on a real Redis, and gateways behind real ports, all in one process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from actors.host import HostSettings, ShardHost
from actors.placement import shard_of
from actors.settings import ActorSettings
from gateway.app import create_app
from gateway.server import serve
from gateway.services import Component, Condition, Health
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.services import Services
    from gateway.settings import GatewaySettings
    from ledger.policy import Policy
    from persistence.log import Log
    from persistence.vault import Vault

SHARDS = 2
PARTITIONS = 4
PATIENCE_SECONDS = 60.0


class Directory:
    """Knows where the shards of this process listen."""

    def __init__(self, folder: Path) -> None:
        self.settings = ActorSettings(shards=SHARDS, run_dir=str(folder))
        self.hosts: dict[str, ShardHost] = {}

    def holder_now(self, entity: str) -> str:
        return shard_of(entity, self.settings.placement, self.settings.shards, PARTITIONS)

    async def holder(self, entity: str, *, wake: bool) -> str:  # noqa: ARG002 - the protocol's
        return self.holder_now(entity)

    async def address(self, name: str) -> str:
        await self.hosts[name].started.wait()
        return self.hosts[name].address


class Well:
    """Everything is well here."""

    async def health(self) -> Health:
        well = Component(status=Condition.OK)
        return Health(storage=well, shards=well, kafka=well, sms=well)


@asynccontextmanager
async def sharded(redis_url: str, folder: Path, vault: Vault, policy: Policy) -> AsyncIterator[tuple[Directory, Log]]:
    """Run the shards of a ledger on a Redis; gives where they are, and the log for others."""
    directory = Directory(folder)

    async def open_log() -> Log:
        return await RedisLog.open(StorageSettings(redis_url=redis_url, partitions=PARTITIONS))

    async with AsyncExitStack() as stack:
        log = await open_log()
        stack.push_async_callback(log.close)
        for name in sorted({directory.holder_now(f"c:{number}") for number in range(99)}):
            partitions = tuple(one for one in range(PARTITIONS) if one % SHARDS == len(directory.hosts))
            boot = HostSettings(name=name, partitions=partitions, actors=directory.settings, policy=policy)
            host = directory.hosts[name] = ShardHost(boot, open_log, vault, directory)
            running = asyncio.create_task(host.run(), name=name)
            stack.push_async_callback(_stopped, host, running)
        yield directory, log


@asynccontextmanager
async def listening(services: Services, settings: GatewaySettings) -> AsyncIterator[str]:
    """Serve a gateway; gives its address."""
    stop = asyncio.Event()
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ready(url: str) -> None:
        found.set_result(url)

    serving = asyncio.create_task(serve(create_app(services, settings), settings, stop, ready), name="serve")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = await found
        yield url
    finally:
        stop.set()
        await serving


async def _stopped(host: ShardHost, running: asyncio.Task[None]) -> None:
    host.stop()
    await running
