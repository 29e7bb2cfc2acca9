"""Sales where only imported codes may be sold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError
from ledger.codes import Salable
from ledger.commands import SYSTEM, Look, Sell
from ledger.policy import Policy
from persistence.codes import MemoryCodeStore
from persistence.errors import StorageUnavailableError
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
    ORDER,
    SELL,
    Stage,
    ask,
    authorize,
    body,
    keyed,
    paid,
    placed,
    quiet,
    refusal,
    types,
)

if TYPE_CHECKING:
    from actors.shard import Shard
    from tests.unit.actors.logs import UnreliableLog

IMPORTED = Policy(codes=Salable.IMPORTED)
MADE_UP = "c:GC-MADE-UP"


class Batches(MemoryCodeStore):
    """Imported codes that note who looks, and can be away."""

    def __init__(self, *codes: str) -> None:
        super().__init__(codes)
        self.asked: list[str] = []
        self.away = False

    async def known(self, code: str) -> bool:
        self.asked.append(code)
        if self.away:
            raise StorageUnavailableError("the log's server: away")
        return await super().known(code)


@pytest.fixture
def batches() -> Batches:
    return Batches(CODE)


@pytest.fixture(params=["one shard", "two shards"])
async def shard(stage: Stage, batches: Batches, request: pytest.FixtureRequest) -> Shard:
    """A shard that sells imported codes alone; orders live in the same one, or in another."""
    first = await stage.shard(policy=IMPORTED, imported=batches)
    if request.param == "two shards":
        stage.ledger.orders = await stage.shard(policy=IMPORTED, imported=batches)
    return first


async def test_a_code_of_a_batch_is_sold_and_spent(stage: Stage, shard: Shard, batches: Batches) -> None:
    await ask(shard, ORDER, placed("1"), SYSTEM)
    await ask(shard, ORDER, paid("1"), SYSTEM)

    sold = await ask(shard, CERTIFICATE, SELL)
    held = await ask(shard, CERTIFICATE, authorize(50_000))
    await quiet(*stage.shards)

    assert body(sold)["status"] == "Active"
    assert body(held)["available"] == 100_000
    assert batches.asked == [CODE]


async def test_any_other_is_refused_and_leaves_no_trace(stage: Stage, shard: Shard, log: UnreliableLog) -> None:
    await ask(shard, ORDER, placed("1"), SYSTEM)

    refused = await ask(shard, MADE_UP, SELL)
    free = await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)

    assert refusal(refused) == "CodeNotForSale"
    assert await types(log, MADE_UP) == []
    assert body(free)["status"] == "Reserved"


@pytest.mark.parametrize("cancelled", [False, True], ids=["line not in the order", "order cancelled"])
async def test_it_is_told_before_what_the_order_says(shard: Shard, *, cancelled: bool) -> None:
    await ask(shard, ORDER, placed("2", cancelled=cancelled), SYSTEM)

    assert refusal(await ask(shard, MADE_UP, SELL)) == "CodeNotForSale"
    assert refusal(await ask(shard, CERTIFICATE, SELL)) in {"OrderCancelled", "OrderLineNotFound"}


async def test_the_refusal_is_the_outcome_of_its_key(shard: Shard, batches: Batches) -> None:
    first = await ask(shard, MADE_UP, SELL, keyed("1"))
    await batches.add([MADE_UP[2:]])

    again = await ask(shard, MADE_UP, SELL, keyed("1"))
    anew = await ask(shard, MADE_UP, SELL, keyed("2"))

    assert (refusal(first), first.replayed) == ("CodeNotForSale", False)
    assert (refusal(again), again.replayed) == ("CodeNotForSale", True)
    assert anew.created


async def test_a_sale_that_was_answered_is_answered_again_whatever_is_imported(shard: Shard, stage: Stage) -> None:
    """Sold while any code was; repeated with its key after only imported ones are."""
    before = await stage.shard()
    first = await ask(before, MADE_UP, SELL, keyed("1"))

    again = await ask(shard, MADE_UP, SELL, keyed("1"))
    without_key = await ask(shard, MADE_UP, SELL)
    for_another_line = await ask(shard, MADE_UP, Sell("SO-1", "2"))

    assert (again.body, again.replayed) == (first.body, True)
    assert (body(without_key)["status"], without_key.created) == ("Reserved", False)
    assert refusal(for_another_line) == "CodeAlreadySold"
    await quiet(*stage.shards)


async def test_a_code_that_is_issued_is_not_looked_up(shard: Shard, batches: Batches) -> None:
    await ask(shard, ORDER, placed("1"), SYSTEM)
    await ask(shard, ORDER, paid("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)

    assert refusal(await ask(shard, CERTIFICATE, Sell("SO-2", "1"))) == "CodeAlreadySold"
    assert batches.asked == [CODE]


async def test_nothing_but_a_sale_looks(shard: Shard, batches: Batches) -> None:
    assert refusal(await ask(shard, MADE_UP, authorize())) == "CertificateNotFound"
    assert refusal(await ask(shard, MADE_UP, Look())) == "CertificateNotFound"

    assert batches.asked == []


async def test_a_sale_without_an_answer_from_the_batches_has_no_outcome_and_is_done_once_they_answer(
    shard: Shard, batches: Batches, log: UnreliableLog
) -> None:
    batches.away = True
    with pytest.raises(OutcomeUnknownError, match="cannot be found out"):
        await ask(shard, CERTIFICATE, SELL, keyed("1"))
    nothing = await types(log)

    batches.away = False
    sold = await ask(shard, CERTIFICATE, SELL, keyed("1"))

    assert nothing == []
    assert sold.created


async def test_without_batches_to_look_in_nothing_is_sold(stage: Stage) -> None:
    shard = await stage.shard(policy=IMPORTED)

    assert refusal(await ask(shard, CERTIFICATE, SELL)) == "CodeNotForSale"
