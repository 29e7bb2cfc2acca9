"""Calls that may tell something of a code to whoever should not know it: with a CVC, or for which one is required.

Two things are done about them. A CVC is only tried if :class:`~gateway.guesses.Guesses` allows it. And a refusal leaves
after a time that is drawn by lot: whether the certificate exists, and was in memory, is not to be seen by how long the
ledger took.
"""

import asyncio
import math
from collections.abc import Awaitable, Coroutine
from functools import partial
from random import SystemRandom
from typing import Final

from actors.errors import PepperMissingError
from gateway.access import Client
from gateway.addresses import Addresses
from gateway.exchange import Exchange
from gateway.guesses import Charge, Guesses, nothing
from ledger.answers import Answer
from ledger.commands import AnyCommand, Authorize, Inquire, Origin
from ledger.refusals import Refusal

VEIL_SECONDS_MIN: Final = 0.05
VEIL_SECONDS_MAX: Final = 0.1
"""How long a refusal is kept back: longer than the ledger takes, as a rule, and of a length that says nothing. By lot,
because timers are exact to a millisecond only, and by the rest of it could be told when the ledger had answered."""

WRONG: Final = frozenset(
    {
        Refusal.CERTIFICATE_REFUSED,
        Refusal.CVC_MISMATCH,
        Refusal.CERTIFICATE_NOT_FOUND,
        Refusal.CERTIFICATE_NOT_ACTIVE,
    }
)
"""What the ledger says to a CVC that it counts as wrong."""
VEILED: Final = WRONG | {Refusal.RATE_LIMITED}

_TRYING: Final = frozenset({Authorize, Inquire})
_lot: Final = SystemRandom()


class Trial:
    """One such call; ``charge`` is ``None`` if it has no CVC that could be wrong."""

    __slots__ = ("asked_at", "charge", "client", "entity")

    def __init__(self, client: str, entity: str, charge: Charge | None) -> None:
        self.client: Final = client
        self.entity: Final = entity
        self.charge: Final = charge
        self.asked_at: Final = asyncio.get_running_loop().time()


class Trials:
    """Sees to such calls, from before the ledger is asked until its answer may leave."""

    def __init__(self, guesses: Guesses, addresses: Addresses) -> None:
        self._guesses = guesses
        self._addresses = addresses
        self._tasks: set[asyncio.Task[None]] = set()

    def begin_now(self, exchange: Exchange, client: Client, entity: str, command: AnyCommand) -> Trial | None:
        """Begin a trial, if the CVC may be tried by what is known here; ``None``: :meth:`begin` finds out."""
        charge = None
        if has_cvc(command):
            charge = self._guesses.take_now(client.name, self.address(exchange))
            if charge is None:
                return None
        return Trial(client.name, entity, charge)

    async def begin(self, exchange: Exchange, client: Client, entity: str, command: AnyCommand) -> Trial:
        """Begin a trial, as soon as the CVC may be tried.

        Raises:
            ProblemError: it may not; nothing happened.
        """
        charge = None
        if has_cvc(command):
            charge = await self._guesses.take(client.name, self.address(exchange))
        return Trial(client.name, entity, charge)

    def address(self, exchange: Exchange) -> str:
        """What a request counts for."""
        return self._addresses.of(exchange.peer, exchange.headers)

    def follow(self, trial: Trial, asking: asyncio.Future[Answer]) -> asyncio.Future[Answer]:
        """The answer, once it may leave. Cancelling this keeps nobody from learning whether the CVC was wrong."""
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        asking.add_done_callback(partial(self._learn, trial, told))
        return told

    async def learn(self, trial: Trial, answer: Answer) -> None:
        """Return when the answer may leave, and all gateways know if the CVC was wrong."""
        if self._is_plain(trial, answer):
            return
        await self.end(trial, answer)
        await unveiled(trial)

    def end(self, trial: Trial, answer: Answer | Exception) -> Awaitable[object]:
        """Note what came of the CVC, whatever becomes of the caller; once that is done, all gateways know."""
        charge = trial.charge
        if charge is None:
            return nothing()
        refused = None if isinstance(answer, Exception) else answer.refused
        if not isinstance(answer, Exception) and refused is None:
            self._guesses.right(charge, trial.client, trial.entity)
            return nothing()
        return self._guesses.settle(charge, wrong=refused is not None and refused.code in WRONG)

    def give_up(self, trial: Trial) -> None:
        """End a trial whose outcome is not known, or that was never begun."""
        if trial.charge is not None:
            self._guesses.let_go(trial.charge)

    async def close(self) -> None:
        """Let what is being noted come to its end."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._guesses.close()

    def _is_plain(self, trial: Trial, answer: Answer) -> bool:
        """Whether the answer may leave at once: what came of the CVC is noted then."""
        if answer.refused is None:
            if trial.charge is not None:
                self._guesses.right(trial.charge, trial.client, trial.entity)
            return True
        if answer.refused.code in VEILED:
            return False
        self.give_up(trial)
        return True

    def _learn(self, trial: Trial, told: asyncio.Future[Answer], asking: asyncio.Future[Answer]) -> None:
        if asking.cancelled():
            self.give_up(trial)
            told.cancel()
        elif (error := asking.exception()) is not None:
            self.give_up(trial)
            if is_veiled(error):
                self._follow_up(self._fail(trial, error, told), "trials: not checked")
            elif not told.done():
                told.set_exception(error)
        elif self._is_plain(trial, answer := asking.result()):
            if not told.done():
                told.set_result(answer)
        else:
            self._follow_up(self._tell(trial, answer, told), "trials: a refusal")

    def _follow_up(self, what: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(what, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fail(self, trial: Trial, error: BaseException, told: asyncio.Future[Answer]) -> None:
        try:
            await unveiled(trial)
        finally:
            if not told.done():
                told.set_exception(error)

    async def _tell(self, trial: Trial, answer: Answer, told: asyncio.Future[Answer]) -> None:
        try:
            await self.learn(trial, answer)
        finally:
            if not told.done():
                told.set_result(answer)


def is_trial(command: AnyCommand, origin: Origin) -> bool:
    """Whether the command is one: all but a till's without a CVC, a sale, and what needs no CVC."""
    return type(command) in _TRYING and (origin.cvc_required or has_cvc(command))


def has_cvc(command: AnyCommand) -> bool:
    """Whether the command tries a CVC."""
    return getattr(command, "cvc", None) is not None


def is_veiled(answer: Answer | BaseException) -> bool:
    """Whether the answer to a trial is one that leaves later: when it does must not tell whether the code exists."""
    if isinstance(answer, Answer):
        return answer.refused is not None and answer.refused.code in VEILED
    return isinstance(answer, PepperMissingError)


async def unveiled(trial: Trial) -> None:
    """Return at a time after the ledger was asked that is drawn by lot; if it has passed, at a later one."""
    loop = asyncio.get_running_loop()
    when = trial.asked_at + _lot.uniform(VEIL_SECONDS_MIN, VEIL_SECONDS_MAX)
    late = loop.time() - when
    if late > 0:
        when += math.ceil(late / VEIL_SECONDS_MAX) * VEIL_SECONDS_MAX
    waiter: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at(when, _end, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
