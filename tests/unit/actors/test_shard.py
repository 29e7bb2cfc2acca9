"""A shard decides in order, writes each round at once, and answers when the log has it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from actors import outcomes as stored
from actors.errors import LeavingError, OutcomeUnknownError, OverloadedError
from actors.settings import ActorSettings
from ledger.commands import SYSTEM, Allocate, Authorize, Capture, Inquire, Look, Tick
from persistence.errors import StorageRefusedError
from persistence.log import Batch, Change
from tests.unit.actors.logs import UnreliableLog, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
    ORDER,
    POS,
    Stage,
    ask,
    authorize,
    body,
    issue,
    keyed,
    records,
    refusal,
    types,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ledger.answers import Answer
    from tests.unit.actors.stage import FakeClock


async def outcomes(*calls: Awaitable[Answer]) -> list[Answer | BaseException]:
    return list(await asyncio.gather(*calls, return_exceptions=True))


async def test_commands_that_come_together_are_one_append(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.batches.clear()

    answers = await asyncio.gather(*(ask(shard, CERTIFICATE, authorize()) for _ in range(5)))

    assert [body(answer)["available"] for answer in answers] == [149_000, 148_000, 147_000, 146_000, 145_000]
    assert len(log.batches) == 1


async def test_a_round_takes_no_more_than_its_bound(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(batch_max=2))
    await issue(shard)
    log.batches.clear()

    await asyncio.gather(*(ask(shard, CERTIFICATE, authorize()) for _ in range(5)))

    assert [len(batch.changes[0].records) for batch in log.batches] == [2, 2, 1]


async def test_no_answer_is_let_out_before_the_log_has_it(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    gate = log.hold_an_append()

    asked = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()
    held_back = not asked.done()
    gate.open.set()

    assert held_back
    assert body(await asked)["status"] == "Authorized"


async def test_a_read_checks_that_the_log_has_not_moved(stage: Stage, log: UnreliableLog) -> None:
    mine, zombie = await stage.shard(), await stage.shard()
    await issue(mine)
    await ask(zombie, CERTIFICATE, Look())

    await ask(mine, CERTIFICATE, authorize(50_000))

    assert body(await ask(zombie, CERTIFICATE, Look()))["available"] == 100_000
    assert body(await ask(zombie, CERTIFICATE, Inquire()))["available"] == 100_000
    assert zombie.counts["conflicts"] == 1


async def test_a_read_of_what_is_unknown_is_refused(stage: Stage) -> None:
    shard = await stage.shard()

    assert refusal(await ask(shard, CERTIFICATE, Look())) == "CertificateNotFound"
    assert refusal(await ask(shard, ORDER, Look())) == "NotFound"


async def test_a_read_shows_what_time_has_brought_about(stage: Stage, clock: FakeClock, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(50_000, ttl_ms=60_000))

    clock.advance(61)
    shown = body(await ask(shard, CERTIFICATE, Look()))

    assert (shown["available"], shown["holds"]) == (150_000, [])
    assert (await types(log))[-1] == "hold_lapsed"


async def test_a_lost_reply_leaves_nothing_in_memory_to_be_trusted(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.lose_a_reply()

    with pytest.raises(OutcomeUnknownError, match="did not answer"):
        await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))

    answer = await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))
    assert answer.replayed
    assert body(answer)["available"] == 100_000
    assert (await types(log)).count("held") == 1


async def test_an_append_that_was_lost_on_the_way_is_made_by_the_retry(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.lose_an_append()

    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))

    answer = await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))
    assert not answer.replayed
    assert (await types(log)).count("held") == 1


async def test_an_append_that_comes_late_does_not_double_the_retry(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.lose_an_append()
    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))
    late = log.batches[-1]

    async def arrive(_: object) -> None:
        log.before_append.clear()
        await log.append(late)

    await ask(shard, CERTIFICATE, Look())  # what the late append is based on is in memory again
    log.before_append.append(arrive)
    answer = await ask(shard, CERTIFICATE, authorize(50_000), keyed("k1"))

    assert answer.replayed
    assert (await types(log)).count("held") == 1


async def test_a_log_that_refuses_writes_nothing_and_the_next_command_goes_through(
    stage: Stage, log: UnreliableLog
) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.before_append.append(raising(StorageRefusedError("read-only")))

    with pytest.raises(OutcomeUnknownError, match="refuses to write: read-only"):
        await ask(shard, CERTIFICATE, authorize())

    assert body(await ask(shard, CERTIFICATE, authorize()))["available"] == 149_000
    assert shard.counts["storage_refused"] == 1


async def test_a_load_that_fails_is_an_unknown_outcome_and_no_end(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    log.before_load.append(raising(StorageRefusedError("loading")))

    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, Look())

    assert refusal(await ask(shard, CERTIFICATE, Look())) == "CertificateNotFound"


async def test_a_defect_in_one_round_does_not_end_the_shard(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.before_append.append(raising(ZeroDivisionError()))

    with pytest.raises(OutcomeUnknownError, match="recorded for the operators"):
        await ask(shard, CERTIFICATE, authorize())

    assert body(await ask(shard, CERTIFICATE, authorize()))["available"] == 149_000
    assert shard.counts["defects"] == 1


async def test_a_command_that_raises_does_not_take_the_round_with_it(stage: Stage) -> None:
    shard = await stage.shard()
    await issue(shard)
    not_for_certificates = Allocate("1", CODE)

    first, bad, last = await outcomes(
        ask(shard, CERTIFICATE, authorize()),
        ask(shard, CERTIFICATE, not_for_certificates),
        ask(shard, CERTIFICATE, authorize()),
    )

    assert body(first)["available"] == 149_000
    assert isinstance(bad, OutcomeUnknownError)
    assert body(last)["available"] == 148_000
    assert shard.counts["defects"] == 1


async def test_a_command_that_raises_half_way_leaves_nothing_behind(
    stage: Stage, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await stage.shard()
    await issue(shard)
    hold = body(await ask(shard, CERTIFICATE, authorize(50_000)))["authorizationId"]
    written, waiting = len(await records(log)), await log.outbox_sizes()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(stored, "from_record", fail)
        with pytest.raises(OutcomeUnknownError):
            await ask(shard, CERTIFICATE, Capture(hold), keyed("k1"))

    assert len(await records(log)) == written
    assert await log.outbox_sizes() == waiting
    again = await ask(shard, CERTIFICATE, Capture(hold), keyed("k1"))
    assert (again.replayed, body(again)["balance"]) == (False, 100_000)


async def test_a_full_mailbox_turns_callers_away_at_once(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(mailbox_max=2))
    await issue(shard)
    gate = log.hold_an_append()
    first = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()
    waiting = [asyncio.create_task(ask(shard, CERTIFICATE, authorize())) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(OverloadedError, match="mailbox is full"):
        await ask(shard, CERTIFICATE, authorize())

    gate.open.set()
    assert [body(answer)["available"] for answer in await asyncio.gather(first, *waiting)] == [
        149_000,
        148_000,
        147_000,
    ]
    assert shard.facts["overloaded"] == 1


async def test_a_command_whose_caller_has_given_up_is_not_begun(
    stage: Stage, clock: FakeClock, log: UnreliableLog
) -> None:
    shard = await stage.shard(ActorSettings(request_timeout_seconds=5.0))
    await issue(shard)
    gate = log.hold_an_append()
    first = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()
    late = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await asyncio.sleep(0)

    clock.advance(5.001)
    gate.open.set()

    assert body(await first)["available"] == 149_000
    with pytest.raises(OverloadedError, match="nothing happened"):
        await late
    assert (await types(log)).count("held") == 1


async def test_a_shard_that_closes_finishes_what_it_has(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    gate = log.hold_an_append()
    first = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()
    queued = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await asyncio.sleep(0)

    closing = asyncio.create_task(shard.close())
    await asyncio.sleep(0)
    with pytest.raises(LeavingError):
        await ask(shard, CERTIFICATE, authorize())
    gate.open.set()
    await closing

    assert [body(answer)["available"] for answer in await asyncio.gather(first, queued)] == [149_000, 148_000]
    with pytest.raises(LeavingError):
        await shard.ask(CERTIFICATE, Look(), POS)


async def test_a_shard_that_is_cut_off_says_that_it_does_not_know(clock: FakeClock, log: UnreliableLog) -> None:
    shard = await Stage(clock, log, AsyncExitStack()).shard()
    running = next(task for task in asyncio.all_tasks() if task.get_name() == shard.name)
    await issue(shard)
    gate = log.hold_an_append()
    first = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await gate.reached.wait()
    queued = asyncio.create_task(ask(shard, CERTIFICATE, authorize()))
    await asyncio.sleep(0)

    running.cancel()
    in_doubt, untouched = await outcomes(first, queued)

    assert type(in_doubt) is OutcomeUnknownError
    assert type(untouched) is LeavingError
    assert len(log.batches) > 0
    with pytest.raises(LeavingError):
        await ask(shard, CERTIFICATE, authorize())


async def test_a_caller_that_went_away_does_not_trouble_the_round(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    gate = log.hold_an_append()
    gone = asyncio.create_task(shard.ask(CERTIFICATE, authorize(), POS))
    await gate.reached.wait()

    gone.cancel()
    gate.open.set()
    await asyncio.gather(gone, return_exceptions=True)

    assert body(await ask(shard, CERTIFICATE, Look()))["available"] == 149_000


async def test_a_timer_is_set_moved_and_removed_with_what_it_is_for(
    stage: Stage, clock: FakeClock, log: UnreliableLog
) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(ttl_ms=120_000))
    first = clock.now + 120_000
    assert await log.timers(range(4)) == {CERTIFICATE: first}

    clock.advance(120)
    await ask(shard, CERTIFICATE, Tick(), SYSTEM)

    expires = (await log.timers(range(4)))[CERTIFICATE]
    assert expires > first + 300 * 86_400_000
    assert (await types(log))[-1] == "hold_lapsed"


async def test_a_timer_that_another_writer_dealt_with_is_set_again(
    stage: Stage, clock: FakeClock, log: UnreliableLog
) -> None:
    """A tick moves a timer and no version, so a shard does not see that what it has set is gone."""
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(ttl_ms=120_000))
    clock.advance(120)
    await log.append(Batch((Change(CERTIFICATE, len(await records(log)), due=0),)))

    await ask(shard, CERTIFICATE, authorize(ttl_ms=600_000))

    assert await log.timers(range(4)) == {CERTIFICATE: clock.now + 600_000}


async def test_what_a_shard_says_of_itself(stage: Stage) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, Authorize(1, "EUR"))

    facts = shard.facts

    assert facts["residents"] == 2  # its order as well
    assert facts["loaded"] == 2
    assert (facts["queued"], facts["sales"], facts["errands"]) == (0, 0, 0)


async def test_idle_is_counted_from_the_last_work(stage: Stage, clock: FakeClock, log: UnreliableLog) -> None:
    shard = await stage.shard()
    started = clock.now
    clock.advance(10)
    assert shard.idle_since == started

    gate = log.hold_an_append()
    busy = asyncio.create_task(ask(shard, CERTIFICATE, Look()))
    await gate.reached.wait()
    clock.advance(10)
    while_busy = shard.idle_since
    gate.open.set()
    await busy

    assert while_busy == clock.now
    assert shard.idle_since == started + 10_000
    await until(lambda: shard.facts["queued"] == 0)
