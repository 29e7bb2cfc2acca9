"""What may happen to the network between two parts: it is slow, cut, or cut one way."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.fault.rig import Rig
from tests.fault.trial import CUT, NOTHING, STORAGE, Fault
from tests.real.network import Link, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

DELAY_SECONDS: Final = 0.2
SLOW_SECONDS: Final = 4.0
CUT_SECONDS: Final = 8.0
"""Longer than any part waits for an answer of another one."""


def slow(links: Callable[[Rig], list[Link]]) -> Callable[[Rig], AbstractAsyncContextManager[None]]:
    """Everything comes a little later, each way."""

    @asynccontextmanager
    async def broken(rig: Rig) -> AsyncIterator[None]:
        for link in links(rig):
            link.slow(DELAY_SECONDS)
        try:
            yield
        finally:
            for link in links(rig):
                link.mend()

    return broken


def cut(links: Callable[[Rig], list[Link]]) -> Callable[[Rig], AbstractAsyncContextManager[None]]:
    """Nothing comes through, and in the end the connections that were there are gone."""

    @asynccontextmanager
    async def broken(rig: Rig) -> AsyncIterator[None]:
        for link in links(rig):
            link.cut()
        try:
            yield
        finally:
            for link in links(rig):
                link.reset()
                link.mend()

    return broken


def cut_one_way(links: Callable[[Rig], list[Link]]) -> Callable[[Rig], AbstractAsyncContextManager[None]]:
    """What is asked arrives, what is answered does not, or much later."""

    @asynccontextmanager
    async def broken(rig: Rig) -> AsyncIterator[None]:
        for link in links(rig):
            link.cut(Way.BACK)
        try:
            yield
        finally:
            for link in links(rig):
                link.mend()

    return broken


@dataclass(frozen=True)
class Between:
    """Two parts."""

    name: str
    links: Callable[[Rig], list[Link]]
    sees: frozenset[str]
    goes_on: bool = False


WAYS: Final = (
    Between("clients-gateways", lambda rig: rig.clients_gateways, CUT),
    # only what is asked of the log itself goes this way, histories for instance
    Between("gateways-redis", lambda rig: [rig.gateways_redis], STORAGE, goes_on=True),
    Between("shards-redis", lambda rig: [rig.shards_redis], STORAGE),
    Between("gateways-shards", lambda rig: rig.gateways_shards, STORAGE),
    Between("bridge-kafka", lambda rig: [rig.bridge_kafka], NOTHING, goes_on=True),
)

FAULTS: Final = tuple(
    Fault[Rig](f"{way.name}-{name}", broken(way.links), way.sees, lasts_seconds=seconds, goes_on=way.goes_on)
    for way in WAYS
    for name, broken, seconds in (
        ("slow", slow, SLOW_SECONDS),
        ("cut", cut, CUT_SECONDS),
        ("cut-one-way", cut_one_way, CUT_SECONDS),
    )
)
