"""The Ray actors of the bridge: thin shells around the relay, the inbox and the SMS sender."""

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import ray
from msgspec import Struct

from actors import cluster
from actors.host import wall_clock
from actors.ray_calls import call_ray
from actors.ray_shell import actor_options
from actors.reports import ActorReport
from actors.settings import ActorSettings
from gateway.bridge_settings import BridgeSettings
from gateway.inbox import Inbox
from gateway.relay import OutboxRelay
from gateway.sms import SmsSender
from ledger.policy import Policy
from persistence.errors import StorageError
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import Vault

BRIDGE: Final = ("bridge:relay", "bridge:inbox", "bridge:sms")
"""Names of the actors."""
START_SECONDS_MAX: Final = 30.0
"""How long the three actors may take to start: on a busy machine Ray takes seconds for each."""
_REOPEN_SECONDS: Final = 0.5
"""Between two attempts to reach Redis, while an actor starts."""

_logger = logging.getLogger(__name__)


class Worker(Protocol):
    """What runs inside of an actor of the bridge."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
        ...

    def report(self) -> dict[str, int | float | str]:
        """What it is doing."""
        ...

    def ready(self) -> bool:
        """Whether its outside answers."""
        ...


class BridgeBoot(Struct, frozen=True, kw_only=True):
    """All that a process of the bridge has to know."""

    name: str
    bridge: BridgeSettings
    actors: ActorSettings
    policy: Policy
    storage: StorageSettings
    partitions: int


class BridgeActor(ABC):
    """Runs one worker for ever. If the worker dies the process does, and Ray starts it anew."""

    kind: str
    carries: str

    def __init__(self, boot: BridgeBoot) -> None:
        """Start working on the actor's own loop; Ray calls this again at every restart."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        # httpx would log addresses that may hold secrets, and aiokafka says every failed attempt of its own
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        self.boot = boot
        self._stop = asyncio.Event()
        self._worker: Worker | None = None
        self._failure = ""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=boot.name)

    def __repr__(self) -> str:
        """What the Ray dashboard and ``ray list actors --detail`` show."""
        return f"{self.boot.name} ({self.carries})"

    @abstractmethod
    async def worker(self, log: RedisLog, vault: Vault, stack: AsyncExitStack) -> Worker:
        """Make the worker; what it needs is closed with ``stack``."""

    async def report(self) -> ActorReport:
        """What the worker is doing."""
        facts: dict[str, int | float | str] = {"ready": 0}
        if self._failure:
            facts["lastError"] = self._failure
        if self._worker is not None:
            facts = {"ready": int(self._worker.ready()), **self._worker.report()}
        state = "STARTING" if self._worker is None else "ALIVE"
        return ActorReport(name=self.boot.name, kind=self.kind, state=state, pid=os.getpid(), node="", facts=facts)

    async def stop(self) -> None:
        """Finish what is under way and work no more."""
        self._stop.set()
        await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                log, vault = await self._opened()
                stack.push_async_callback(log.close)
                self._worker = await self.worker(log, vault, stack)
                await self._worker.run(self._stop)
        except Exception:
            _logger.exception("%s failed and starts anew", self.boot.name)
            logging.shutdown()
            os._exit(1)

    async def _opened(self) -> tuple[RedisLog, Vault]:
        while True:
            try:
                opened = await self._open()
            except StorageError as error:
                self._failure = str(error)
                _logger.warning("%s: the log cannot be opened yet: %s", self.boot.name, error)
                await asyncio.sleep(_REOPEN_SECONDS)
            else:
                self._failure = ""
                return opened

    async def _open(self) -> tuple[RedisLog, Vault]:
        # read anew each time: somebody may have put the right secrets back
        vault = await asyncio.to_thread(Vault.load, Path(self.boot.storage.secrets_path))
        log = await RedisLog.open(self.boot.storage)
        try:
            # with the secrets of another ledger no message could be opened, and no recipient that is sealed here
            await log.bind_vault(vault.fingerprint)
            await log.bind_peppers(vault.pepper_prints, vault.pepper)
        except BaseException:
            await log.close()
            raise
        return log, vault


class OutboxRelayActor(BridgeActor):
    """Carries events from the log to Kafka."""

    kind = "relay"
    carries = "events from the log's outbox to Kafka"

    async def worker(self, log: RedisLog, vault: Vault, stack: AsyncExitStack) -> Worker:  # noqa: ARG002
        """As :meth:`BridgeActor.worker`."""
        return OutboxRelay(log, self.boot.bridge, wall_clock)


class KafkaInboxActor(BridgeActor):
    """Carries orders and payments from Kafka to the ledger."""

    kind = "inbox"
    carries = "orders and payments from Kafka to the ledger"

    async def worker(self, log: RedisLog, vault: Vault, stack: AsyncExitStack) -> Worker:  # noqa: ARG002
        """As :meth:`BridgeActor.worker`."""
        boot = self.boot
        router = cluster.open_router(boot.actors, boot.policy, boot.storage, boot.partitions)
        return Inbox(await stack.enter_async_context(router), vault, boot.bridge, wall_clock)


class SmsSenderActor(BridgeActor):
    """Carries CVCs to their recipients."""

    kind = "sms"
    carries = "messages from the log to the SMS gateway"

    async def worker(self, log: RedisLog, vault: Vault, stack: AsyncExitStack) -> Worker:
        """As :meth:`BridgeActor.worker`."""
        # a proxy of the environment would be given phones and CVCs, and a .netrc our gateway a password; which
        # certificates are trusted (SSL_CERT_FILE) the environment may say
        trusted = httpx.create_ssl_context()
        client = await stack.enter_async_context(httpx.AsyncClient(verify=trusted, trust_env=False))
        return SmsSender(log, vault, self.boot.bridge, wall_clock, client)


_ACTORS: Final[dict[str, type[BridgeActor]]] = {
    "bridge:relay": OutboxRelayActor,
    "bridge:inbox": KafkaInboxActor,
    "bridge:sms": SmsSenderActor,
}


async def start_bridge(
    bridge: BridgeSettings, actors: ActorSettings, policy: Policy, storage: StorageSettings, partitions: int
) -> None:
    """Start the actors of the bridge that do not run, and wait until each answers.

    Raises:
        TimeoutError: one did not come up in time.
    """
    boots = [
        BridgeBoot(name=name, bridge=bridge, actors=actors, policy=policy, storage=storage, partitions=partitions)
        for name in BRIDGE
    ]
    handles = [await call_ray(_start, boot) for boot in boots]
    async with asyncio.timeout(START_SECONDS_MAX):
        await asyncio.gather(*(handle.report.remote() for handle in handles))


def _start(boot: BridgeBoot) -> Any:  # noqa: ANN401 - Ray's handles have no useful type
    return ray.remote(_ACTORS[boot.name]).options(**actor_options(boot.name, boot.actors)).remote(boot)
