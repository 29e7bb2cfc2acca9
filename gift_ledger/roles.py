"""The parts of a stack as processes of their own: a gateway, the shards, the bridge.

Each role joins the Ray cluster at ``ray_address`` and the Redis at ``redis_url``. Shards and bridge are detached Ray
actors: their roles start what does not run, and then watch. On SIGTERM or SIGINT a role ends with exit code 0.
"""

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from actors import cluster
from actors.host import wall_clock
from actors.placement import shard_name
from actors.reports import ActorReport
from actors.settings import ActorSettings
from gateway.actor_metrics import ActorMetrics
from gateway.app import create_app
from gateway.bridge_actors import BRIDGE, start_bridge
from gateway.guesses import kept_max
from gateway.server import serve, tls_of
from gateway.services import Services
from gift_ledger.health import Probe
from gift_ledger.settings import Settings
from persistence.errors import StorageUnavailableError
from persistence.keys import RedisKeyStore
from persistence.redis_log import RedisLog
from persistence.vault import Vault
from persistence.windows import RedisWindows

OPEN_SECONDS_MAX: Final = 60.0
"""How long a role waits for Redis when it starts: in a compose file everything starts at once."""
OPEN_AGAIN_SECONDS: Final = 0.5
"""Between two attempts."""
WATCH_SECONDS: Final = 5.0
"""Between two looks at the actors that a role has started."""

_logger = logging.getLogger(__name__)


async def run_gateway(settings: Settings) -> int:
    """Serve HTTP until a signal comes."""
    tls_of(settings.http())  # what is wrong with a certificate is told before anything starts
    async with AsyncExitStack() as stack:
        services = await open_services(settings, stack)
        http = settings.http()
        app = create_app(services, http)
        settle_garbage()
        await serve(app, http, stopped_by_signals())
    return 0


async def run_shards(settings: Settings) -> int:
    """Have all shards run, until a signal comes; the actors outlive this process."""
    await join(settings)
    stop = stopped_by_signals()
    log = await open_log(settings)
    partitions = log.partitions
    await log.close()
    known: list[str] = []
    while not stop.is_set():
        addresses = await cluster.start_shards(settings.actors(), settings.policy(), settings.storage(), partitions)
        if addresses != known:
            _logger.info("shards listen at %s", ", ".join(addresses))
        known = addresses
        await _rest(stop)
    return 0


async def run_bridge(settings: Settings) -> int:
    """Have the relay, the inbox and the SMS sender run, until a signal comes; the actors outlive this process."""
    await join(settings)
    stop = stopped_by_signals()
    log = await open_log(settings)
    partitions = log.partitions
    await log.close()
    while not stop.is_set():
        await start_bridge(settings.bridge(), settings.actors(), settings.policy(), settings.storage(), partitions)
        await _rest(stop)
    return 0


async def actor_reports(settings: Settings) -> list[ActorReport]:
    """What the running actors say of themselves."""
    await join(settings)
    return await cluster.reports(settings.actors())


async def actor_report(actors: ActorSettings, name: str) -> ActorReport:
    """What one actor says of itself; of one that does not answer, that."""
    (report,) = await cluster.reports(actors, [name])
    return report


async def open_services(settings: Settings, stack: AsyncExitStack) -> Services:
    """All that a gateway works with; closed with ``stack``."""
    await join(settings)
    storage, actors, policy = settings.storage(), settings.actors(), settings.policy()
    log = await open_log(settings)
    stack.push_async_callback(log.close)
    vault = await asyncio.to_thread(Vault.load, Path(storage.secrets_path))
    await log.bind_vault(vault.fingerprint)
    await log.bind_peppers(vault.pepper_prints, vault.pepper)
    router = await stack.enter_async_context(cluster.open_router(actors, policy, storage, log.partitions))
    keys = RedisKeyStore(storage.redis_url, storage.prefix)
    stack.push_async_callback(keys.close)
    http = settings.http()
    windows = RedisWindows(storage.redis_url, storage.prefix, http.guess_window_seconds, kept_max(http))
    stack.push_async_callback(windows.close)
    shards = [shard_name(actors.placement, number) for number in range(actors.shards)]
    probe = Probe(log, router, shards, lambda: cluster.reports(actors, BRIDGE))
    figures = ActorMetrics((*shards, *BRIDGE), lambda name: actor_report(actors, name))
    return Services(
        ledger=router,
        log=log,
        vault=vault,
        keys=keys,
        windows=windows,
        clock=wall_clock,
        health=probe,
        actors=figures,
    )


async def open_log(settings: Settings) -> RedisLog:
    """The log, waited for while Redis comes up.

    Raises:
        StorageUnavailableError: it did not come up in time.
        StorageUnsafeError: it would lose data.
    """
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS_MAX
    while True:
        try:
            return await RedisLog.open(settings.storage())
        except StorageUnavailableError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _logger.warning("Redis is not there yet: %s", error)
            await asyncio.sleep(OPEN_AGAIN_SECONDS)


async def join(settings: Settings) -> None:
    """Join the Ray cluster."""
    await asyncio.to_thread(cluster.connect, settings.actors())


def stopped_by_signals(stop: asyncio.Event | None = None) -> asyncio.Event:
    """An event that is set by SIGTERM and SIGINT; a given one, or a new one.

    To be called after Ray was started or joined: Ray puts handlers of its own, which end the process at once, in place
    of those that are there.
    """
    stop = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def settle_garbage() -> None:
    """Let Python search for reference cycles in what requests make alone, and not in the modules, again and again."""
    gc.collect()
    gc.freeze()


async def _rest(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(WATCH_SECONDS):
            await stop.wait()
    except TimeoutError:
        return
