"""The actors of a ledger on a Ray cluster: start them, find them, ask how they are."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final

import ray
import ray.exceptions
from msgspec.structs import replace

from actors.host import HostSettings
from actors.placement import partitions_of, shard_name
from actors.ray_calls import call_ray
from actors.ray_directory import RayDirectory, actor_names
from actors.ray_shell import Boot, certificate_starter, channel_token, start_shard
from actors.reports import ActorReport
from actors.router import Router
from actors.settings import ActorSettings
from ledger.policy import Policy
from persistence.settings import StorageSettings

REPORT_SECONDS_MAX: Final = 2.0
"""How long an actor may take over its report: whoever asks looks at many."""
RETRY_SECONDS: Final = 0.1
"""Between two questions for the address of an actor that is starting."""
CONNECT_SECONDS_MAX: Final = 5.0
"""How long Ray's head node may take to be reached; Ray itself would try for a minute."""
START_SECONDS_MAX: Final = 60.0
"""How long all shards may take to listen: on a busy machine Ray takes seconds to start each."""
STOP_SECONDS_MAX: Final = 8.0
"""A little more than an actor gives itself to finish."""
BRIDGE_PREFIX: Final = "bridge:"
"""Begins the names of the actors that carry between the ledger and the outside."""

_logger = logging.getLogger(__name__)


def connect(settings: ActorSettings) -> None:
    """Join the Ray cluster at ``settings.ray_address``. Does nothing in a process that has joined already.

    Raises:
        ConnectionError: no cluster is there.
    """
    if ray.is_initialized():
        return
    if settings.ray_address:
        _require_listener(settings.ray_address)
    ray.init(
        address=settings.ray_address or "auto",
        namespace=settings.namespace,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )


def _require_listener(address: str) -> None:
    """Find out in seconds what Ray finds out in minutes: that nobody listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS_MAX).close()
    except (OSError, ValueError) as error:
        message = f"no Ray cluster answers at {address}: {error}"
        raise ConnectionError(message) from error


async def start_shards(
    settings: ActorSettings,
    policy: Policy,
    storage: StorageSettings,
    partitions: int,
    *,
    core: int | None = None,
    seconds_max: float = START_SECONDS_MAX,
) -> list[str]:
    """Start all shards and wait until they listen; gives their addresses.

    Args:
        settings: where they live, and how many there are.
        policy: the numbers of the business.
        storage: how they reach the log.
        partitions: of the ledger.
        core: that they stay on.
        seconds_max: how long all of it may take.

    Raises:
        TimeoutError: one did not come up in time.
    """
    actors = []
    for number in range(settings.shards):
        own = partitions_of(number, settings.shards, partitions)
        boot = _boot(shard_name(settings.placement, number), tuple(own), settings, policy, storage, partitions)
        actors.append(await call_ray(start_shard, replace(boot, core=core)))
    async with asyncio.timeout(seconds_max):
        return list(await asyncio.gather(*(_address(actor) for actor in actors)))


def open_router(settings: ActorSettings, policy: Policy, storage: StorageSettings, partitions: int) -> Router:
    """The way to the entities, for a process that has joined the cluster."""
    starter = certificate_starter(_boot("", (), settings, policy, storage, partitions))
    return Router(RayDirectory(settings, partitions, starter), settings, channel_token(settings))


def _boot(
    name: str,
    own: tuple[int, ...],
    settings: ActorSettings,
    policy: Policy,
    storage: StorageSettings,
    partitions: int,
) -> Boot:
    host = HostSettings(name=name, partitions=own, actors=settings, policy=policy)
    return Boot(host=host, storage=storage, partitions=partitions)


async def reports(settings: ActorSettings, names: Sequence[str] | None = None) -> list[ActorReport]:
    """What actors say of themselves; one that does not answer is reported as such.

    Args:
        settings: where they are.
        names: whom to ask; all of the namespace if not given.
    """
    if names is None:
        names = sorted(await call_ray(actor_names, settings.namespace))
    return list(await asyncio.gather(*(_report(name, settings) for name in names)))


async def stop_actors(settings: ActorSettings) -> None:
    """Have all actors of the namespace finish what is under way, the bridge first, and end them.

    One that does not finish in time is ended all the same: what it has acknowledged is in the log.
    """
    names = await call_ray(actor_names, settings.namespace)
    for group in ([name for name in names if name.startswith(BRIDGE_PREFIX)], names):
        await asyncio.gather(*(_stop(name, settings) for name in group))


async def _address(actor: Any) -> str:  # noqa: ANN401
    address = ""
    while not address:  # whoever waits for us has a bound
        try:
            address = await actor.address.remote()
        except (TimeoutError, ray.exceptions.RayTaskError, ray.exceptions.ActorUnavailableError) as error:
            _logger.info("a shard is still starting: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
    return address


async def _stop(name: str, settings: ActorSettings) -> None:
    try:
        actor = await call_ray(ray.get_actor, name, namespace=settings.namespace)
    except ValueError:  # it has ended already
        return
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await actor.stop.remote()
    except (TimeoutError, ray.exceptions.RayError) as error:
        _logger.warning("%s is ended before it has finished: %s", name, type(error).__name__)
    await call_ray(ray.kill, actor, no_restart=True)


async def _report(name: str, settings: ActorSettings) -> ActorReport:
    try:
        actor: Any = await call_ray(ray.get_actor, name, namespace=settings.namespace)
        async with asyncio.timeout(REPORT_SECONDS_MAX):
            report: ActorReport = await actor.report.remote()
    except (ValueError, TimeoutError, ray.exceptions.RayError) as error:
        return ActorReport(
            name=name, kind="", state="UNREACHABLE", pid=0, node="", facts={"error": type(error).__name__}
        )
    return report
