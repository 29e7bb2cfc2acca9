"""What is known of somebody who tries CVCs: a client, or one address of a client."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

STALE_SECONDS: Final = 5.0
"""What was found out longer ago has to be found out again before another CVC is tried."""
REFRESH_SECONDS: Final = 1.0
"""After this it is found out again while calls go on; and one that is at its limit is looked at again."""
STRIDE_PART: Final = 10
"""The part of what is allowed that one gateway lets through before it asks again what the others have let through."""
STRIDE_MIN: Final = 5
"""The least of it: less would have even a small shop's calls wait for one another."""


class Room(Enum):
    """Whether another CVC may be tried."""

    FREE = "free"
    ASK = "ask"
    """It has to be found out what the other gateways know."""
    WAIT = "wait"
    """As soon as one that is under way turns out to be right."""
    FULL = "full"


# Python 3.11 takes long to find a member in its class
FREE, ASK, WAIT, FULL = Room


class Record:
    """Wrong CVCs, and further ones that were earned by right ones, within the window.

    Attributes:
        name: of its windows.
        floor: wrong ones that anybody may have.
        wrong: those that the windows knew when they were last asked.
        earned: further wrong ones that are allowed, then and since.
        since: wrong ones that this gateway has added to the windows since.
        failed: wrong ones of this gateway that could not be added to them.
        under_way: CVCs being tried, wrong until they turn out to be right.
        right: right ones that have not earned anything yet.
        oldest_at: when the oldest wrong one leaves the window.
        read_at: when the windows were last asked; before all time if they were not.
        reading: the task that asks them.
        waiting: those who wait for one under way.
    """

    __slots__ = (
        "earned",
        "failed",
        "floor",
        "name",
        "oldest_at",
        "read_at",
        "reading",
        "right",
        "since",
        "under_way",
        "waiting",
        "wrong",
    )

    def __init__(self, name: str, floor: int) -> None:
        self.name: Final = name
        self.floor: Final = floor
        self.wrong = self.earned = self.since = self.failed = self.under_way = self.right = 0
        self.oldest_at = 0.0
        self.read_at = float("-inf")
        self.reading: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[None]] = []

    @property
    def counted(self) -> int:
        """Wrong ones as far as this gateway knows, with those that may turn out so."""
        return self.wrong + self.since + self.failed + self.under_way

    def room(self, now: float) -> Room:
        """Whether another one may be tried."""
        if now - self.read_at > STALE_SECONDS:
            return ASK
        allowed = self.floor + self.earned
        counted = self.counted
        if counted >= allowed:
            # one that was added while the windows were asked may have been counted twice
            if self.since or now - self.read_at >= REFRESH_SECONDS:
                return ASK
            return WAIT if counted - self.under_way < allowed else FULL
        not_asked_about = self.since + self.failed + self.under_way
        if not_asked_about >= stride(allowed):
            return ASK if self.since or self.failed else WAIT
        return FREE

    def is_good(self, now: float, window_seconds: float) -> bool:
        """Whether right ones have earned more than there were wrong ones, as last known within the window."""
        return self.earned > self.counted and now - self.read_at <= window_seconds

    def begin(self) -> None:
        """One is being tried."""
        self.under_way += 1

    def end(self) -> None:
        """One is no longer being tried: those who wait look again."""
        self.under_way -= 1
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        """Done once one that is under way has ended."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Somebody waits no longer."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)


def stride(allowed: int) -> int:
    """How many one gateway may have let through that the others do not know of, if so many are allowed."""
    return min(allowed, max(STRIDE_MIN, allowed // STRIDE_PART))
