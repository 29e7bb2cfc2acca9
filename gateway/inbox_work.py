"""What becomes of the records that the inbox has read: those of one order one by one, different orders at once."""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from actors.errors import ActorError
from actors.ports import Ledger
from gateway.dead_letters import DeadLetterWriter, Received
from gateway.inputs import InputError, Read
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin
from persistence.vault import Vault

RETRY_SECONDS_MIN: Final = 0.05
RETRY_SECONDS_MAX: Final = 5.0
"""Longest pause before the ledger is asked again. It is asked for ever: an event may wait, but it is not lost."""

_logger = logging.getLogger(__name__)


class Reader(Struct, frozen=True):
    """How the events of one topic are read, and in whose name they are given to the ledger."""

    read: Read
    origin: Origin


class Job(Struct, frozen=True):
    """A record on its way. Without a command it is a dead letter, and ``problem`` says why."""

    record: Received
    finished: Callable[[], None]
    command: AnyCommand | None = None
    sealing_key: int = 0
    """Key of the vault that was used for the command."""
    problem: tuple[str, str] = ("", "")


class InboxWork:
    """Applies records, or puts them aside. A record is finished when one of the two is durable.

    Args:
        ledger: takes the commands.
        vault: seals recipients.
        dead_letters: where to put what can never be applied.
        readers: by topic.
    """

    def __init__(
        self, ledger: Ledger, vault: Vault, dead_letters: DeadLetterWriter, readers: Mapping[str, Reader]
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._dead_letters = dead_letters
        self._readers = readers
        self._lines: dict[str, deque[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()
        self.in_flight = 0
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None
        """A defect: whoever runs this had better start anew."""

    def take(self, record: Received, finished: Callable[[], None]) -> None:
        """Begin with a record; ``finished`` is called once it is applied or put aside."""
        if record.value is None:
            # a tombstone says that Kafka may forget an event, not that anything has happened
            self.counts["tombstones"] += 1
            finished()
            return
        sealing_key = self._vault.sealing_key  # before: should it change meanwhile, all is sealed anew
        try:
            read = self._readers[record.topic].read(record.value, record.source, self._vault)
        except InputError as error:
            line, job = record.source, Job(record, finished, problem=(error.reason, str(error)))
        else:
            line, job = read.entity, Job(record, finished, read.command, sealing_key)
        self.in_flight += 1
        waiting = self._lines.get(line)
        if waiting is not None:
            waiting.append(job)
            return
        self._lines[line] = deque([job])
        task = asyncio.create_task(self._run(line), name=f"inbox {line}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def moved(self, seconds: float) -> None:
        """Wait until a record is finished, at most so long."""
        self._moved.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    async def settle(self, seconds: float) -> None:
        """Give what is under way some time, and abandon the rest: it will be read again."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lines.clear()
        self.in_flight = 0

    async def _run(self, line: str) -> None:
        waiting = self._lines[line]
        while waiting:
            job = waiting[0]
            if job.command is None:
                await self._put_aside(job.record, *job.problem)
            else:
                await self._apply(line, job, job.command)
            waiting.popleft()
            self.in_flight -= 1
            job.finished()
            self._moved.set()
        del self._lines[line]

    async def _apply(self, entity: str, job: Job, command: AnyCommand) -> None:
        answer = await self._answer(entity, job, command)
        if answer.refused is None:
            self.counts["applied"] += 1
        else:
            await self._put_aside(job.record, answer.refused.code.value, answer.refused.detail)

    async def _answer(self, entity: str, job: Job, command: AnyCommand) -> Answer:
        record, sealing_key = job.record, job.sealing_key
        reader = self._readers[record.topic]
        pause = RETRY_SECONDS_MIN
        while True:
            if sealing_key != self._vault.sealing_key:
                # it may have waited for hours, and the key that it was sealed with is to be dropped some day
                sealing_key = self._vault.sealing_key
                command = reader.read(record.value or b"", record.source, self._vault).command
            try:
                return await self._ledger.ask(entity, command, reader.origin)
            except ActorError as error:
                self.counts["retries"] += 1
                _logger.warning("%s waits: %s", record.source, type(error).__name__)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the callers
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _put_aside(self, record: Received, reason: str, detail: str) -> None:
        await self._dead_letters.put(record, reason, detail)
        self.counts["deadLetters"] += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self._moved.set()
