"""Processes that are killed, or stand still."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.fault.trial import Stack

HUNG_SECONDS: Final = 6.0
"""Longer than a call waits for its answer."""


async def send(stack: Stack, kind: str, number: signal.Signals) -> int:
    """Send a signal to one part of a kind; gives its process id."""
    pid = (await asyncio.to_thread(stack.processes, kind))[0]
    os.kill(pid, number)
    return pid


def killed(kind: str) -> Callable[[Stack], AbstractAsyncContextManager[None]]:
    """A part is killed; whoever watches over it starts it again."""

    @asynccontextmanager
    async def broken(stack: Stack) -> AsyncIterator[None]:
        await send(stack, kind, signal.SIGKILL)
        yield

    return broken


def frozen(kind: str) -> Callable[[Stack], AbstractAsyncContextManager[None]]:
    """A part stands still, and goes on as if nothing had been."""

    @asynccontextmanager
    async def broken(stack: Stack) -> AsyncIterator[None]:
        pid = await send(stack, kind, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return broken
