"""The way from a caller to the shards."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import Final, Self

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.frames import Call
from actors.lane import Directory, Gathering, Lane, NoSuchActorError
from actors.ports import Ask
from actors.settings import ActorSettings
from ledger.answers import Answer
from ledger.commands import SYSTEM, AnyCommand, Look, Origin, Tick

SWEEP_SECONDS: Final = 0.1
"""How exact deadlines are."""
LANE_IDLE_SECONDS: Final = 60.0
"""A lane that carried nothing for so long is closed."""
SEEN_MAX: Final = 10_000
"""Entities that are remembered to exist, the latest ones; one that was forgotten is served by its shard once more."""

PROBE: Final = "o:~probe"
"""An order that never exists, by which readiness is found out."""

_LATE: Final = OutcomeUnknownError("The ledger did not answer in time; the outcome is unknown.")

_logger = logging.getLogger(__name__)


class Router:
    """The ledger as seen from outside of the shards; an ``async with`` block.

    Args:
        directory: where actors are.
        settings: bounds and deadlines.
        token: opens TCP channels.
    """

    def __init__(self, directory: Directory, settings: ActorSettings, token: bytes | None = None) -> None:
        self._directory = directory
        self._settings = settings
        self._token = token
        self._lanes: dict[str, Lane] = {}
        self._seen: dict[str, None] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep(), name="router deadlines")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.close()

    def ask_now(self, entity: str, command: AnyCommand, origin: Origin) -> asyncio.Future[Answer] | None:
        """As :meth:`actors.ports.PromptLedger.ask_now`."""
        name = self._directory.holder_now(entity)
        return None if name is None else self._lane(name).put(Call(entity, command, origin))

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """As :meth:`actors.ports.Ledger.ask`."""
        name = self._directory.holder_now(entity)
        if name is not None:
            return await self._lane(name).put(Call(entity, command, origin))
        name = await self._find(entity, wake=entity in self._seen and not isinstance(command, Tick))
        answer = await self._lane(name).put(Call(entity, command, origin))
        if answer.version:
            self._remember(entity)
        return answer

    async def ask_many(self, asks: Sequence[Ask]) -> list[Answer | ActorError]:
        """As :meth:`actors.ports.BulkLedger.ask_many`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.request_timeout_seconds
        gathering = Gathering(len(asks), loop.create_future())
        known: dict[str, list[tuple[int, Call]]] = {}
        unknown: dict[str, list[tuple[int, Call]]] = {}
        for position, (entity, command, origin) in enumerate(asks):
            name = self._directory.holder_now(entity)
            groups, group = (unknown, entity) if name is None else (known, name)
            groups.setdefault(group, []).append((position, Call(entity, command, origin)))
        for name, calls in known.items():
            self._put_many(name, calls, gathering, deadline)
        with contextlib.suppress(TimeoutError):
            # lanes give up on their calls at the deadline: this is for what they never got
            async with asyncio.timeout_at(deadline + 2 * SWEEP_SECONDS), asyncio.TaskGroup() as finding:
                for entity, calls in unknown.items():
                    finding.create_task(self._find_and_put(entity, calls, gathering, deadline), name=f"find {entity}")
                if asks:
                    await gathering.complete
        for entity, calls in unknown.items():
            if any(isinstance(one := gathering.found[position], Answer) and one.version for position, _ in calls):
                self._remember(entity)
        return [_LATE if outcome is None else outcome for outcome in gathering.found]

    async def _find_and_put(
        self, entity: str, calls: list[tuple[int, Call]], gathering: Gathering, deadline: float
    ) -> None:
        try:
            name = await self._find(entity, wake=entity in self._seen)
        except OverloadedError as error:
            _settle(calls, gathering, error)
        else:
            self._put_many(name, calls, gathering, deadline)

    def _put_many(self, name: str, calls: list[tuple[int, Call]], gathering: Gathering, deadline: float) -> None:
        try:
            lane = self._lane(name)
        except OverloadedError as error:
            _settle(calls, gathering, error)
        else:
            lane.put_many(calls, gathering, deadline)

    async def probe(self, name: str) -> None:
        """Have the actor answer a read, all the way to the log and back.

        Raises:
            ActorError: it does not, or nobody here sees to deadlines any more.
        """
        if self._sweeper is not None and self._sweeper.done() and not self._closed:
            raise OutcomeUnknownError("Nobody sees to the deadlines of calls any more.")
        await self._lane(name).put(Call(PROBE, Look(), SYSTEM))

    def _remember(self, entity: str) -> None:
        """Note that the entity exists. Only then may it be given an actor: a guess at a code must not start one."""
        self._seen.pop(entity, None)
        self._seen[entity] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if self._closed:
                raise OverloadedError("The gateway is stopping; nothing happened.")
            lane = self._lanes[name] = Lane(name, self._directory, self._settings, self._token)
        return lane

    async def _find(self, entity: str, *, wake: bool) -> str:
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                return await self._directory.holder(entity, wake=wake)
        except (TimeoutError, NoSuchActorError) as error:
            raise OverloadedError(f"The actor of {entity} cannot be found: {error}") from error

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                await self._sweep_lanes(loop.time())
        except Exception:
            _logger.exception("deadlines of calls are no longer kept; this process is not ready any more")
            raise

    async def _sweep_lanes(self, now: float) -> None:
        for name, lane in list(self._lanes.items()):
            lane.sweep(now)
            if lane.idle and now - lane.used > LANE_IDLE_SECONDS:
                del self._lanes[name]
                await lane.close()


def _settle(calls: Iterable[tuple[int, Call]], gathering: Gathering, error: ActorError) -> None:
    for position, _ in calls:
        gathering.settle(position, error)
