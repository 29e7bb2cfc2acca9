"""A sale that is cut off, refused or overtaken between two of its steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError, OverloadedError
from ledger.commands import SYSTEM, Look, Release, Reserve
from tests.unit.actors.logs import UnreliableLog, fine, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    LOST,
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
)

if TYPE_CHECKING:
    from actors.shard import Shard
    from ledger.answers import Answer
    from persistence.log import Batch


@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize("paid_before", [False, True])
@pytest.mark.parametrize("lost", ["append", "reply"])
async def test_a_sale_that_was_cut_off_anywhere_is_finished_by_the_retry(
    stage: Stage, shard: Shard, log: UnreliableLog, step: int, lost: str, *, paid_before: bool
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    if paid_before:
        await stage.ledger.ask(ORDER, paid("1"), SYSTEM)

    (log.before_append if lost == "append" else log.after_append).extend([fine] * step)
    log.lose_an_append() if lost == "append" else log.lose_a_reply()

    try:
        first = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    except OutcomeUnknownError:
        first = None
    log.before_append.clear()
    log.after_append.clear()
    answer = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await quiet(*stage.shards)

    assert answer.created
    assert body(answer)["status"] == ("Active" if paid_before else "Reserved")
    assert first is None or first.body == answer.body
    assert await types(log) == ["reserved", "joined"] + ["activated"] * paid_before
    assert (await types(log, ORDER)).count("line_allocated") == 1
    third = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    assert (third.body, third.replayed) == (answer.body, True)


async def test_a_sale_that_was_cut_off_is_finished_without_a_retry(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    stage.ledger.asked.clear()

    stage.ledger.trouble.extend([fine, raising(LOST)])  # the probe goes through, the allocation does not
    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)

    assert await types(log) == ["reserved", "joined", "activated"]
    assert statuses(await stage.ledger.ask(ORDER, Look(), SYSTEM)) == ["Activated"]


async def test_a_retry_after_the_order_was_cancelled_meanwhile_says_so_for_good(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    stage.ledger.trouble.extend([fine, raising(LOST), raising(LOST)])
    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await quiet(*stage.shards)
    await stage.ledger.ask(ORDER, placed("1", cancelled=True), SYSTEM)

    answer = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    again = await ask(shard, CERTIFICATE, SELL, keyed("k1"))

    assert [refusal(answer), refusal(again)] == ["OrderCancelled"] * 2
    assert again.replayed


async def test_an_order_that_is_overloaded_in_the_middle_is_an_unknown_outcome(stage: Stage, shard: Shard) -> None:
    stage.ledger.trouble.extend([fine, raising(OverloadedError("too much"))])

    with pytest.raises(OutcomeUnknownError, match="reserved"):
        await ask(shard, CERTIFICATE, SELL)


async def test_an_order_that_is_overloaded_at_first_means_that_nothing_happened(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    stage.ledger.trouble.append(raising(OverloadedError("too much")))

    with pytest.raises(OverloadedError):
        await ask(shard, CERTIFICATE, SELL)

    assert await types(log) == []


async def test_a_reservation_that_ends_while_it_is_made_is_an_unknown_outcome(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    """Between two steps the order lost the line and took the code back; whoever asks again gets the true answer."""

    async def released() -> None:
        await shard.ask(CERTIFICATE, Release("SO-1", "1", "line not in the order"), SYSTEM)

    stage.ledger.trouble.extend([fine, released])

    with pytest.raises(OutcomeUnknownError, match="ask again"):
        await ask(shard, CERTIFICATE, SELL, keyed("k1"))

    assert await types(log) == ["reserved", "released"]
    again = await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    assert body(again)["status"] == "Reserved"


async def test_a_sale_whose_code_went_to_another_line_of_the_order_meanwhile_is_not_told_that_line(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    async def moved() -> None:
        await shard.ask(CERTIFICATE, Release("SO-1", "1", "by an operator"), SYSTEM)
        await shard.ask(CERTIFICATE, Reserve("SO-1", "2"), SYSTEM)

    stage.ledger.trouble.extend([fine, moved])

    with pytest.raises(OutcomeUnknownError, match="ask again"):
        await ask(shard, CERTIFICATE, SELL, keyed("k1"))


@pytest.mark.parametrize("reserved_anew", [False, True])
async def test_a_paid_line_that_is_cancelled_just_before_its_activation_is_an_unknown_outcome_until_asked_again(
    stage: Stage, shard: Shard, log: UnreliableLog, *, reserved_anew: bool
) -> None:
    """The order had said that the line is to be issued, and took the code back before the certificate heard of it.

    Meanwhile the same sale, asked for at the same time, may have reserved it anew: what was granted is not for that.
    """
    await stage.ledger.ask(ORDER, placed("1"), SYSTEM)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    cancelling: list[asyncio.Task[Answer]] = []

    async def cancelled(_batch: Batch) -> None:
        cancel = ask(shard, ORDER, placed("1", version=2, cancelled=True), SYSTEM)
        release = ask(shard, CERTIFICATE, Release("SO-1", "1", "order cancelled"), SYSTEM)
        cancelling.extend([asyncio.create_task(cancel), asyncio.create_task(release)])
        if reserved_anew:
            reserve = ask(shard, CERTIFICATE, Reserve("SO-1", "1"), SYSTEM)
            cancelling.append(asyncio.create_task(reserve))
        await asyncio.sleep(0)  # they are in the mailbox before what the sale does next

    log.after_append.extend([fine, fine, cancelled])  # the order is asked, the code reserved, the line allocated

    with pytest.raises(OutcomeUnknownError, match="ask again"):
        await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await asyncio.gather(*cancelling)
    await quiet(*stage.shards)

    assert await types(log) == ["reserved", "released"] * (1 + reserved_anew)
    assert await types(log, ORDER) == ["placed", "payment_recorded", "line_allocated", "placed", "line_released"]
    answers = [await ask(shard, CERTIFICATE, SELL, keyed("k1")) for _ in range(2)]
    assert [refusal(answer) for answer in answers] == ["OrderCancelled"] * 2


async def test_a_retry_whose_code_went_to_somebody_else_says_so(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    stage.ledger.trouble.extend([fine, raising(LOST), raising(LOST)])
    with pytest.raises(OutcomeUnknownError):
        await ask(shard, CERTIFICATE, SELL, keyed("k1"))
    await quiet(*stage.shards)
    await shard.ask(CERTIFICATE, Release("SO-1", "1", "by an operator"), SYSTEM)
    await shard.ask(CERTIFICATE, Reserve("SO-2", "1"), SYSTEM)

    answer = await ask(shard, CERTIFICATE, SELL, keyed("k1"))

    assert refusal(answer) == "CodeAlreadySold"
    assert refusal(await ask(shard, CERTIFICATE, SELL, keyed("k1"))) == "CodeAlreadySold"
