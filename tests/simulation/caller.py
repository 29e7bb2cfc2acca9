"""Somebody who uses the ledger: asks, retries as he was told to, and remembers what he asked and what he was told."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from gateway.access import Call, Client
from ledger.answers import Answer
from ledger.commands import (
    AnyCommand,
    Authorize,
    Block,
    Capture,
    Inquire,
    Look,
    Origin,
    ReissueCvc,
    Sell,
    Unblock,
    Void,
)
from ledger.refusals import Refusal
from tests.simulation.loop import OUTSIDE
from tests.simulation.weather import Chance

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Gate
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.trace import Trace

PATIENCE_SECONDS = 4.0
"""After this a caller gives up on a gateway."""
LATER_SECONDS = 0.02
"""How much later he asks a second time, as a rule, if he does so before he has his answer."""

CALLS = {
    Sell: Call.AUTHORIZE,
    Authorize: Call.AUTHORIZE,
    Capture: Call.CAPTURE,
    Void: Call.VOID,
    Inquire: Call.BALANCE,
    Block: Call.BLOCK,
    Unblock: Call.UNBLOCK,
    ReissueCvc: Call.CVC,
    Look: Call.CERTIFICATE,
}
"""By which call a command comes to the ledger."""

Outcome = Answer | ActorError


def key_of(client: str) -> str:
    """Id of the API key that a client shows."""
    return f"k_{client}"


def address_of(client: str) -> bytes:
    """Where a client calls from."""
    return b"\x0a" + crc32(client.encode()).to_bytes(4)[1:]


class Attempt:
    """One request."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended = float("inf")
        self.outcome: Outcome | None = None


class Called:
    """A call with all its attempts; without a key it changes nothing."""

    def __init__(self, client: str, entity: str, command: AnyCommand, origin: Origin) -> None:
        self.client = client
        self.entity = entity
        self.command = command
        self.origin = origin
        self.attempts: list[Attempt] = []

    @property
    def began(self) -> float:
        return self.attempts[0].began

    @property
    def request(self) -> tuple[bytes, bytes]:
        """Its key, and what the key was used for."""
        return self.origin.key, self.origin.fingerprint

    @property
    def said(self) -> str:
        """The call in short."""
        command = msgspec.to_builtins(self.command)
        return f"{self.entity} {command} key {self.origin.key.hex()[:8] or 'none'}"

    @property
    def answered(self) -> list[tuple[Attempt, Answer]]:
        """The attempts that got an answer; that of a rate limit is none, it asks to come back."""
        return [
            (one, one.outcome) for one in self.attempts if isinstance(one.outcome, Answer) and not _limited(one.outcome)
        ]

    @property
    def limited(self) -> list[Attempt]:
        """The attempts that came while the CVC was locked."""
        return [one for one in self.attempts if isinstance(one.outcome, Answer) and _limited(one.outcome)]

    def given(self, at: float) -> bool:
        """Whether an attempt that had begun by then may have reached the ledger: one that was turned away has not."""
        return any(one.began <= at and not isinstance(one.outcome, OverloadedError) for one in self.attempts)


class Caller:
    """Asks, one call after the other.

    Args:
        client: who he is.
        seed: decides what he does.
    """

    def __init__(
        self, client: Client, cluster: Cluster, loop: VirtualLoop, seed: int, chance: Chance, trace: Trace
    ) -> None:
        self.name = client.name
        self.history: list[Called] = []
        self.persistent = False
        """Whether he never gives up on a call."""
        self.random = Random(f"{seed}/{client.name}")
        self._client = client
        self.cluster = cluster
        self._loop = loop
        self._chance = chance
        self._trace = trace
        self._keys = 0

    async def call(self, entity: str, command: AnyCommand) -> Answer | None:
        """Ask until there is an answer; `None`: he has given up, and does not know what came of it."""
        key = self._key(command)
        origin = self._client.origin(CALLS[type(command)], entity, command, key, address_of(self.name))
        called = Called(self.name, entity, command, origin)
        self.history.append(called)
        pause = 0.1
        while True:
            outcome = await self._ask(called)
            if isinstance(outcome, Answer) and not _limited(outcome):
                return outcome
            if not self.persistent and self.random.random() < 0.1:
                self._trace.note(self.name, f"gives up on {called.said}")
                return None
            await asyncio.sleep(pause * self.random.uniform(0.5, 1.0))
            pause = min(pause * 2, 1.0)

    def _key(self, command: AnyCommand) -> str | None:
        """A new idempotency key; now and then one that he has used before, as he should not."""
        if isinstance(command, Look | Inquire):
            return None
        if self._keys and self.random.random() < 0.03:
            return f"{self.name}-{self.random.randrange(self._keys) + 1}"
        self._keys += 1
        return f"{self.name}-{self._keys}"

    async def _ask(self, called: Called) -> Outcome:
        """One attempt, or the same one a second time before the first has its answer."""
        gates = self.cluster.gates
        attempts = [self._attempt(called, self.random.choice(gates))]
        if self.random.random() < (0.3 if isinstance(called.command, Sell) else 0.1):
            attempts.append(
                self._attempt(called, self.random.choice(gates), self.random.expovariate(1 / LATER_SECONDS))
            )
        outcomes = await asyncio.gather(*attempts)
        return next((one for one in outcomes if isinstance(one, Answer)), outcomes[0])

    async def _attempt(self, called: Called, gate: Gate, pause_seconds: float = 0.0) -> Outcome:
        await asyncio.sleep(pause_seconds)
        attempt = Attempt(self._loop.time())
        called.attempts.append(attempt)
        self._trace.note(self.name, f"asks {gate.machine.name}: {called.said}")
        attempt.outcome = outcome = await self._answer(called, gate)
        attempt.ended = self._loop.time()
        self._trace.note(self.name, f"is told {_told(outcome)}")
        return outcome

    async def _answer(self, called: Called, gate: Gate) -> Outcome:
        chance = self._chance
        await asyncio.sleep(chance.latency())
        if gate.machine.dead:
            return OverloadedError("nobody listens")
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        if not chance.happens(chance.weather.lost):
            gate.machine.start(self._served(called, gate, answer), f"request of {self.name}")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await answer
        except TimeoutError:
            return OutcomeUnknownError("the gateway did not answer")

    async def _served(self, called: Called, gate: Gate, answer: asyncio.Future[Outcome]) -> None:
        """What the gateway does with a request."""
        outcome: Outcome = OverloadedError("the gateway starts or stops")
        router = gate.router
        if router is not None:
            try:
                if self._chance.happens(0.2):
                    (outcome,) = await router.ask_many([(called.entity, called.command, called.origin)])
                else:
                    outcome = await router.ask(called.entity, called.command, called.origin)
            except ActorError as error:
                outcome = error
        if not self._chance.happens(self._chance.weather.unanswered):
            self._loop.call_later(self._chance.latency(), _tell, answer, outcome, context=OUTSIDE)


def _tell(answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)


def _limited(answer: Answer) -> bool:
    return answer.refused is not None and answer.refused.code is Refusal.RATE_LIMITED


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, ActorError):
        return f"{type(outcome).__name__}: {outcome.detail}"
    if outcome.refused is not None:
        return f"{outcome.refused.code} at version {outcome.version}{' again' if outcome.replayed else ''}"
    return f"{outcome.body.decode()}{' again' if outcome.replayed else ''}"
