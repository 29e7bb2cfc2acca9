"""A log in memory that can be made to misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from persistence.errors import StorageUnavailableError
from persistence.memory import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from persistence.log import Batch, Conflict, Loaded

    Trouble = Callable[[Batch], Awaitable[None]]


class UnreliableLog(MemoryLog):
    """Misbehaves in its next appends as told, once for each that was told, and in its next loads.

    Args:
        clock: milliseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(4, clock)
        self.batches: list[Batch] = []
        """All that was asked to be written, in order."""
        self.loads: list[tuple[str, ...]] = []
        self.before_append: list[Trouble] = []
        self.after_append: list[Trouble] = []
        self.before_load: list[Callable[[], Awaitable[None]]] = []

    async def append(self, batch: Batch) -> Conflict | None:
        self.batches.append(batch)
        if self.before_append:
            await self.before_append.pop(0)(batch)
        conflict = await super().append(batch)
        if self.after_append:
            await self.after_append.pop(0)(batch)
        return conflict

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        self.loads.append(tuple(entities))
        if self.before_load:
            await self.before_load.pop(0)()
        return await super().load(entities, snapshots=snapshots)

    def lose_an_append(self) -> None:
        """The next append does not reach the server, and nobody is told."""
        self.before_append.append(raising(StorageUnavailableError("lost on the way")))

    def lose_a_reply(self) -> None:
        """The next append is written, and its answer is lost."""
        self.after_append.append(raising(StorageUnavailableError("the answer was lost")))

    def hold_an_append(self) -> Gate:
        """The next append waits before it is written, until the gate is opened."""
        gate = Gate()
        self.before_append.append(gate.passed)
        return gate


class Gate:
    """Something waits at it until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def passed(self, *_: object) -> None:
        self.reached.set()
        await self.open.wait()


def raising(error: Exception) -> Callable[..., Awaitable[None]]:
    """Return what raises `error` when it is called and awaited."""

    async def trouble(*_: object) -> None:
        raise error

    return trouble


async def fine(*_: object) -> None:
    """Stand where there is no trouble."""
