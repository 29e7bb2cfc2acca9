"""Finds actors through Ray, and starts those of single certificates."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import ray
import ray.exceptions
import ray.util

from actors.lane import NoSuchActorError
from actors.placement import DEDICATED, dedicated_name, may_be_dedicated, shard_of
from actors.ray_calls import call_ray
from actors.settings import ActorSettings

CALL_SECONDS_MAX: Final = 3.0
"""A Ray call without an answer in this time counts as failed."""
AWAKE_SECONDS: Final = 1.0
"""How old the list of actors may be by which certificates are found."""


class RayDirectory:
    """A :class:`~actors.router.Directory` over the named actors of a Ray cluster.

    Args:
        settings: placement and its bounds.
        partitions: of the ledger.
        start: starts the actor of one certificate by name unless it runs, and gives its handle.
    """

    def __init__(self, settings: ActorSettings, partitions: int, start: Callable[[str], Any]) -> None:
        self._settings = settings
        self._partitions = partitions
        self._start = start
        self._awake: set[str] = set()
        self._listed_at = float("-inf")
        self._listing = asyncio.Lock()

    def holder_now(self, entity: str) -> str | None:
        """As :meth:`actors.router.Directory.holder_now`."""
        settings = self._settings
        if not may_be_dedicated(entity, settings.placement):
            return shard_of(entity, settings.placement, settings.shards, self._partitions)
        name = dedicated_name(entity)
        return name if self._fresh and name in self._awake else None

    async def holder(self, entity: str, *, wake: bool) -> str:
        """As :meth:`actors.router.Directory.holder`."""
        settings = self._settings
        shard = shard_of(entity, settings.placement, settings.shards, self._partitions)
        if not may_be_dedicated(entity, settings.placement):
            return shard
        await self._refresh()
        name = dedicated_name(entity)
        if name in self._awake:
            return name
        if not wake or len(self._awake) >= settings.dedicated_max:
            return shard
        self._awake.add(name)
        return name

    async def address(self, name: str) -> str:
        """As :meth:`actors.router.Directory.address`; the actor of a certificate is started if it does not run."""
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                actor = await call_ray(self._find, name)
                address: str = await actor.address.remote()
        except (ValueError, TimeoutError, ray.exceptions.RayError) as error:
            self._listed_at = float("-inf")
            raise NoSuchActorError(f"{name}: {error}") from error
        return address

    async def _refresh(self) -> None:
        """Have a list of actors that is recent enough; many callers at once make one."""
        async with self._listing:
            if self._fresh:
                return
            try:
                self._awake = await call_ray(self._list)
            except (ValueError, ray.exceptions.RayError) as error:
                raise NoSuchActorError(f"Ray does not list its actors: {error}") from error
            self._listed_at = time.monotonic()

    @property
    def _fresh(self) -> bool:
        return time.monotonic() - self._listed_at < AWAKE_SECONDS

    def _list(self) -> set[str]:
        return {name for name in actor_names(self._settings.namespace) if name.startswith(DEDICATED)}

    def _find(self, name: str) -> Any:  # noqa: ANN401 - Ray's handles have no useful type
        if name.startswith(DEDICATED):
            return self._start(name)
        return ray.get_actor(name, namespace=self._settings.namespace)


def actor_names(namespace: str) -> list[str]:
    """Names of the actors of a namespace that run, restart or start; whatever namespace this process has joined."""
    return [
        str(row["name"]) for row in ray.util.list_named_actors(all_namespaces=True) if row["namespace"] == namespace
    ]
