"""Traffic for ledgers on Ray: certificates that are made active, and tills that authorize on them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.errors import ActorError, OutcomeUnknownError
from ledger.commands import SYSTEM, Activate, Authorize, Origin, Report, Reserve
from persistence import codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from actors.ports import Ledger
    from ledger.answers import Answer
    from ledger.commands import AnyCommand
    from persistence.log import Log

RUB: Final = "RUB"
DENOMINATION: Final = 1_000_000
AGAIN_SECONDS: Final = 0.05
POLL_SECONDS: Final = 0.01
WAIT_SECONDS_MAX: Final = 60.0


def body(answer: Answer) -> dict[str, Any]:
    """Return what an answer shows; it has to show something."""
    assert answer.refused is None, answer.refused
    shown: dict[str, Any] = msgspec.json.decode(answer.body)
    return shown


async def insist(ledger: Ledger, entity: str, command: AnyCommand, origin: Origin = SYSTEM) -> Answer:
    """Ask until there is an outcome, as a caller does whom a busy machine or a dead shard kept waiting.

    The command has to be one that changes nothing when it is repeated.

    Raises:
        TimeoutError: there was none for a long time.
    """
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            try:
                return await ledger.ask(entity, command, origin)
            except ActorError:
                await asyncio.sleep(AGAIN_SECONDS)


async def issue(ledger: Ledger, code: str) -> None:
    """Make an active certificate."""
    entity, order = f"c:{code}", f"SO-{code}"
    await insist(ledger, entity, Reserve(order, "1"))
    report = Report("allocate", "1", code, None, DENOMINATION, RUB, order_id=order)
    await insist(ledger, entity, report)
    answer = await insist(ledger, entity, Activate(order, "1", DENOMINATION, RUB))
    assert body(answer)["status"] == "Active"


class Till:
    """Authorizes until it is told to stop, and tries again with the same key whatever had no outcome."""

    def __init__(self, number: int, ledger: Ledger, codes: Sequence[str]) -> None:
        self.approved: dict[str, str] = {}
        """By authorization id: the idempotency key that it was asked under."""
        self.failed = 0
        """Tries that had no outcome …"""
        self.unknown = 0
        """… of which so many may have happened."""
        self.answered = asyncio.Event()
        self._number = number
        self._ledger = ledger
        self._codes = codes
        self._stopped = False

    async def run(self) -> None:
        for turn in itertools.count():
            if self._stopped:
                return
            key = f"{self._number:04}-{turn:08}"
            origin = Origin("till", "POS", key=key.encode(), fingerprint=b"the request")
            answer = await self._insist(f"c:{self._codes[turn % len(self._codes)]}", origin)
            self.approved[body(answer)["authorizationId"]] = key
            self.answered.set()

    def stop(self) -> None:
        self._stopped = True

    async def _insist(self, entity: str, origin: Origin) -> Answer:
        while True:
            try:
                return await self._ledger.ask(entity, Authorize(1, RUB), origin)
            except ActorError as error:
                self.failed += 1
                self.unknown += isinstance(error, OutcomeUnknownError)
                await asyncio.sleep(AGAIN_SECONDS)


async def history_of(log: Log, codes: Sequence[str]) -> list[bytes]:
    """Return the idempotency keys of all holds in the log, each as often as it stands there."""
    keys = []
    for code in codes:
        after = 0
        while page := await log.history(f"c:{code}", after):
            keys += [record.key for record in map(codec.decode, page) if record.held and record.key]
            after += len(page)
    return keys


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds_max: float = WAIT_SECONDS_MAX) -> None:
    """Wait until something holds that other processes bring about.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(seconds_max):
        while not await _holds(condition):  # noqa: ASYNC110 - other processes have no events for us
            await asyncio.sleep(POLL_SECONDS)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    found = condition()
    return found if isinstance(found, bool) else await found
