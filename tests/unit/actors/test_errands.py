"""What entities owe each other is done at once, and if that fails when their timers ring."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from actors.errands import AT_ONCE_MAX
from ledger.commands import SYSTEM, Look, Reserve, Sell, Tick
from ledger.identifiers import is_certificate
from tests.unit.actors.logs import Gate, UnreliableLog, fine, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    LOST,
    ORDER,
    SELL,
    Stage,
    ask,
    body,
    paid,
    placed,
    quiet,
    statuses,
    types,
)

if TYPE_CHECKING:
    from actors.shard import Shard
    from tests.unit.actors.stage import FakeClock


async def test_a_reservation_that_nobody_pays_lapses(
    stage: Stage, shard: Shard, clock: FakeClock, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)

    clock.advance(24 * 3_600)
    await ask(shard, CERTIFICATE, Tick(), SYSTEM)
    await quiet(*stage.shards)

    assert await types(log) == ["reserved", "joined", "released"]
    assert statuses(await stage.ledger.ask(ORDER, Look(), SYSTEM)) == ["Planned"]


async def test_what_the_order_could_not_tell_is_told_at_the_next_tick(
    stage: Stage, shard: Shard, clock: FakeClock, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    orders = stage.ledger.orders
    assert orders is not None

    stage.ledger.trouble.extend([fine, raising(LOST)])
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await quiet(*stage.shards)
    assert orders.counts["errands_failed"] == 1
    assert ORDER in await log.timers(range(4))

    clock.advance(3)
    await stage.ledger.ask(ORDER, Tick(), SYSTEM)
    await quiet(*stage.shards)

    assert await types(log) == ["reserved", "joined", "activated"]
    clock.advance(3)
    await stage.ledger.ask(ORDER, Tick(), SYSTEM)
    assert ORDER not in await log.timers(range(4))


async def test_a_change_during_an_errand_is_looked_at_afterwards(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1", "2"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)
    await stage.ledger.ask(ORDER, placed("1", "2", planned=200_000, version=2), SYSTEM)
    await quiet(*stage.shards)

    gate = Gate()
    stage.ledger.trouble.extend([fine, gate.passed])
    await stage.ledger.ask(ORDER, placed("1", "2", planned=300_000, version=3), SYSTEM)
    await gate.reached.wait()
    await stage.ledger.ask(ORDER, placed("1", "2", planned=400_000, version=4), SYSTEM)
    gate.open.set()
    await quiet(*stage.shards)

    assert body(await ask(shard, CERTIFICATE, Look()))["denomination"] == 400_000


async def test_an_order_that_is_cancelled_while_its_errands_wait_their_turn_issues_no_more(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    lines = [str(number) for number in range(AT_ONCE_MAX + 3)]
    await stage.ledger.ask(ORDER, placed(*lines), SYSTEM)
    for line in lines:
        await ask(shard, f"c:GC-0000-{line:0>4}", Sell("SO-1", line))
    await quiet(*stage.shards)
    gate = Gate()
    stage.ledger.trouble.extend([fine, *[gate.passed] * AT_ONCE_MAX])
    await stage.ledger.ask(ORDER, paid(*lines), SYSTEM)
    await gate.reached.wait()
    await stage.ledger.ask(ORDER, placed(version=2, cancelled=True), SYSTEM)
    gate.open.set()
    await quiet(*stage.shards)

    told = Counter(type(command).__name__ for entity, command in stage.ledger.asked if is_certificate(entity))
    assert (told["Activate"], told["Release"]) == (AT_ONCE_MAX, 3)
    shown = statuses(await stage.ledger.ask(ORDER, Look(), SYSTEM))
    assert Counter(shown) == {"Activated": AT_ONCE_MAX, "Cancelled": 3}


async def test_an_errand_of_an_entity_that_left_memory_while_it_waited_is_left_to_the_timer(
    stage: Stage, shard: Shard, clock: FakeClock, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    orders = stage.ledger.orders
    assert orders is not None
    with monkeypatch.context() as gone:
        look = orders.look_at
        gone.setattr(orders, "look_at", lambda _: None)
        await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
        look(ORDER)
        gone.setattr(orders, "state_of", lambda _: None)
        await quiet(*stage.shards)
    assert await types(log) == ["reserved", "joined"]

    clock.advance(3)
    await stage.ledger.ask(ORDER, Tick(), SYSTEM)
    await quiet(*stage.shards)

    assert await types(log) == ["reserved", "joined", "activated"]


async def test_an_errand_that_fails_by_a_defect_is_counted_and_left_to_the_timer(
    stage: Stage, shard: Shard, caplog: pytest.LogCaptureFixture
) -> None:
    await shard.ask(CERTIFICATE, Look(), SYSTEM)
    stage.ledger.trouble.append(raising(ZeroDivisionError()))

    await shard.ask(CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
    await quiet(*stage.shards)

    assert shard.counts["defects"] == 1
    assert "allocate for o:SO-1 failed" in caplog.text


async def test_a_shard_that_closes_begins_no_more_errands(stage: Stage, shard: Shard) -> None:
    gate = Gate()
    stage.ledger.trouble.append(gate.passed)
    await shard.ask(CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
    await gate.reached.wait()
    shard.look_at(CERTIFICATE)  # again, while it runs

    await shard.close()

    assert shard.facts["errands"] == 0
    shard.look_at(CERTIFICATE)
    assert shard.facts["errands"] == 0


async def test_errands_beyond_the_bound_are_left_to_their_timers(
    stage: Stage, shard: Shard, monkeypatch: pytest.MonkeyPatch, log: UnreliableLog
) -> None:
    monkeypatch.setattr("actors.errands.ENTITIES_MAX", 1)
    gate = Gate()
    stage.ledger.trouble.append(gate.passed)
    await shard.ask(CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
    await gate.reached.wait()

    await shard.ask("c:GC-0000-0002", Reserve("SO-1", "2"), SYSTEM)

    assert shard.facts["errands"] == 1
    assert "c:GC-0000-0002" in await log.timers(range(4))
    gate.open.set()


async def test_what_left_memory_owes_nothing_until_its_timer_rings(
    stage: Stage, shard: Shard, clock: FakeClock, log: UnreliableLog
) -> None:
    stage.ledger.trouble.append(raising(LOST))
    await shard.ask(CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
    await quiet(*stage.shards)
    clock.advance(700)
    await shard.passivate()

    shard.look_at(CERTIFICATE)
    nothing_yet = await types(log)
    await shard.ask(CERTIFICATE, Tick(), SYSTEM)
    await quiet(*stage.shards)

    assert nothing_yet == ["reserved"]
    assert await types(log) == ["reserved", "joined"]
