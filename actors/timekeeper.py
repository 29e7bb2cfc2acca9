"""Wakes entities whose durable timers are due."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from actors.errors import ActorError
from actors.ports import Ledger
from ledger.commands import SYSTEM, Tick
from persistence.errors import StorageError
from persistence.log import PAGE_MAX, Log

DUE_MAX: Final = 500
"""Timers that are rung at once."""
AGAIN_MS_MIN: Final = 1_000
AGAIN_MS_MAX: Final = 60_000
"""How long a timer that could not be dealt with is left alone: the first time, and at most. It doubles in between."""

_logger = logging.getLogger(__name__)


class Timekeeper:
    """Rings the timers of some partitions. A timer stays in the log until its entity has dealt with it.

    One that its entity does not deal with (its actor hangs, its log is damaged) is rung ever more seldom, so that it
    does not hold up the others.
    """

    def __init__(
        self, ledger: Ledger, log: Log, partitions: Sequence[int], clock: Callable[[], int], poll_seconds: float
    ) -> None:
        self.rung = 0
        self.failures = 0
        self._ledger = ledger
        self._log = log
        self._partitions = partitions
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._waiting: dict[str, tuple[int, int]] = {}
        """Entities whose timers failed: how long they wait, and until when (milliseconds)."""

    async def run(self) -> None:
        """Ring until cancelled; trouble is logged, and the next turn comes all the same."""
        while True:
            more = False
            try:
                more = await self.turn() >= DUE_MAX
            except StorageError as error:
                self.failures += 1
                _logger.warning("timers could not be read: %s", error)
            if not more:
                await asyncio.sleep(self._poll_seconds)

    async def turn(self) -> int:
        """Ring what is due now and wait until it was dealt with; gives how many were."""
        now = self._clock()
        limit = min(DUE_MAX + len(self._waiting), PAGE_MAX)
        due = await self._log.due(self._partitions, now, limit)
        self._waiting = {entity: self._waiting[entity] for entity in due if entity in self._waiting}
        entities = [entity for entity in due if self._waiting.get(entity, (0, 0))[1] <= now][:DUE_MAX]
        rung = await asyncio.gather(*(self._ring(entity) for entity in entities))
        self.rung += sum(rung)
        return sum(rung)

    async def _ring(self, entity: str) -> bool:
        try:
            await self._ledger.ask(entity, Tick(), SYSTEM)
        except ActorError as error:
            pause = min(2 * self._waiting.get(entity, (AGAIN_MS_MIN // 2, 0))[0], AGAIN_MS_MAX)
            self._waiting[entity] = (pause, self._clock() + pause)
            self.failures += 1
            _logger.warning("%s: its timer rings again in %d s: %s", entity, pause // 1_000, error)
            return False
        self._waiting.pop(entity, None)
        return True
