"""Guesses by a clock that stands still until it is moved, and windows that can be watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.faults import ProblemError
from gateway.guesses import Guesses, kept_max
from gateway.settings import GatewaySettings
from persistence.errors import StorageUnavailableError
from persistence.memory_windows import MemoryWindows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from persistence.windows import Count

HOUR = 3_600
SETTINGS = GatewaySettings(
    guess_window_seconds=HOUR, guess_address_wrong_max=4, guess_client_wrong_max=20, guess_right_per_wrong=2
)
SHOP = "shop"
HOME = "203.0.113.9"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Windows whose calls are counted, and which fail if they are told to."""

    def __init__(self, windows: MemoryWindows) -> None:
        self._windows = windows
        self.calls: Counter[str] = Counter()
        self.down = False

    async def add(self, name: str, number: int = 1) -> None:
        await self._called("add")
        await self._windows.add(name, number)

    async def count(self, name: str) -> Count:
        await self._called("count")
        return await self._windows.count(name)

    async def close(self) -> None:
        await self._windows.close()

    async def _called(self, name: str) -> None:
        self.calls[name] += 1
        await asyncio.sleep(0)
        if self.down:
            raise StorageUnavailableError("down")


class Stage:
    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.windows = Watched(MemoryWindows(settings.guess_window_seconds, kept_max(settings), self.clock))
        self.counts: Counter[str] = Counter()
        self.gateways: list[Guesses] = []

    def gateway(self) -> Guesses:
        self.gateways.append(Guesses(self.windows, self.settings, self.counts, self.clock))
        return self.gateways[-1]


@asynccontextmanager
async def opened(settings: GatewaySettings = SETTINGS) -> AsyncIterator[Stage]:
    stage = Stage(settings)
    yield stage
    for gateway in stage.gateways:
        await gateway.close()


async def wrong(guesses: Guesses, number: int = 1, address: str = HOME, client: str = SHOP) -> None:
    for _ in range(number):
        await guesses.settle(await guesses.take(client, address), wrong=True)


async def right(guesses: Guesses, number: int, address: str = HOME, client: str = SHOP, first: int = 0) -> None:
    """Have the right CVCs of different certificates be sent."""
    for code in range(first, first + number):
        guesses.right(await guesses.take(client, address), client, f"c:{code}")
    await guesses.close()


async def refused(guesses: Guesses, address: str = HOME, client: str = SHOP) -> tuple[str, int | None]:
    with pytest.raises(ProblemError) as caught:
        await guesses.take(client, address)
    return caught.value.code, caught.value.figures.get("retryAfter")


async def tries(guesses: Guesses, number: int, address: str = HOME, client: str = SHOP) -> int:
    """Send so many wrong ones at once, whose answers all take their time. Returns how many were tried."""

    async def one() -> bool:
        try:
            charge = await guesses.take(client, address)
        except ProblemError:
            return False
        for _ in range(5):
            await asyncio.sleep(0)
        await guesses.settle(charge, wrong=True)
        return True

    return sum(await asyncio.gather(*(one() for _ in range(number))))
