"""Wakes entities whose durable timers are due."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from actors.errors import ActorError
from actors.ports import Ledger
from ledger.commands import SYSTEM, Tick
from persistence.errors import StorageError
from persistence.log import Log

DUE_MAX: Final = 500
"""Timers that are rung at once."""

_logger = logging.getLogger(__name__)


class Timekeeper:
    """Rings the timers of some partitions. A timer stays in the log until its entity has dealt with it."""

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
        """Ring what is due now and wait until it was dealt with; gives how many rang."""
        entities = await self._log.due(self._partitions, self._clock(), DUE_MAX)
        outcomes = await asyncio.gather(
            *(self._ledger.ask(entity, Tick(), SYSTEM) for entity in entities), return_exceptions=True
        )
        for entity, outcome in zip(entities, outcomes, strict=True):
            if isinstance(outcome, ActorError):
                self.failures += 1
                _logger.warning("%s: its timer rings again later: %s", entity, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        self.rung += len(entities)
        return len(entities)
