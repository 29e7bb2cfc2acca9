"""The load generator: flows on a schedule over some connections, measured without coordinated omission.

It is one thread around one ``epoll``. A flow begins when its schedule says; if no connection is free then, it waits
here, and its latency goes on counting. Tools that wait for an answer before they look at the clock again leave out
just the requests that a slow system would have kept waiting.
"""

import select
import threading
from collections import deque
from contextlib import ExitStack
from time import monotonic_ns
from typing import Final

from msgspec import Struct

from gift_ledger.bench.latencies import Latencies
from gift_ledger.bench.requests import Address, Answer, Plan
from gift_ledger.bench.schedule import SECOND_NS, Schedule
from gift_ledger.bench.timer import Timer
from gift_ledger.bench.wire import Wire, WireError

DRAIN_SECONDS_MAX: Final = 10.0
"""How long after the last flow has begun answers are waited for; what has not come then counts as lost."""
_POLL_SECONDS_MAX: Final = 0.1
"""How soon ``stop`` is seen when nothing comes."""
_REFUSED: Final = 300
_SAMPLES: Final = 3
_NEVER: Final = 1 << 62


class Load(Struct, kw_only=True):
    """What came of it."""

    latencies: Latencies
    """Of the flows that completed, from when they were to begin to their last answer."""
    seconds: float = 0.0
    """From the first flow's beginning to the last answer."""
    requests: int = 0
    """Answers of 2xx."""
    refused: int = 0
    """Flows that got another answer."""
    lost: int = 0
    """Flows that got no answer, or were never sent because the system was too slow for the schedule."""
    refusals: list[str] = []
    """The first few of the refusals."""

    @property
    def flows_per_second(self) -> float:
        """Completed flows."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0


class Generator:
    """Carries out a plan once.

    Args:
        address: where to.
        plan: what to ask.
        connections: how many.
        schedule: when.
        stop: ends it early.
        drain_seconds_max: see :data:`DRAIN_SECONDS_MAX`.
    """

    def __init__(
        self,
        address: Address,
        plan: Plan,
        schedule: Schedule,
        *,
        connections: int,
        stop: threading.Event | None = None,
        drain_seconds_max: float = DRAIN_SECONDS_MAX,
    ) -> None:
        self._address = address
        self._plan = plan
        self._schedule = schedule
        self._connections = connections
        self._stop = stop or threading.Event()
        self._drain_ns = round(drain_seconds_max * SECOND_NS)
        self._load = Load(latencies=Latencies())
        self._wires: dict[int, Wire] = {}
        self._free: deque[Wire] = deque()
        self._numbers = 0

    def run(self) -> Load:
        """Do it; blocks until all is answered, or time is up.

        Raises:
            OSError: nobody listens at the address.
            WireError: all connections were lost.
        """
        with ExitStack() as closing:
            self._poll = select.epoll()
            closing.callback(self._poll.close)
            self._timer = closing.enter_context(Timer())
            self._poll.register(self._timer.fileno, select.EPOLLIN)
            for _ in range(self._connections):
                wire = Wire(self._address)
                closing.callback(wire.close)
                self._wires[wire.fileno] = wire
                self._free.append(wire)
                self._poll.register(wire.fileno, wire.events)
            self._carry_out()
        return self._load

    def _carry_out(self) -> None:
        schedule, began = self._schedule, monotonic_ns()
        drained_at = 0
        schedule.begin(began)
        self._begin_due(began)
        while not self._stop.is_set():
            for fileno, event in self._poll.poll(_POLL_SECONDS_MAX):
                wire = self._wires.get(fileno)
                if wire is not None:
                    self._advance(wire, event)
            now = monotonic_ns()
            self._begin_due(now)
            if schedule.over(now):
                drained_at = drained_at or now + self._drain_ns
                if len(self._free) == len(self._wires) or now > drained_at:
                    break
            elif (at := schedule.next_at()) is not None and now - at > self._drain_ns:
                break  # it falls further and further behind: no answer would come in time any more
        ended = monotonic_ns()
        self._load.lost += len(self._wires) - len(self._free) + schedule.left()
        self._load.seconds = (ended - began) / SECOND_NS

    def _begin_due(self, now: int) -> None:
        """Begin what is due, as far as there are connections for it, and have the timer ring for the next one."""
        free, schedule = self._free, self._schedule
        while free:
            at = schedule.take(now)
            if at is None:
                break
            wire = free.popleft()
            wire.number, wire.intended_ns = self._numbers, at
            self._numbers += 1
            self._send(wire, self._plan.first(wire.number))
        next_at = schedule.next_at() if free else None
        self._timer.wake_at(_NEVER if next_at is None else next_at)

    def _advance(self, wire: Wire, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                wire.flush()
                self._poll.modify(wire.fileno, wire.events)
            answer = wire.receive() if event & ~select.EPOLLOUT else None
        except WireError as error:
            self._lose(wire, error)
            return
        if answer is not None:
            self._answered(wire, answer)

    def _answered(self, wire: Wire, answer: Answer) -> None:
        load = self._load
        if answer.status >= _REFUSED:
            load.refused += 1
            if len(load.refusals) < _SAMPLES:
                load.refusals.append(f"{answer.status} {answer.body[:300].decode(errors='replace')}")
            self._free.append(wire)
            return
        load.requests += 1
        following = self._plan.then(wire.number, answer)
        if following is not None:
            self._send(wire, following)
            return
        load.latencies.add(monotonic_ns() - wire.intended_ns)
        self._free.append(wire)

    def _send(self, wire: Wire, request: bytes) -> None:
        try:
            wire.send(request)
        except WireError as error:
            self._lose(wire, error)
            return
        if wire.events & select.EPOLLOUT:
            self._poll.modify(wire.fileno, wire.events)

    def _lose(self, wire: Wire, error: WireError) -> None:
        """Go on without a connection that is gone."""
        self._poll.unregister(wire.fileno)
        del self._wires[wire.fileno]
        if wire in self._free:
            self._free.remove(wire)
        else:
            self._load.lost += 1
        if not self._wires:
            raise error
