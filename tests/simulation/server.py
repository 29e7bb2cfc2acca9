"""A server outside of the service, such as Redis or Kafka: it answers calls one after the other, unless it misbehaves.

What it has taken in is never lost, as on a disk: a restart only breaks what is under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from tests.simulation.loop import MACHINE, OUTSIDE
from tests.simulation.weather import Chance, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.loop import VirtualLoop
    from tests.simulation.trace import Trace

Result = TypeVar("Result")


class Fate:
    """What becomes of one call."""

    def __init__(self, chance: Chance, *, writes: bool) -> None:
        weather = chance.weather
        self.there = chance.latency()
        self.back = chance.latency()
        self.refused = writes and chance.happens(weather.refused)
        self.lost = chance.happens(weather.lost)
        self.unanswered = chance.happens(weather.unanswered)
        self.quiet = chance.happens(0.5)
        """Whether the caller is left to wait when no answer comes, or is told that the connection broke."""
        if chance.happens(weather.belated):
            self.there += chance.between(0.0, 6.0)


class _Request:
    def __init__(self, name: str, run: Callable[[], object], fate: Fate, *, writes: bool) -> None:
        self.machine = MACHINE.get()
        self.name = name
        self.run = run
        self.fate = fate
        self.writes = writes
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()


class Server:
    """Answers.

    Args:
        name: as it stands in the trace.
        seed: decides, with `weather`, what becomes of each call.
        seconds_max: how long its callers wait.
        lost: the error of a caller that got no answer.
        refused: the error of a caller whose write was refused.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        seed: int,
        weather: Weather,
        trace: Trace,
        *,
        seconds_max: float,
        lost: Callable[[str], Exception],
        refused: Callable[[str], Exception],
    ) -> None:
        self.name = name
        self.weather = weather
        self._loop = loop
        self._seed = seed
        self._trace = trace
        self._seconds_max = seconds_max
        self._lost = lost
        self._refused = refused
        self._chances: dict[str, Chance] = {}
        self._paused: list[_Request] | None = None
        self._down = False
        self._unwilling = False

    async def call(self, name: str, run: Callable[[], Result], *, writes: bool) -> Result:
        """Have something carried out here, and wait for what comes of it.

        Raises:
            Exception: as `lost` and `refused` make them.
        """
        machine = MACHINE.get()
        who = "outside" if machine is None else machine.name
        chance = self._chances.get(who)
        if chance is None:
            chance = self._chances[who] = Chance(f"{self._seed}/{self.name}/{who}", self.weather)
        fate = Fate(chance, writes=writes)
        request = _Request(name, run, fate, writes=writes)
        if fate.lost:
            self._fail(request, "was lost on its way")
        else:
            # from here on it is on its way, whether its caller lives or not
            self._loop.call_later(fate.there, self._arrive, request, context=OUTSIDE)
        try:
            async with asyncio.timeout(self._seconds_max):
                return await request.answer  # type: ignore[return-value]
        except TimeoutError:
            self._trace.note(who, f"{self.name} does not answer {name}")
            raise self._lost(f"{self.name} did not answer in time") from None

    def pause(self) -> None:
        """It hangs: calls wait until it is resumed, and their callers give up."""
        self._paused = self._paused or []

    def resume(self) -> None:
        """What waited is carried out, in order, whether anybody still waits for it or not."""
        waiting, self._paused = self._paused or [], None
        for request in waiting:
            self._arrive(request)

    def stop(self) -> None:
        """It goes down: what waited is lost, and callers are told at once."""
        waiting, self._paused = self._paused or [], None
        self._down = True
        for request in waiting:
            self._fail(request, "was under way when the server went down")

    def start(self) -> None:
        """It is there again, with everything that it had."""
        self._down = False

    def refuse(self, *, writes: bool) -> None:
        """Whether it refuses all writes from now on, as a server does that is full or a replica."""
        self._unwilling = writes

    def recover(self) -> None:
        """Everything is well again."""
        self.start()
        self.resume()
        self.refuse(writes=False)

    def _arrive(self, request: _Request) -> None:
        fate = request.fate
        if self._down:
            self._fail(request, "found nobody")
        elif self._paused is not None:
            self._paused.append(request)
        elif request.writes and (fate.refused or self._unwilling):
            self._trace.note(self.name, f"refuses {request.name} of {_who(request)}")
            self._answer(request, self._refused(f"{self.name} writes nothing"))
        else:
            self._carry_out(request)

    def _carry_out(self, request: _Request) -> None:
        outcome: object
        try:
            outcome = request.run()
        except Exception as error:  # noqa: BLE001 - goes to whoever asked
            outcome = error
        if request.writes:
            self._trace.note(self.name, f"{request.name} of {_who(request)}: {_short(outcome)}")
        if request.fate.unanswered:
            self._fail(request, "was carried out, and its answer was lost")
        else:
            self._answer(request, outcome)

    def _fail(self, request: _Request, why: str) -> None:
        self._trace.note(self.name, f"{request.name} of {_who(request)} {why}")
        if not request.fate.quiet:
            self._answer(request, self._lost(f"{self.name}: the call {why}"))

    def _answer(self, request: _Request, outcome: object) -> None:
        machine = request.machine
        context = OUTSIDE if machine is None else machine.context
        self._loop.call_later(request.fate.back, _tell, request.answer, outcome, context=context)


def _tell(answer: asyncio.Future[object], outcome: object) -> None:
    if answer.done():
        return  # nobody waits any more
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _who(request: _Request) -> str:
    return "outside" if request.machine is None else request.machine.name


def _short(outcome: object) -> str:
    return "done" if outcome is None else f"{outcome}"[:120]
