"""An event loop whose time is virtual: when nothing is ready, it is at once the time of the next timer.

What runs on it belongs to a machine, or to the outside. A machine that was killed runs nothing any more, not even its
`finally`; one that is paused runs nothing until it is resumed, and then finds that time has passed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from tests.simulation.machine import Machine
    from tests.simulation.network import Listener, Network

STEPS_MAX = 3_000_000
"""Callbacks of one run: beyond it something spins without time going on."""

MACHINE: ContextVar[Machine | None] = ContextVar("machine", default=None)
"""Whose code is running; `None` outside of all machines."""
OUTSIDE = copy_context()
"""Where servers and ways are, which no machine takes with it."""


class StalledError(Exception):
    """Nothing is ready, and nothing will ever be; or something spins."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:  # noqa: ANN401
        self.number = number  # before it registers itself in a set
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks as asyncio does, in the same order, without waiting."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self.network: Network | None = None
        self.steps = 0
        self.ending = False
        """All machines run again, whatever they were, so that their tasks can be cancelled."""
        self._now = 0.0
        self._tasks = 0
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]
        self,
        _executor: object,
        function: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - asyncio's own signature
    ) -> asyncio.Future[Any]:
        """Run at once: there are no threads."""
        future = self.create_future()
        future.set_result(function(*args))
        return future

    async def create_server(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> Listener:
        assert self.network is not None
        assert port == 0
        return self.network.listen(factory, host)

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], _host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        assert self.network is not None
        return await self.network.connect(factory, port)

    def _new_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        self._tasks += 1
        task = NumberedTask(self._tasks, coroutine, loop=loop, context=context)  # type: ignore[arg-type]
        machine = MACHINE.get() if context is None else context.get(MACHINE)
        if machine is not None:
            machine.own(task)
        return task

    def _run_once(self) -> None:
        if not self._ready:
            self._go_on_to_the_next_timer()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle.cancelled():
                continue
            machine = handle._context.get(MACHINE)  # type: ignore[attr-defined]
            if machine is None or machine.runs or self.ending:
                self.steps += 1
                handle._run()
            else:
                machine.leave(handle)
        if self.steps > STEPS_MAX:
            raise StalledError(f"{self.steps} steps by {self._now:.3f} s")

    def _go_on_to_the_next_timer(self) -> None:
        timers = self._scheduled
        while timers and timers[0].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise StalledError("nothing is left that could happen")
        self._now = max(self._now, timers[0].when())
        while timers and timers[0].when() <= self._now:
            timer = heapq.heappop(timers)
            if not timer.cancelled():
                self._ready.append(timer)

    def run_again(self, handles: list[asyncio.Handle]) -> None:
        """Have callbacks run that were left while their machine was paused."""
        self._ready.extend(handles)

    def _write_to_self(self) -> None:
        """Nobody has to be woken: there is no other thread."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""
