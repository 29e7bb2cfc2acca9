"""What one actor process runs: opened in order, closed in order, and serving in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from actors import host as hosts
from actors.errors import OutcomeUnknownError
from actors.host import HostSettings, LocalFirst, ShardHost, wall_clock
from actors.router import Router
from actors.settings import ActorSettings
from ledger.codes import Salable
from ledger.commands import SYSTEM, Look
from ledger.policy import Policy
from persistence.codes import MemoryCodeStore
from persistence.errors import StorageUnavailableError
from tests.unit.actors.actor import NAME, TOKEN, ScriptedDirectory
from tests.unit.actors.logs import UnreliableLog, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
    ORDER,
    POS,
    SELL,
    VAULT,
    Stage,
    authorize,
    body,
    paid,
    placed,
    refusal,
    types,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from persistence.log import Log
    from tests.unit.actors.stage import FakeClock


class Setting:
    """A host with the way to it."""

    def __init__(self, host: ShardHost, router: Router, running: asyncio.Task[None]) -> None:
        self.host = host
        self.router = router
        self.running = running


@asynccontextmanager
async def hosted(
    log: Log, clock: FakeClock, folder: Path, name: str = NAME, settings: ActorSettings | None = None
) -> AsyncIterator[Setting]:
    """Run a host until the end of the block."""
    settings = settings or ActorSettings(run_dir=str(folder / "run"), timer_poll_seconds=0.001)
    directory = ScriptedDirectory()
    partitions = () if name.startswith("certificate:") else tuple(range(log.partitions))

    async def opened() -> Log:
        return log

    boot = HostSettings(name=name, partitions=partitions, actors=settings, policy=Policy())
    host = ShardHost(boot, opened, VAULT, directory, TOKEN, clock)
    async with Router(directory, settings, TOKEN) as router:
        running = asyncio.create_task(host.run(), name="host")
        await host.started.wait()
        directory.place = host.address
        try:
            yield Setting(host, router, running)
        finally:
            host.stop()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("channel", ["unix", "tcp"])
async def test_a_host_serves_the_whole_way_of_a_certificate(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, channel: str
) -> None:
    settings = ActorSettings(
        run_dir=str(tmp_path / "run"),
        timer_poll_seconds=0.001,
        channel="tcp" if channel == "tcp" else "unix",
    )
    async with hosted(log, clock, tmp_path, settings=settings) as setting:
        ask = setting.router.ask
        await ask(ORDER, placed("1"), SYSTEM)
        await ask(ORDER, paid("1"), SYSTEM)
        sold = await ask(CERTIFICATE, SELL, POS)
        held = await ask(CERTIFICATE, authorize(50_000, ttl_ms=60_000), POS)
        clock.advance(61)
        await until(lambda: setting.host.report().facts["timersRung"] != 0)
        report = setting.host.report()

    assert body(sold)["status"] == "Active"
    assert body(held)["available"] == 100_000
    assert (report.name, report.kind, report.state) == (NAME, "shard", "ALIVE")
    assert report.address.startswith(f"{channel}:")
    assert report.facts["residents"] == 2
    assert report.facts["uptimeSeconds"] == 61
    assert (await types(log))[-1] == "hold_lapsed"
    assert setting.host.report().state == "STOPPING"


async def test_nothing_is_left_of_a_host_that_stopped(log: UnreliableLog, clock: FakeClock, tmp_path: Path) -> None:
    async with hosted(log, clock, tmp_path) as setting:
        await setting.router.ask(CERTIFICATE, Look(), SYSTEM)
        assert len(list((tmp_path / "run").iterdir())) == 1

        setting.host.stop()
        await setting.running

        assert list((tmp_path / "run").iterdir()) == []
        assert not setting.host.started.is_set()


async def test_a_host_that_stops_finishes_what_is_under_way(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path
) -> None:
    async with hosted(log, clock, tmp_path) as setting:
        await setting.router.ask(ORDER, placed("1"), SYSTEM)
        gate = log.hold_an_append()
        asked = asyncio.create_task(setting.router.ask(ORDER, paid("1"), SYSTEM))
        await gate.reached.wait()

        setting.host.stop()
        await until(lambda: not setting.host.started.is_set())
        gate.open.set()
        await setting.running

        assert (await asked).version == 2


async def test_a_host_whose_log_hangs_stops_all_the_same(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "CLOSE_SECONDS_MAX", 0.01)
    async with hosted(log, clock, tmp_path) as setting:
        gate = log.hold_an_append()
        asked = asyncio.create_task(setting.router.ask(ORDER, placed("1"), SYSTEM))
        await gate.reached.wait()

        setting.host.stop()
        await setting.running

        with pytest.raises(OutcomeUnknownError):
            await asked


async def test_a_log_that_is_not_there_yet_is_waited_for(log: UnreliableLog, clock: FakeClock, tmp_path: Path) -> None:
    tries = []

    async def opened() -> Log:
        tries.append(1)
        if len(tries) == 1:
            raise StorageUnavailableError("starting")
        return log

    settings = ActorSettings(run_dir=str(tmp_path))
    boot = HostSettings(name=NAME, partitions=(0,), actors=settings, policy=Policy())
    host = ShardHost(boot, opened, VAULT, ScriptedDirectory(), None, clock)
    starting = host.report().state
    running = asyncio.create_task(host.run())

    await host.started.wait()

    assert starting == "STARTING"
    assert len(tries) == 2
    host.stop()
    await running


async def test_a_host_that_waits_for_its_log_can_be_stopped(clock: FakeClock, tmp_path: Path) -> None:
    settings = ActorSettings(run_dir=str(tmp_path))
    boot = HostSettings(name=NAME, partitions=(0,), actors=settings, policy=Policy())
    host = ShardHost(boot, raising(StorageUnavailableError("gone")), VAULT, ScriptedDirectory(), None, clock)  # type: ignore[arg-type]  # it opens nothing
    running = asyncio.create_task(host.run())
    await asyncio.sleep(0)

    host.stop()

    await running
    assert not host.started.is_set()


async def test_a_host_whose_helpers_die_ends_with_their_error(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosted(log, clock, tmp_path) as setting:
        monkeypatch.setattr(log, "due", raising(ZeroDivisionError()))

        with pytest.raises(ExceptionGroup) as raised:
            await setting.running

    assert raised.group_contains(ZeroDivisionError)


async def test_the_actor_of_one_certificate_leaves_when_it_is_idle(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PASSIVATION_SECONDS", 0.0)
    async with hosted(log, clock, tmp_path, "certificate:GC-7K2M-9QXA") as setting:
        await setting.router.ask(CERTIFICATE, Look(), SYSTEM)
        assert setting.host.settings.kind == "certificate"
        assert not setting.running.done()

        clock.advance(601)
        await setting.running


async def test_the_actor_of_one_certificate_that_was_not_asked_yet_is_not_idle(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PASSIVATION_SECONDS", 0.0)
    async with hosted(log, clock, tmp_path, "certificate:GC-7K2M-9QXA") as setting:
        for _ in range(20):
            await asyncio.sleep(0)

        assert not setting.running.done()


async def test_a_shard_stays_however_idle_it_is(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PASSIVATION_SECONDS", 0.0)
    async with hosted(log, clock, tmp_path) as setting:
        await setting.router.ask(CERTIFICATE, Look(), SYSTEM)
        clock.advance(601)
        await until(lambda: setting.host.report().facts["residents"] == 0)

        assert not setting.running.done()


async def test_a_snapshot_that_cannot_be_written_is_no_reason_to_end(
    log: UnreliableLog, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "PASSIVATION_SECONDS", 0.0)
    settings = ActorSettings(run_dir=str(tmp_path / "run"), passivation_tail=1, timer_poll_seconds=60.0)
    async with hosted(log, clock, tmp_path, settings=settings) as setting:
        await setting.router.ask(ORDER, placed("1"), SYSTEM)
        log.lose_an_append()
        clock.advance(601)
        await until(lambda: not log.before_append)

        assert (await setting.router.ask(ORDER, Look(), SYSTEM)).refused is None


async def test_what_is_the_shards_own_is_asked_directly_and_all_else_through_the_router(stage: Stage) -> None:
    shard = await stage.shard()
    directory = ScriptedDirectory()
    elsewhere = stage.ledger
    ledger = LocalFirst(NAME, directory, elsewhere)
    await ledger.ask(CERTIFICATE, Look(), SYSTEM)  # the shard is not there yet
    ledger.shard = shard

    await ledger.ask(CERTIFICATE, Look(), SYSTEM)
    directory.knows_at_once = False
    await ledger.ask(ORDER, Look(), SYSTEM)

    assert [entity for entity, _ in elsewhere.asked] == [CERTIFICATE, ORDER]


def test_the_wall_clock_counts_milliseconds() -> None:
    assert 1_700_000_000_000 < wall_clock() < 4_000_000_000_000


async def test_imported_codes_are_closed_with_the_host(log: UnreliableLog, clock: FakeClock, tmp_path: Path) -> None:
    closed: list[bool] = []

    class Batches(MemoryCodeStore):
        async def close(self) -> None:
            closed.append(True)

    async def opened() -> Log:
        return log

    settings = ActorSettings(run_dir=str(tmp_path / "run"))
    directory = ScriptedDirectory()
    policy = Policy(codes=Salable.IMPORTED)
    boot = HostSettings(name=NAME, partitions=(0,), actors=settings, policy=policy)
    host = ShardHost(boot, opened, VAULT, directory, TOKEN, clock, Batches([CODE]))
    running = asyncio.create_task(host.run(), name="host")
    await host.started.wait()
    directory.place = host.address

    async with Router(directory, settings, TOKEN) as router:
        sold = await router.ask(CERTIFICATE, SELL, POS)
        refused = await router.ask("c:GC-MADE-UP", SELL, POS)
    before = list(closed)
    host.stop()
    await running

    assert body(sold)["status"] == "Reserved"
    assert refusal(refused) == "CodeNotForSale"
    assert (before, closed) == ([], [True])
