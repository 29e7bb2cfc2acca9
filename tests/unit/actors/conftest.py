"""No test in this folder may start Ray, and none leaves a task behind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest
import ray
import uvloop

from actors.lane import Lane
from actors.settings import ActorSettings
from tests.unit.actors.actor import NAME, TIMEOUT, TOKEN, ScriptedActor, ScriptedDirectory, listening
from tests.unit.actors.logs import UnreliableLog
from tests.unit.actors.stage import FakeClock, Stage, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from actors.shard import Shard


ON_BOTH_LOOPS = {"test_channel.py", "test_lane.py", "test_leaving.py"}
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


@pytest.fixture
async def actor() -> AsyncIterator[ScriptedActor]:
    """An actor that answers as it is told; it does not listen yet."""
    actor = ScriptedActor()
    yield actor
    await actor.server.close()


@pytest.fixture
async def directory(actor: ScriptedActor, tmp_path: Path) -> ScriptedDirectory:
    """Knows where `actor` listens."""
    return ScriptedDirectory(await listening(actor, tmp_path))


@pytest.fixture
async def make_lane(directory: ScriptedDirectory) -> AsyncIterator[Callable[..., Lane]]:
    made = []

    def make(*, mailbox_max: int = 8_192, batch_max: int = 512) -> Lane:
        settings = ActorSettings(request_timeout_seconds=TIMEOUT, mailbox_max=mailbox_max, batch_max=batch_max)
        made.append(Lane(NAME, directory, settings, TOKEN))
        return made[-1]

    yield make
    for lane in made:
        await lane.close()
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("connect ")])


@pytest.fixture
async def lane(make_lane: Callable[..., Lane]) -> Lane:
    return make_lane()
