"""What one actor process runs: a shard with its log, its timers, its listener and its way to the other shards."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from msgspec import Struct

from actors.channel import ChannelServer
from actors.issuer import Issuer
from actors.lane import Directory
from actors.placement import DEDICATED
from actors.ports import Ledger
from actors.reports import ActorReport
from actors.router import Router
from actors.settings import ActorSettings
from actors.shard import PASSIVATED_MAX, Shard
from actors.sockets import socket_path
from actors.timekeeper import Timekeeper
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin
from ledger.policy import Policy
from persistence.codes import CodeStore
from persistence.errors import StorageError
from persistence.log import Log
from persistence.vault import Vault

PASSIVATION_SECONDS: Final = 1.0
"""Between two looks for cold entities."""
CLOSE_SECONDS_MAX: Final = 5.0
"""How long work under way may take to end when the actor stops; what is left has an unknown outcome."""

_logger = logging.getLogger(__name__)


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class HostSettings(Struct, frozen=True, kw_only=True):
    """What one host is: its name, whose timers it keeps, how it works."""

    name: str
    partitions: tuple[int, ...]
    """Whose timers it rings; none for an actor of one certificate."""
    actors: ActorSettings
    policy: Policy

    @property
    def kind(self) -> str:
        """As in :class:`~actors.reports.ActorReport`."""
        return "certificate" if self.name.startswith(DEDICATED) else "shard"


class LocalFirst:
    """The ledger as a shard sees it: its own entities by the shortest way, the others through the router."""

    def __init__(self, name: str, directory: Directory, router: Ledger) -> None:
        self._name = name
        self._directory = directory
        self._router = router
        self.shard: Shard | None = None

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """As :meth:`actors.ports.Ledger.ask`."""
        if self.shard is not None and self._directory.holder_now(entity) == self._name:
            return await self.shard.ask(entity, command, origin)
        return await self._router.ask(entity, command, origin)


class ShardHost:
    """Runs a shard until it is stopped, or idle if it holds one certificate.

    Args:
        settings: what it is.
        open_log: opens the log; tried again until it succeeds.
        vault: for CVCs.
        directory: where the other shards are.
        token: for TCP channels.
        imported: the codes that may be sold, where only such may; closed at the end.
    """

    def __init__(
        self,
        settings: HostSettings,
        open_log: Callable[[], Awaitable[Log]],
        vault: Vault,
        directory: Directory,
        token: bytes | None = None,
        clock: Callable[[], int] = wall_clock,
        imported: CodeStore | None = None,
    ) -> None:
        self.settings: Final = settings
        self.address = ""
        self.started = asyncio.Event()
        self._open_log = open_log
        self._vault = vault
        self._directory = directory
        self._token = token
        self._clock = clock
        self._imported = imported
        self._stop = asyncio.Event()
        self._shard: Shard | None = None
        self._channel: ChannelServer | None = None
        self._timekeeper: Timekeeper | None = None
        self._began = clock()

    async def run(self) -> None:
        """Open, serve, close; in reverse order of opening.

        Raises:
            ExceptionGroup: a background task died; the process had better be started anew.
        """
        async with AsyncExitStack() as stack:
            log = await self._opened_log()
            if log is None:
                return
            stack.push_async_callback(log.close)
            shard = await self._open_shard(log, stack)
            server = ChannelServer(shard.submit, self._token if self.settings.actors.channel == "tcp" else None)
            self._channel = server
            stack.push_async_callback(server.close)
            async with asyncio.TaskGroup() as tasks:
                rounds = tasks.create_task(shard.run(), name=f"{shard.name} rounds")
                helpers = [tasks.create_task(self._passivate(shard), name=f"{shard.name} passivation")]
                if self._timekeeper is not None:
                    helpers.append(tasks.create_task(self._timekeeper.run(), name=f"{shard.name} timers"))
                self.address = await self._listen(server)
                self.started.set()
                await self._stop.wait()
                self.started.clear()
                for task in helpers:
                    task.cancel()
                await server.leave()
                await self._finish(shard, rounds)

    def stop(self) -> None:
        """Have :meth:`run` come to its end."""
        self._stop.set()

    @property
    def busy_at(self) -> int:
        """When there was work last (milliseconds)."""
        return self._began if self._shard is None else self._shard.idle_since

    def report(self) -> ActorReport:
        """What it is doing now."""
        facts: dict[str, int | float | str] = {"uptimeSeconds": (self._clock() - self._began) // 1_000}
        if self._shard is not None:
            facts |= self._shard.facts
        if self._channel is not None:
            facts["callers"] = self._channel.callers
        if self._timekeeper is not None:
            facts |= {"timersRung": self._timekeeper.rung, "timersFailed": self._timekeeper.failures}
        return ActorReport(
            name=self.settings.name,
            kind=self.settings.kind,
            state=self._state,
            pid=os.getpid(),
            node="",
            address=self.address,
            facts=facts,
        )

    @property
    def _state(self) -> str:
        if self._stop.is_set():
            return "STOPPING"
        return "ALIVE" if self.started.is_set() else "STARTING"

    async def _opened_log(self) -> Log | None:
        """The log, waited for until it is there, or until we are stopped."""
        pause = 0.1
        while not self._stop.is_set():
            try:
                return await self._open_log()
            except StorageError as error:
                _logger.warning("%s: the log cannot be opened yet: %s", self.settings.name, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            pause = min(pause * 2, 2.0)
        return None

    async def _open_shard(self, log: Log, stack: AsyncExitStack) -> Shard:
        settings = self.settings
        router = await stack.enter_async_context(Router(self._directory, settings.actors, self._token))
        ledger = LocalFirst(settings.name, self._directory, router)
        issuer = Issuer(self._vault)
        if self._imported is not None:
            stack.push_async_callback(self._imported.close)
        shard = Shard(settings.name, log, issuer, ledger, self._clock, settings.policy, settings.actors, self._imported)
        self._shard = ledger.shard = shard
        if settings.partitions:
            poll = settings.actors.timer_poll_seconds
            self._timekeeper = Timekeeper(ledger, log, settings.partitions, self._clock, poll)
        return shard

    async def _listen(self, server: ChannelServer) -> str:
        actors = self.settings.actors
        if actors.channel == "tcp":
            return await server.listen_tcp(actors.channel_host)
        return await server.listen_unix(socket_path(actors.run_dir, self.settings.name))

    async def _finish(self, shard: Shard, rounds: "asyncio.Task[None]") -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await shard.close()
        except TimeoutError:
            _logger.warning("%s: not everything was finished in %s s", shard.name, CLOSE_SECONDS_MAX)
            rounds.cancel()

    async def _passivate(self, shard: Shard) -> None:
        idle_ms = self.settings.actors.idle_seconds * 1_000
        let_go = 0
        while True:
            # commands come first, even if there is much to be let go
            await asyncio.sleep(0 if let_go == PASSIVATED_MAX else PASSIVATION_SECONDS)
            try:
                let_go = await shard.passivate()
            except StorageError as error:
                let_go = 0
                _logger.warning("%s: a snapshot was not written: %s", shard.name, error)
            if self.settings.kind == "certificate" and self._clock() - shard.idle_since > idle_ms:
                _logger.info("%s was idle and leaves", shard.name)
                self.stop()
