"""A sale: a code is reserved, its order puts it on the line, and once that is paid the value is issued."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import sale
from actors.errors import OutcomeUnknownError, OverloadedError
from actors.settings import ActorSettings
from ledger.commands import SYSTEM, Look, Place, Sell
from persistence.errors import StorageRefusedError
from tests.unit.actors.logs import Gate, UnreliableLog, fine, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    ORDER,
    SELL,
    Stage,
    ask,
    body,
    keyed,
    paid,
    placed,
    quiet,
    refusal,
    statuses,
    types,
    until,
)

if TYPE_CHECKING:
    from actors.shard import Shard


async def test_lines_that_settle_short_are_counted_when_they_become_so_and_when_they_are_covered(
    stage: Stage, shard: Shard
) -> None:
    await ask(shard, CERTIFICATE, SELL)
    await ask(shard, ORDER, placed("1", "2"), SYSTEM)
    await ask(shard, ORDER, paid("1"), SYSTEM)
    await ask(shard, ORDER, paid("1"), SYSTEM)  # the same event again changes nothing

    short = shard.counts["coverageShort"], shard.counts["coverageMended"]
    await ask(shard, ORDER, paid("1", "2", version=2), SYSTEM)
    await quiet(shard)

    assert short == (1, 0)
    assert (shard.facts["coverageShort"], shard.facts["coverageMended"]) == (1, 1)


async def test_a_line_is_not_counted_as_short_by_a_round_that_the_log_did_not_take(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await ask(shard, ORDER, placed("1", "2"), SYSTEM)
    log.before_append.append(raising(StorageRefusedError("read-only")))

    with pytest.raises(OutcomeUnknownError):
        await ask(shard, ORDER, paid("1"), SYSTEM)

    assert shard.counts["coverageShort"] == 0


async def test_a_sale_before_its_order_is_known_waits_for_the_plan(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    sold = await ask(shard, CERTIFICATE, SELL)
    planned_at_first = body(sold)["plannedDenomination"]

    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await quiet(*stage.shards)

    assert sold.created
    assert planned_at_first is None
    shown = body(await ask(shard, CERTIFICATE, Look()))
    assert (shown["status"], shown["denomination"]) == ("Reserved", 150_000)
    assert await types(log) == ["reserved", "joined", "joined"]


async def test_a_sale_of_a_planned_line_is_issued_when_it_is_paid(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1", "2"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await ask(shard, "c:GC-0000-0002", Sell("SO-1", "2"))

    await stage.ledger.ask(ORDER, paid("1", "2"), SYSTEM)
    await quiet(*stage.shards)

    order = await stage.ledger.ask(ORDER, Look(), SYSTEM)
    assert statuses(order) == ["Activated", "Activated"]
    assert await types(log) == ["reserved", "joined", "activated"]
    assert await log.messages_waiting() == 2


async def test_a_sale_of_a_paid_line_is_issued_at_once(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)

    sold = await ask(shard, CERTIFICATE, SELL)

    assert (sold.created, body(sold)["status"]) == (True, "Active")
    await quiet(*stage.shards)
    assert statuses(await stage.ledger.ask(ORDER, Look(), SYSTEM)) == ["Activated"]
    assert await log.messages_waiting() == 1


async def test_the_same_sale_again_is_the_same_reservation(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    first = await ask(shard, CERTIFICATE, SELL)

    again = await ask(shard, CERTIFICATE, SELL)

    assert (first.created, again.created) == (True, False)
    assert again.body == first.body
    assert await types(log) == ["reserved", "joined"]


async def test_a_code_is_sold_once_whoever_asks_at_the_same_time(stage: Stage, shard: Shard) -> None:
    answers = await asyncio.gather(*(ask(shard, CERTIFICATE, Sell(f"SO-{number}", "1")) for number in range(5)))

    assert [answer.created for answer in answers].count(True) == 1
    assert [refusal(answer) for answer in answers if answer.refused] == ["CodeAlreadySold"] * 4


async def test_a_line_gets_one_code_whoever_asks_at_the_same_time(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    codes = [f"GC-0000-000{number}" for number in range(5)]

    answers = await asyncio.gather(*(ask(shard, f"c:{code}", SELL) for code in codes))
    await quiet(*stage.shards)

    assert [answer.created for answer in answers].count(True) == 1
    assert [refusal(answer) for answer in answers if answer.refused] == ["OrderLineAlreadyAllocated"] * 4
    shown = [await ask(shard, f"c:{code}", Look()) for code in codes]
    assert [answer.refused is None for answer in shown] == [answer.refused is None for answer in answers]


@pytest.mark.parametrize(
    ("order", "line", "expected"),
    [
        (placed("1"), "9", "OrderLineNotFound"),
        (placed("1", cancelled=True), "1", "OrderCancelled"),
    ],
)
async def test_what_the_order_refuses_leaves_the_code_free(
    stage: Stage, shard: Shard, log: UnreliableLog, order: Place, line: str, expected: str
) -> None:
    await stage.ledger.ask(ORDER, order, SYSTEM)

    answer = await ask(shard, CERTIFICATE, Sell("SO-1", line), keyed("k1"))

    assert refusal(answer) == expected
    assert await types(log) == []
    again = await ask(shard, CERTIFICATE, Sell("SO-1", line), keyed("k1"))
    assert (refusal(again), again.replayed) == (expected, True)


async def test_that_a_code_is_sold_comes_before_what_the_order_says(stage: Stage, shard: Shard) -> None:
    await ask(shard, CERTIFICATE, SELL)
    await stage.ledger.ask("o:SO-2", placed("1", cancelled=True), SYSTEM)

    assert refusal(await ask(shard, CERTIFICATE, Sell("SO-2", "1"))) == "CodeAlreadySold"


async def test_a_sale_is_given_again_under_its_key(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    first = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await quiet(*stage.shards)

    again = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    other = await ask(shard, CERTIFICATE, Sell("SO-1", "2"), keyed("k1", "another request"))

    assert (again.body, again.created, again.replayed) == (first.body, True, True)
    assert refusal(other) == "IdempotencyKeyReused"


async def test_the_same_sale_twice_at_once_under_one_key_happens_once(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    answers = await asyncio.gather(*(ask(shard, CERTIFICATE, SELL, keyed("k1")) for _ in range(3)))

    assert len({answer.body for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True]
    assert await types(log) == ["reserved", "joined"]


async def test_the_same_sale_twice_at_once_has_one_outcome_though_the_plan_comes_between(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    slow = Gate()
    stage.ledger.trouble.extend([fine, slow.passed])  # the first request is held up before its allocation
    first = asyncio.create_task(ask(shard, CERTIFICATE, SELL, keyed("k1")))
    await slow.reached.wait()
    second = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)

    slow.open.set()
    answers = [await first, await ask(shard, CERTIFICATE, SELL, keyed("k1"))]
    await quiet(*stage.shards)

    assert body(second)["plannedDenomination"] is None
    assert [answer.body for answer in answers] == [second.body] * 2
    assert body(await ask(shard, CERTIFICATE, Look(), SYSTEM))["denomination"] == 150_000


async def test_a_sale_ends_when_its_caller_gives_up_and_frees_its_place(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard(ActorSettings(request_timeout_seconds=0.01))
    never = Gate()
    stage.ledger.trouble.append(never.passed)

    with pytest.raises(OutcomeUnknownError, match="too long"):
        await ask(shard, CERTIFICATE, SELL)

    await until(lambda: shard.facts["sales"] == 0)
    assert await types(log) == []


async def test_too_many_sales_at_once_are_turned_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sale, "SALES_MAX", 1)
    shard = await stage.shard()
    gate = Gate()
    stage.ledger.trouble.append(gate.passed)
    first = asyncio.create_task(ask(shard, CERTIFICATE, SELL))
    await gate.reached.wait()

    with pytest.raises(OverloadedError, match="Too many sales"):
        await ask(shard, "c:GC-0000-0002", SELL)

    gate.open.set()
    assert (await first).created


async def test_a_sale_that_fails_by_a_defect_is_told_and_counted(stage: Stage, shard: Shard) -> None:
    stage.ledger.trouble.append(raising(ZeroDivisionError()))

    with pytest.raises(OutcomeUnknownError, match="operators"):
        await ask(shard, CERTIFICATE, SELL)

    assert shard.counts["defects"] == 1


async def test_a_shard_that_closes_lets_its_sales_finish(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    gate = Gate()
    stage.ledger.trouble.append(gate.passed)
    selling = asyncio.create_task(ask(shard, CERTIFICATE, SELL))
    await gate.reached.wait()

    closing = asyncio.create_task(shard.close())
    await asyncio.sleep(0)
    stage.ledger.orders = await stage.shard()  # the order's shard is another one, which goes on
    gate.open.set()
    await closing

    assert (await selling).created
    assert await types(log) == ["reserved", "joined"]


async def test_a_sale_that_is_cut_off_by_the_end_of_its_shard_is_told(stage: Stage, shard: Shard) -> None:
    gate = Gate()
    stage.ledger.trouble.append(gate.passed)
    selling = asyncio.create_task(ask(shard, CERTIFICATE, SELL))
    await gate.reached.wait()

    closing = asyncio.create_task(shard.close())
    await until(lambda: shard.facts["sales"] == 1)
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(OutcomeUnknownError, match="stopped in the middle"):
        await selling
    await asyncio.gather(closing, return_exceptions=True)
