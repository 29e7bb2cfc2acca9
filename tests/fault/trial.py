"""One fault in the middle of traffic: what clients were told, what was kept, and when they were served again."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from msgspec import Struct

from tests.real.audit import Events, examine
from tests.real.caller import Service
from tests.real.market import Market
from tests.real.traffic import Traffic

if TYPE_CHECKING:
    import subprocess

HOT: Final = 3
COLD: Final = 60
DENOMINATION: Final = 100_000
SOME: Final = 60
"""Calls that are answered before, after, and if it has to be so during a fault."""
PATIENCE_SECONDS: Final = 90.0
"""When a trial gives up; how long it took is a figure of the report, not a matter of passing."""
PAUSE_SECONDS: Final = 0.05
"""Between two calls of a client: the rate is not the point, and money has to last for the longest fault."""

TRIAL_SECONDS_MAX: Final = 300
"""Longer than any trial takes on a busy machine."""

STORAGE: Final = frozenset({"StorageUnavailable", "Overloaded"})
"""What clients see while a part behind the gateway is away."""
CUT: Final = frozenset({"ReadError", "WriteError", "RemoteProtocolError", "ConnectError", "ReadTimeout"})
"""What clients see while the gateway that they talk to is away."""
NOTHING: Final[frozenset[str]] = frozenset()


class Stack(Service, Protocol):
    """A running service whose parts can be killed."""

    def processes(self, kind: str) -> list[int]:
        """Process ids of the parts of one kind."""
        ...

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `gift-ledger` to its end."""
        ...


S = TypeVar("S", bound=Stack)
Broken = Callable[[S], AbstractAsyncContextManager[None]]
"""Breaks something at its beginning, and makes it whole at its end, as whoever runs the service would."""


@dataclass(frozen=True)
class Fault(Generic[S]):
    """Something that may happen to a running service."""

    name: str
    """Unique; the identifier of its test, and of its line in `docs/reliability.md`."""
    broken: Broken[S]
    sees: frozenset[str] = field(default=STORAGE)
    """Why attempts of clients may fail meanwhile; each of these may be repeated with the same key."""
    lasts_seconds: float = 0.0
    goes_on: bool = False
    """Whether clients are served while it lasts."""
    always: bool = False
    """Whether it is tried in `make test` too."""


class Figures(Struct, frozen=True):
    """What came of a fault."""

    fault: str
    acknowledged: int
    """Operations that a client was told of, each once however often it was sent."""
    unknown: int
    """Operations of which an attempt had an unknown outcome."""
    retried: int
    """Attempts with a key that was sent before."""
    lost: int
    doubled: int
    events: int
    """Events on Kafka about these certificates."""
    missing: int
    """Events that should be there, and are not."""
    seconds: float
    """From when the fault was over (the start of what was away, the kill of what comes back by itself) until an
    authorization of every certificate was answered."""
    saw: dict[str, int]
    """Why attempts failed, and how many."""


class Trial(Generic[S]):
    """A fault, tried on a stack.

    Args:
        stack: What is broken.
        prefix: Of its topics.
        fault: What is done to it.
    """

    def __init__(self, stack: S, prefix: str, fault: Fault[S]) -> None:
        self._stack = stack
        self._prefix = prefix
        self.fault = fault
        self.findings: list[str] = []
        """What is not as clients were told, in words."""

    async def run(self) -> Figures:
        """Do it, and hold everything against everything."""
        fault, stack = self.fault, self._stack
        async with Market(stack, self._prefix) as market:
            codes = await market.sell(HOT + COLD, DENOMINATION)
            seed = zlib.crc32(fault.name.encode())
            async with Traffic(
                stack, self._prefix, codes[:HOT], codes[HOT:], seed, pause_seconds=PAUSE_SECONDS
            ) as traffic:
                seconds = await self._break(traffic)
            events = Events(stack.bootstrap, self._prefix, [*codes, *traffic.sold])
            found = await examine(market, traffic.told, events)
        proof = await asyncio.to_thread(stack.run, "verify")
        self.findings = found.all
        if proof.returncode != 0:
            self.findings.append(proof.stdout + proof.stderr)
        return Figures(
            fault=fault.name,
            acknowledged=len(traffic.told) + len(traffic.sold),
            unknown=traffic.unknown,
            retried=traffic.repeated,
            lost=len(found.lost),
            doubled=len(found.doubled),
            events=len(events.events),
            missing=len(found.missing),
            seconds=round(seconds, 1),
            saw=dict(sorted(traffic.failed.items())),
        )

    async def _break(self, traffic: Traffic) -> float:
        """Break it in the middle of traffic, and wait until all is well; gives how long that took, in seconds."""
        await traffic.more(SOME)
        async with self.fault.broken(self._stack):
            if self.fault.goes_on:
                await traffic.more(SOME)
            await asyncio.sleep(self.fault.lasts_seconds)  # it is the time that is the fault
            over = time.monotonic()
        await traffic.all_served(PATIENCE_SECONDS)
        seconds = time.monotonic() - over
        await traffic.another_sale(PATIENCE_SECONDS)
        await traffic.more(SOME)
        return seconds
