"""Does what entities owe each other.

What is owed stands in the state of an entity (:mod:`ledger.errands`). It is done as soon as the state says so, and
again by the entity's durable timer until the state says that it is done.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from actors.errors import ActorError
from actors.ports import Ledger
from actors.residents import State
from ledger import certificate, order
from ledger.certificate import Certificate
from ledger.commands import SYSTEM
from ledger.errands import Errand, report

if TYPE_CHECKING:
    from actors.shard import Shard

AT_ONCE_MAX: Final = 32
"""Errands that a shard runs at the same time; the others wait their turn."""
ENTITIES_MAX: Final = 1_024
"""Entities whose errands run or wait their turn; those beyond are left to their timers."""

_logger = logging.getLogger(__name__)


class ErrandRunner:
    """Runs the errands of a shard's entities, each entity's by one task."""

    def __init__(self, shard: "Shard", ledger: Ledger, clock: Callable[[], int]) -> None:
        self._shard = shard
        self._ledger = ledger
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)
        self._closed = False

    @property
    def running(self) -> int:
        """Entities with errands under way."""
        return len(self._tasks)

    def look_at(self, entity: str) -> None:
        """The entity has changed or its timer rang: see whether it owes anything."""
        resident = self._shard.state_of(entity)
        if self._closed or resident is None or not _owed(resident.state, self._clock()):
            return
        if entity in self._tasks:
            self._again.add(entity)
        elif len(self._tasks) < ENTITIES_MAX and not self._shard.selling(entity):
            # a sale does its certificate's errands itself, and has this looked at again when it ends
            task = asyncio.create_task(self._run(entity), name=f"errands {entity}")
            self._tasks[entity] = task
            task.add_done_callback(lambda _: self._ended(entity))

    async def close(self) -> None:
        """Stop where they stand; the timers have them done later."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, entity: str) -> None:
        del self._tasks[entity]
        if entity in self._again:
            self._again.discard(entity)
            self.look_at(entity)

    async def _run(self, entity: str) -> None:
        resident = self._shard.state_of(entity)
        owed = () if resident is None else _owed(resident.state, self._clock())
        await asyncio.gather(*(self._do(entity, errand) for errand in owed))

    async def _do(self, entity: str, errand: Errand) -> None:
        try:
            async with self._slots:
                if not self._still_owed(entity, errand):
                    return  # no more, since it waited its turn: an order that is cancelled by now issues nothing
                answer = await self._ledger.ask(errand.target, errand.command, SYSTEM)
                refusal = None if answer.refused is None else answer.refused.code.value
                await self._shard.step(entity, report(errand, refusal, answer.grant), SYSTEM)
                self._shard.counts["errands_done"] += 1
        except ActorError as error:
            # the entity's timer has it done later
            self._shard.counts["errands_failed"] += 1
            _logger.warning("%s: %s for %s waits: %s", entity, errand.name, errand.target, error)
        except Exception:
            self._shard.counts["defects"] += 1
            _logger.exception("%s: %s for %s failed", entity, errand.name, errand.target)

    def _still_owed(self, entity: str, errand: Errand) -> bool:
        resident = self._shard.state_of(entity)
        # of one that is no longer in memory nothing is known for sure: its timer has it read again
        return resident is not None and errand in _owed(resident.state, self._clock())


def _owed(state: State, now: int) -> tuple[Errand, ...]:
    return certificate.errands(state, now) if isinstance(state, Certificate) else order.errands(state, now)
