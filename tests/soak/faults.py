"""What goes wrong in a soak. Whatever has a name, a beginning and an end may stand in the list."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from tests.real.stack import INBOX, RELAY, SHARD, SMS_SENDER, UP, VALKEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from tests.real.stack import RunningStack

STILL_SECONDS: Final = 6.0
"""How long a process stands still: longer than a call waits for its answer."""


class Fault(Protocol):
    """Something that can go wrong."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def broken(self) -> Callable[[RunningStack], AbstractAsyncContextManager[None]]:
        """Breaks something at its beginning; at its end nothing stands in the way of recovery any more."""
        ...

    @property
    def lasts_seconds(self) -> float:
        """How long it is left broken."""
        ...


class Break(Struct, frozen=True):
    """A fault of one process."""

    name: str
    broken: Callable[[RunningStack], AbstractAsyncContextManager[None]]
    lasts_seconds: float = 0.0


def killed(kind: str) -> Callable[[RunningStack], AbstractAsyncContextManager[None]]:
    """One process of a kind is killed (SIGKILL); whoever watches over it starts it again."""

    @asynccontextmanager
    async def broken(stack: RunningStack) -> AsyncIterator[None]:
        await asyncio.to_thread(stack.kill_one, kind)
        yield

    return broken


def still(kind: str) -> Callable[[RunningStack], AbstractAsyncContextManager[None]]:
    """One process of a kind stands still (SIGSTOP), and goes on as if nothing had been (SIGCONT)."""

    @asynccontextmanager
    async def broken(stack: RunningStack) -> AsyncIterator[None]:
        pid = (await asyncio.to_thread(stack.processes, kind))[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return broken


PARTS: Final = {
    "a shard": SHARD,
    "Valkey": VALKEY,
    "the relay": RELAY,
    "the inbox": INBOX,
    "the SMS sender": SMS_SENDER,
}

FAULTS: Final[Sequence[Fault]] = (
    *(Break(f"kill -9 of {part}", killed(kind)) for part, kind in PARTS.items()),
    *(Break(f"SIGSTOP of {part}", still(kind), STILL_SECONDS) for part, kind in PARTS.items()),
    Break("SIGSTOP of the gateway", still(UP), STILL_SECONDS),
)
