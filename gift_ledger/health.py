"""Finds out how the parts of a running service are."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from actors.errors import ActorError
from actors.reports import ActorReport
from actors.router import Router
from gateway.services import Component, Condition, Health
from persistence.errors import StorageError
from persistence.log import Log

READY: Final = "ready"
"""Fact in which an actor of the bridge says whether its outside answers."""
REFUSAL: Final = "refusal"
"""Fact in which it says what its outside has against it."""
PART_SECONDS_MAX: Final = 1.5
"""How long each part may take to answer, so that one that hangs is named instead of hiding the others."""


class Probe:
    """A :class:`~gateway.services.HealthProbe` of the whole service.

    Args:
        log: asked whether it can be written durably.
        router: asks each shard for a read, all the way to the log.
        shards: names of all shards.
        reports: what the actors say of themselves.
    """

    def __init__(
        self,
        log: Log,
        router: Router,
        shards: Sequence[str],
        reports: Callable[[], Awaitable[list[ActorReport]]],
    ) -> None:
        self._log = log
        self._router = router
        self._shards = shards
        self._reports = reports

    async def health(self) -> Health:
        """Ask all parts at once."""
        storage, shards, reports = await asyncio.gather(self._storage(), self._all_shards(), self._bridge())
        by_name = {report.name: report for report in reports}
        kafka = worst(bridge_part(by_name.get(name), name) for name in ("bridge:relay", "bridge:inbox"))
        sms = bridge_part(by_name.get("bridge:sms"), "bridge:sms")
        return Health(storage=storage, shards=shards, kafka=kafka, sms=sms)

    async def _storage(self) -> Component:
        try:
            async with asyncio.timeout(PART_SECONDS_MAX):
                await self._log.check()
        except (StorageError, TimeoutError) as error:
            return Component(
                status=Condition.DOWN, detail=f"The log cannot be written durably: {type(error).__name__}."
            )
        return Component(status=Condition.OK)

    async def _all_shards(self) -> Component:
        answers = await asyncio.gather(*(self._shard(name) for name in self._shards), return_exceptions=True)
        silent = []
        for name, answer in zip(self._shards, answers, strict=True):
            if isinstance(answer, ActorError | TimeoutError):
                silent.append(name)
            elif isinstance(answer, BaseException):
                raise answer
        if silent:
            return Component(status=Condition.DOWN, detail=f"No answer from {', '.join(silent)}.")
        return Component(status=Condition.OK, detail=f"{len(self._shards)} answer")

    async def _shard(self, name: str) -> None:
        async with asyncio.timeout(PART_SECONDS_MAX):
            await self._router.probe(name)

    async def _bridge(self) -> list[ActorReport]:
        try:
            async with asyncio.timeout(PART_SECONDS_MAX):
                return await self._reports()
        except TimeoutError:
            return []  # whoever cannot be asked counts as one that does not run


def bridge_part(report: ActorReport | None, name: str) -> Component:
    """How one actor of the bridge is. Events and messages wait in the log until it is well again."""
    if report is None:
        return Component(status=Condition.DEGRADED, detail=f"{name} does not run; what it carries waits.")
    if report.state != "ALIVE":
        return Component(status=Condition.DEGRADED, detail=f"{name} is {report.state.lower()}; what it carries waits.")
    if refusal := report.facts.get(REFUSAL):
        return Component(status=Condition.DEGRADED, detail=f"{name}: {refusal}; what it carries waits.")
    if report.facts.get(READY) != 1:
        return Component(status=Condition.DEGRADED, detail=f"{name} reaches nobody; what it carries waits.")
    return Component(status=Condition.OK)


def worst(components: Iterable[Component]) -> Component:
    """The one that is not well, if any is."""
    every = list(components)
    return next((component for component in every if component.status is not Condition.OK), every[0])
