"""A process of the service: it can be killed, paused and resumed, and its clock is its own."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import MACHINE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from tests.simulation.loop import VirtualLoop

MIDNIGHT_MS = 1_795_564_800_000
"""A midnight (UTC): runs begin a little before it or after it, so that the day of keys changes in some."""


class Machine:
    """Runs tasks.

    Args:
        name: as it stands in the trace.
        began_ms: what its clock shows when the run begins.
    """

    def __init__(self, name: str, loop: VirtualLoop, began_ms: int) -> None:
        self.name = name
        self.runs = True
        self.dead = False
        self.ahead_ms = 0
        """How far its clock is wrong."""
        self._loop = loop
        self._began_ms = began_ms
        self._left: list[asyncio.Handle] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self.context = copy_context()
        self.context.run(MACHINE.set, self)

    def clock(self) -> int:
        """Milliseconds since the epoch, as this machine believes."""
        return self._began_ms + int(self._loop.time() * 1_000) + self.ahead_ms

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Have a task run here."""
        return self._loop.create_task(coroutine, name=name, context=self.context)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Remember a task until it is done, or nobody would if the machine dies."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave(self, handle: asyncio.Handle) -> None:
        """Something is to run that cannot, now or ever."""
        self._left.append(handle)

    def pause(self) -> None:
        """As SIGSTOP."""
        self.runs = False

    def resume(self) -> None:
        """As SIGCONT; what has come meanwhile comes now."""
        if not self.dead and not self.runs:
            self.runs = True
            self.unwind()

    def kill(self) -> None:
        """As SIGKILL: nothing of it runs any more."""
        self.runs = False
        self.dead = True

    def unwind(self) -> None:
        """Have run what was left; of a machine that is dead only once the run is over."""
        left, self._left = self._left, []
        self._loop.run_again(left)
