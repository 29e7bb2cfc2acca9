"""Shards as Ray actors that sell imported codes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.settings import ActorSettings
from ledger.codes import Salable
from ledger.commands import Sell
from ledger.policy import Policy
from persistence.codes import RedisCodeStore
from tests.integration.ray_traffic import body, insist

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.settings import Placement
    from tests.real.ray import RayLedger

pytestmark = [pytest.mark.real, pytest.mark.ray]


@pytest.mark.parametrize("placement", ["shared", "dedicated"])
async def test_a_code_is_sold_once_its_batch_is_imported(
    make_ray_ledger: Callable[..., RayLedger], placement: Placement
) -> None:
    ledger = make_ray_ledger(ActorSettings(placement=placement))
    ledger.policy = Policy(codes=Salable.IMPORTED)
    await ledger.start()
    codes = RedisCodeStore.at(ledger.storage)

    refused = await insist(ledger.router, "c:GC-PRINTED-01", Sell("SO-1", "1"))
    await codes.add(["GC-PRINTED-01"])
    sold = await insist(ledger.router, "c:GC-PRINTED-01", Sell("SO-1", "1"))
    await codes.close()

    assert refused.refused is not None
    assert refused.refused.code == "CodeNotForSale"
    assert body(sold)["status"] == "Reserved"
