"""Timers ring until their entities have dealt with them, and none holds up the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import timekeeper
from actors.errors import OutcomeUnknownError
from actors.timekeeper import Timekeeper
from ledger.answers import Answer
from ledger.commands import SYSTEM, Look, Reserve, Tick
from persistence.errors import StorageUnavailableError
from persistence.log import Batch, Change
from tests.unit.actors.logs import UnreliableLog, raising
from tests.unit.actors.stage import CERTIFICATE, ORDER, Stage, ask, authorize, body, issue, placed, types, until

if TYPE_CHECKING:
    from ledger.commands import AnyCommand, Origin
    from tests.unit.actors.stage import FakeClock

ALL = range(4)


class Bells:
    """A ledger that takes note of what rang."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.broken: set[str] = set()
        self.defect: Exception | None = None

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        assert (command, origin) == (Tick(), SYSTEM)
        self.rung.append(entity)
        if self.defect is not None:
            raise self.defect
        if entity in self.broken:
            raise OutcomeUnknownError("what is stored is damaged")
        return Answer()


async def due(log: UnreliableLog, clock: FakeClock, *entities: str) -> None:
    await log.append(Batch(tuple(Change(entity, 0, due=clock.now) for entity in entities)))


async def test_what_is_due_rings_and_what_is_not_does_not(log: UnreliableLog, clock: FakeClock) -> None:
    bells = Bells()
    keeper = Timekeeper(bells, log, ALL, clock, 0.25)
    await due(log, clock, "o:1", "o:2")
    await log.append(Batch((Change("o:later", 0, due=clock.now + 1),)))

    rung = await keeper.turn()

    assert rung == keeper.rung == 2
    assert sorted(bells.rung) == ["o:1", "o:2"]


async def test_only_its_own_partitions_ring(log: UnreliableLog, clock: FakeClock) -> None:
    await due(log, clock, *(f"o:{number}" for number in range(40)))
    first, second = Bells(), Bells()

    await Timekeeper(first, log, [0, 2], clock, 0.25).turn()
    await Timekeeper(second, log, [1, 3], clock, 0.25).turn()

    assert sorted(first.rung + second.rung) == sorted(f"o:{number}" for number in range(40))
    assert first.rung
    assert second.rung


async def test_a_timer_that_fails_is_rung_ever_more_seldom(log: UnreliableLog, clock: FakeClock) -> None:
    bells = Bells()
    bells.broken.add("o:bad")
    keeper = Timekeeper(bells, log, ALL, clock, 0.25)
    await due(log, clock, "o:bad", "o:good")

    rings = []
    for second in range(8):
        await keeper.turn()
        if "o:bad" in bells.rung:
            rings.append(second)
        assert "o:good" in bells.rung
        bells.rung.clear()
        clock.advance(1)

    assert rings == [0, 1, 3, 7]
    assert keeper.failures == 4


async def test_a_timer_that_works_again_is_rung_as_ever(log: UnreliableLog, clock: FakeClock) -> None:
    bells = Bells()
    bells.broken.add("o:1")
    keeper = Timekeeper(bells, log, ALL, clock, 0.25)
    await due(log, clock, "o:1")
    await keeper.turn()
    bells.broken.clear()
    clock.advance(1)
    await keeper.turn()

    assert await keeper.turn() == 1
    assert keeper._waiting == {}


async def test_a_timer_that_is_gone_is_forgotten(log: UnreliableLog, clock: FakeClock) -> None:
    bells = Bells()
    bells.broken.add("o:1")
    keeper = Timekeeper(bells, log, ALL, clock, 0.25)
    await due(log, clock, "o:1")
    await keeper.turn()

    await log.append(Batch((Change("o:1", 0, due=0),)))
    await keeper.turn()

    assert keeper._waiting == {}


async def test_many_that_fail_do_not_hold_up_one_that_works(
    log: UnreliableLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeper, "DUE_MAX", 3)
    bells = Bells()
    bells.broken.update(f"o:bad{number}" for number in range(3))
    keeper = Timekeeper(bells, log, ALL, clock, 0.25)
    await due(log, clock, *sorted(bells.broken))
    clock.advance(0.001)
    await due(log, clock, "o:good")

    await keeper.turn()
    await keeper.turn()

    assert "o:good" in bells.rung


async def test_it_goes_on_when_the_timers_cannot_be_read(
    log: UnreliableLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bells = Bells()
    keeper = Timekeeper(bells, log, ALL, clock, 0.0)
    await due(log, clock, "o:1")
    with monkeypatch.context() as broken:
        broken.setattr(log, "due", raising(StorageUnavailableError("gone")))
        running = asyncio.create_task(keeper.run())
        await until(lambda: keeper.failures > 0)

    await until(lambda: keeper.rung > 0)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_more_than_one_turn_takes_are_rung_without_a_pause(
    log: UnreliableLog, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeper, "DUE_MAX", 2)
    bells = Bells()
    keeper = Timekeeper(bells, log, ALL, clock, 3_600.0)
    await due(log, clock, "o:1", "o:2")

    running = asyncio.create_task(keeper.run())
    await until(lambda: len(bells.rung) >= 6)  # the log has them for ever, because nobody deals with them

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_no_rule_foresees_ends_it(log: UnreliableLog, clock: FakeClock) -> None:
    bells = Bells()
    bells.defect = ZeroDivisionError()
    await due(log, clock, "o:1")

    with pytest.raises(ZeroDivisionError):
        await Timekeeper(bells, log, ALL, clock, 0.25).run()


async def test_what_lapses_in_silence_is_recorded(stage: Stage, log: UnreliableLog, clock: FakeClock) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(50_000, ttl_ms=60_000))
    keeper = Timekeeper(stage.ledger, log, ALL, clock, 0.25)

    clock.advance(61)
    await keeper.turn()

    assert (await types(log))[-1] == "hold_lapsed"
    assert await keeper.turn() == 0


async def test_what_was_cut_off_is_finished_in_the_end(stage: Stage, log: UnreliableLog, clock: FakeClock) -> None:
    shard = await stage.shard()
    keeper = Timekeeper(stage.ledger, log, ALL, clock, 0.25)
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    stage.ledger.trouble.append(raising(OutcomeUnknownError("lost")))
    await shard.ask(CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
    await until(lambda: shard.facts["errands"] == 0)

    clock.advance(2)
    await keeper.turn()
    await until(lambda: shard.facts["errands"] == 0)

    assert body(await ask(shard, CERTIFICATE, Look()))["denomination"] == 150_000
