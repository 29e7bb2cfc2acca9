"""What a shard holds in memory: read when touched, let go when cold, and never while a round works on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError
from actors.settings import ActorSettings
from actors.shard import PASSIVATED_MAX
from ledger.commands import Look
from persistence import codec
from persistence.log import AttemptsChange, Batch, Change
from tests.unit.actors.stage import CERTIFICATE, CODE, Stage, ask, authorize, body, issue, refusal

if TYPE_CHECKING:
    from tests.unit.actors.logs import UnreliableLog
    from tests.unit.actors.stage import FakeClock

OTHER = "c:GC-0000-0002"


async def test_what_is_cold_is_let_go_and_read_again(stage: Stage, clock: FakeClock, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(idle_seconds=600))
    await issue(shard)
    clock.advance(599)
    await ask(shard, OTHER, Look())
    clock.advance(2)
    log.loads.clear()

    let_go = await shard.passivate()

    assert let_go == 2  # the certificate, and the order that it was sold with
    assert shard.state_of(OTHER) is not None
    assert body(await ask(shard, CERTIFICATE, Look()))["available"] == 150_000
    assert log.loads == [(CERTIFICATE,)]


async def test_of_too_many_the_longest_idle_are_let_go(stage: Stage) -> None:
    shard = await stage.shard(ActorSettings(residents_max=2))
    entities = [f"c:GC-0000-000{number}" for number in range(4)]
    for entity in (*entities, entities[1]):
        await ask(shard, entity, Look())

    let_go = await shard.passivate()

    assert let_go == 2
    assert [entity for entity in entities if shard.state_of(entity)] == [entities[1], entities[3]]


async def test_what_is_hot_and_not_too_much_stays(stage: Stage) -> None:
    shard = await stage.shard()
    await ask(shard, CERTIFICATE, Look())

    assert await shard.passivate() == 0
    assert shard.state_of(CERTIFICATE) is not None


async def test_no_more_than_a_bounded_number_is_let_go_at_once(stage: Stage, clock: FakeClock) -> None:
    shard = await stage.shard()
    await asyncio.gather(*(ask(shard, f"c:GC-{number:08}", Look()) for number in range(PASSIVATED_MAX + 7)))
    clock.advance(700)

    assert await shard.passivate() == PASSIVATED_MAX
    assert await shard.passivate() == 7


async def test_what_a_round_waits_to_write_is_not_let_go(stage: Stage, clock: FakeClock, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(residents_max=1))
    await issue(shard)
    gate = log.hold_an_append()
    asked = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()

    clock.advance(700)
    await shard.passivate()
    gate.open.set()

    assert body(await asked)["available"] == 149_000
    assert body(await ask(shard, CERTIFICATE, authorize()))["available"] == 148_000
    assert shard.counts["defects"] == 0


async def test_what_a_round_is_about_to_decide_on_is_not_let_go(
    stage: Stage, clock: FakeClock, log: UnreliableLog
) -> None:
    shard = await stage.shard()
    await issue(shard)
    reading = asyncio.Event()
    go_on = asyncio.Event()

    async def slow() -> None:
        reading.set()
        await go_on.wait()

    log.before_load.append(slow)
    clock.advance(700)
    asked = asyncio.gather(ask(shard, CERTIFICATE, authorize()), ask(shard, OTHER, Look()))
    await reading.wait()

    await shard.passivate()
    go_on.set()

    authorized, unknown = await asked
    assert body(authorized)["available"] == 149_000
    assert refusal(unknown) == "CertificateNotFound"


async def test_a_long_tail_leaves_a_snapshot_and_a_short_one_does_not(
    stage: Stage, clock: FakeClock, log: UnreliableLog
) -> None:
    shard = await stage.shard(ActorSettings(passivation_tail=8))
    await issue(shard)
    await issue(shard, "GC-0000-0002")
    for _ in range(5):
        await ask(shard, CERTIFICATE, authorize())
    clock.advance(700)

    await shard.passivate()

    snapshot = await log.snapshot(CERTIFICATE)
    assert snapshot is not None
    assert snapshot[0] == 8
    assert await log.snapshot(OTHER) is None
    assert body(await ask(shard, CERTIFICATE, Look()))["available"] == 145_000


async def test_a_snapshot_is_written_every_so_many_records(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(snapshot_every=5))
    await issue(shard)

    for _ in range(40):
        await ask(shard, CERTIFICATE, authorize())

    snapshots = [change.snapshot for batch in log.batches for change in batch.changes if change.snapshot]
    versions = [int(snapshot.partition(b"|")[0]) for snapshot in snapshots]
    assert versions == [5, 10, 15, 20, 26, 34]  # a large one more seldom, but never much more seldom than it grows


async def test_a_snapshot_of_another_version_of_the_program_is_passed_over(
    stage: Stage, clock: FakeClock, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await stage.shard(ActorSettings(passivation_tail=1))
    await issue(shard)
    clock.advance(700)
    with monkeypatch.context() as older:
        older.setattr(codec, "SNAPSHOT_SCHEMA", 0)
        await shard.passivate()

    shown = body(await ask(shard, CERTIFICATE, Look()))

    assert shown["available"] == 150_000
    assert (await log.load([CERTIFICATE]))[0].snapshot_version == 3


@pytest.mark.parametrize("damage", ["record", "attempts"])
async def test_what_is_damaged_answers_that_and_harms_nobody_else(
    stage: Stage, log: UnreliableLog, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    shard = await stage.shard()
    await issue(shard, "GC-0000-0002")
    if damage == "record":
        await log.append(Batch((Change(CERTIFICATE, 0, (b"not a record at all",)),)))
    else:
        await log.append(Batch(attempts=(AttemptsChange(CODE, None, b"\xff", 60_000),)))

    bad, good = await asyncio.gather(
        ask(shard, CERTIFICATE, Look()), ask(shard, OTHER, authorize()), return_exceptions=True
    )

    assert isinstance(bad, OutcomeUnknownError)
    assert "damaged" in str(bad)
    assert body(good)["available"] == 149_000
    assert shard.counts["damaged"] == 1
    assert CERTIFICATE in caplog.text


async def test_what_was_damaged_is_told_once_even_if_the_append_fails(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard, "GC-0000-0002")
    await log.append(Batch((Change(CERTIFICATE, 0, (b"not a record at all",)),)))
    log.lose_a_reply()

    outcomes = await asyncio.gather(
        ask(shard, CERTIFICATE, Look()), ask(shard, OTHER, authorize()), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknownError, OutcomeUnknownError]
