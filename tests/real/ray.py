"""A real Ray cluster of this machine, and ledgers on it: their shards are Ray actors over a real Valkey or Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import tempfile
import uuid
import warnings
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import ray
from msgspec.structs import replace

from actors import cluster
from actors.placement import shard_name
from actors.ray_directory import actor_names
from actors.settings import ActorSettings
from gift_ledger.ray_environment import ALWAYS, LOOPBACK
from ledger.policy import Policy
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import Vault
from tests.real.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from actors.reports import ActorReport
    from actors.router import Router
    from tests.real.fixtures import ServerKind
    from tests.real.redis import RealServer

OBJECT_STORE_BYTES: Final = 80_000_000
POLL_SECONDS: Final = 0.02
ANSWER_SECONDS_MAX: Final = 60.0


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The run's Ray, with its dashboard (the state API needs it), on loopback; its address."""
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        for name, value in (ALWAYS | LOOPBACK).items():
            environment.setenv(name, value)
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves the log files of its processes open
        context = ray.init(
            address="local",
            namespace="tests",
            num_cpus=2,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=free_port(),
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
        yield str(context.address_info["address"])  # type: ignore[attr-defined]  # of a class that Ray does not name
        ray.shutdown()


class RayLedger:
    """One ledger on the run's Ray, in a namespace and under a prefix of its own.

    Args:
        server: keeps its log.
        folder: of its secrets.
        settings: of its actors; namespace and sockets are its own.
        running: ends it.
    """

    def __init__(self, server: RealServer, folder: Path, settings: ActorSettings, running: AsyncExitStack) -> None:
        own = uuid.uuid4().hex[:8]
        run_dir = tempfile.mkdtemp(prefix="gl-")
        running.callback(shutil.rmtree, run_dir)
        self.settings = replace(settings, namespace=f"ledger-{own}", run_dir=run_dir)
        secrets = folder / f"secrets-{own}.json"
        self.vault = Vault.create(secrets)
        self.storage = StorageSettings(redis_url=server.url, prefix=own, secrets_path=str(secrets))
        self.policy = Policy()
        self._running = running

    async def start(self) -> None:
        """Start its shards, and open the log and the way to them."""
        self.log = await RedisLog.open(self.storage)
        self._running.push_async_callback(self.log.close)
        self._running.push_async_callback(self.end)
        await cluster.start_shards(self.settings, self.policy, self.storage, self.log.partitions)
        self.router = await self.open_router()

    async def open_router(self) -> Router:
        """Return another way to the shards, as another gateway has it."""
        router = cluster.open_router(self.settings, self.policy, self.storage, self.log.partitions)
        return await self._running.enter_async_context(router)

    @property
    def shards(self) -> list[str]:
        """Names of its shards."""
        return [shard_name(self.settings.placement, number) for number in range(self.settings.shards)]

    @property
    def names(self) -> list[str]:
        """Names of its actors now."""
        return sorted(actor_names(self.settings.namespace))

    def actor(self, name: str) -> Any:  # noqa: ANN401 - Ray's handles have no useful type
        """Return the handle of one of its actors."""
        return ray.get_actor(name, namespace=self.settings.namespace)

    async def report(self, name: str) -> ActorReport:
        """Return what an actor says of itself."""
        (report,) = await cluster.reports(self.settings, [name])
        return report

    async def answer(self, name: str) -> ActorReport:
        """Return what an actor says of itself, once it answers: a busy machine keeps whoever asks waiting."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while (report := await self.report(name)).state == "UNREACHABLE":  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        return report

    async def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the process of an actor, whose id is returned."""
        pid = (await self.answer(name)).pid
        os.kill(pid, number)
        return pid

    async def end(self) -> None:
        """End all of its actors, at once."""
        for name in self.names:
            with contextlib.suppress(ValueError):  # one that was idle has left by itself meanwhile
                await asyncio.to_thread(ray.kill, self.actor(name), no_restart=True)
        while self.names:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)  # Ray tells nobody when an actor is gone


@pytest.fixture
async def make_ray_ledger(
    ray_cluster: str, start_shared: Callable[[ServerKind], RealServer], tmp_path: Path
) -> AsyncIterator[Callable[..., RayLedger]]:
    """Return a function that makes a ledger on Valkey (or on Redis); it is ended with the test."""
    async with AsyncExitStack() as running:

        def make(settings: ActorSettings | None = None, kind: ServerKind = "valkey") -> RayLedger:
            return RayLedger(start_shared(kind), tmp_path, settings or ActorSettings(), running)

        yield make
