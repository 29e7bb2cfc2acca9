"""No test in this folder may start Ray, and none leaves a task behind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest
import ray
import uvloop

from tests.unit.actors.logs import UnreliableLog
from tests.unit.actors.stage import FakeClock, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors.shard import Shard


ON_BOTH_LOOPS = {"test_channel.py", "test_lane.py"}
"""What touches transports is tested on uvloop as well: Ray runs actors on it, and its transports are its own."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("a unit test must not start Ray")

    for name in ("init", "remote", "get_actor", "kill"):
        monkeypatch.setattr(ray, name, refuse)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log(clock: FakeClock) -> UnreliableLog:
    """A log in memory that can be made to fail."""
    return UnreliableLog(clock)


@pytest.fixture
async def stage(clock: FakeClock, log: UnreliableLog) -> AsyncIterator[Stage]:
    """Makes shards over `log` that run until the end of the test; none leaves a task behind."""
    async with AsyncExitStack() as running:
        yield Stage(clock, log, running)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert [task.get_name() for task in left] == []


@pytest.fixture(params=["one shard", "two shards"])
async def shard(stage: Stage, request: pytest.FixtureRequest) -> Shard:
    """The certificates' shard; their orders live in the same one, or in another."""
    first = await stage.shard()
    if request.param == "two shards":
        stage.ledger.orders = await stage.shard()
    return first
