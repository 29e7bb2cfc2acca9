"""The Ray actors: thin shells that give a plain class a name, a process, supervision and a place on the dashboard."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ray
import ray.util
from msgspec import Struct
from msgspec.structs import replace

from actors.cores import stay_on
from actors.garbage import Garbage
from actors.host import HostSettings, ShardHost, wall_clock
from actors.ray_directory import RayDirectory
from actors.reports import ActorReport
from actors.settings import ActorSettings
from ledger.codes import Salable
from persistence.codes import CodeStore, RedisCodeStore
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import Vault

START_SECONDS_MAX: Final = 2.0
"""How long a caller waits for an actor that is still starting before it asks again."""
START_AGAIN_SECONDS: Final = 1.0
"""What keeps an actor that cannot start (its folder is missing, say) from being started without a pause."""
TIDY_SECONDS: Final = 1.0
"""How long a shard has to be without work to count as idle, and how often that is looked at."""

_logger = logging.getLogger(__name__)


class Boot(Struct, frozen=True, kw_only=True):
    """All that a shard's process has to know."""

    host: HostSettings
    storage: StorageSettings
    partitions: int
    """Of the ledger, to find other entities."""
    core: int | None = None
    """That its event loop stays on."""


class ShardActor:
    """One shard, or one certificate that has an actor of its own."""

    def __init__(self, boot: Boot) -> None:
        """Start serving on the actor's own loop; Ray calls this again at every restart."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        if boot.core is not None:
            stay_on(boot.core)
        self._boot = boot
        self._vault = Vault.load(Path(boot.storage.secrets_path))
        directory = RayDirectory(boot.host.actors, boot.partitions, certificate_starter(boot))
        host = replace(boot.host, actors=reachable(boot.host.actors))
        token = channel_token(boot.host.actors)
        self._host = ShardHost(host, self._open_log, self._vault, directory, token, imported=imported_codes(boot))
        self._task = asyncio.get_running_loop().create_task(self._run(), name=boot.host.name)
        self._tidying = asyncio.get_running_loop().create_task(self._tidy(), name=f"{boot.host.name} garbage")

    def __repr__(self) -> str:
        """What the Ray dashboard and ``ray list actors --detail`` show."""
        host = self._boot.host
        if host.kind == "certificate":
            return f"{host.name} (one certificate)"
        keeps = f"{len(host.partitions)} of {self._boot.partitions} partitions"
        return f"{host.name} (certificates and orders of {keeps})"

    async def address(self) -> str:
        """Where the shard listens."""
        async with asyncio.timeout(START_SECONDS_MAX):
            await self._host.started.wait()
        return self._host.address

    async def report(self) -> ActorReport:
        """What the shard holds and does."""
        return replace(self._host.report(), node=ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    async def stop(self) -> None:
        """Finish what is under way and serve no more."""
        self._host.stop()
        await asyncio.shield(self._task)

    async def _open_log(self) -> RedisLog:
        log = await RedisLog.open(self._boot.storage)
        try:
            # with another pepper than the gateways' no CVC that is made here would ever be right
            await log.bind_vault(self._vault.fingerprint)
            await log.bind_peppers(self._vault.pepper_prints, self._vault.pepper)
        except BaseException:
            await log.close()
            raise
        return log

    async def _run(self) -> None:
        try:
            await self._host.run()
        except Exception:
            # a shard without its loop would only hold up its callers; Ray starts a new one
            _logger.exception("%s failed and starts anew", self._boot.host.name)
            if not self._host.started.is_set():
                await asyncio.sleep(START_AGAIN_SECONDS)
            logging.shutdown()
            os._exit(1)
        if self._boot.host.kind == "certificate":
            ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    async def _tidy(self) -> None:
        garbage = Garbage(wall_clock)
        garbage.take_over()
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            garbage.search(idle=wall_clock() - self._host.busy_at > TIDY_SECONDS * 1_000)


def imported_codes(boot: Boot) -> CodeStore | None:
    """Where the codes are that alone may be sold; ``None``: others may be, too."""
    return RedisCodeStore.at(boot.storage) if boot.host.policy.codes is Salable.IMPORTED else None


def reachable(settings: ActorSettings) -> ActorSettings:
    """The settings, with this node's address in them where they leave that to Ray, which alone knows where it runs."""
    if settings.channel_host != "auto":
        return settings
    return replace(settings, channel_host=ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def channel_token(settings: ActorSettings) -> bytes | None:
    """The token of TCP channels; Unix sockets are guarded by the file system."""
    if settings.channel == "unix":
        return None
    return Path(settings.channel_token_path).read_bytes().strip()


def start_shard(boot: Boot) -> Any:  # noqa: ANN401 - Ray's handles have no useful type
    """Handle of the actor ``boot.host.name``, which is started unless it runs."""
    name = boot.host.name
    return ray.remote(ShardActor).options(**actor_options(name, boot.host.actors)).remote(boot)


def certificate_starter(boot: Boot) -> Callable[[str], Any]:
    """Starts actors of single certificates, with the settings of ``boot``."""
    return lambda name: start_shard(replace(boot, host=replace(boot.host, name=name, partitions=())))


def actor_options(name: str, settings: ActorSettings) -> dict[str, Any]:
    """Options that all our actors have: found by name, restarted for ever, calls never repeated behind our back."""
    return {
        "name": name,
        "namespace": settings.namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": 64,
    }
