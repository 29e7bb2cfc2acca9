"""A shop that sold any code, and from one day on sells printed ones alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.market import Market
from tests.real.stack import RunningStack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

DENOMINATION = 5_000
SPEND: dict[str, object] = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}


async def sold(market: Market, code: str) -> tuple[Any, Any]:
    """Sell a code for the line of a paid order; gives the certificate's status, or the refusal's and its code."""
    order_id = await market.order({"1": DENOMINATION})
    await market.pay(order_id, {"1": DENOMINATION})
    await market.order_is_known(order_id, payment=1)
    answer = await market.reserve(code, order_id, "1")
    return answer["status"], answer.get("code")


async def spent(market: Market, code: str) -> Any:  # noqa: ANN401 - an amount, or the name of a refusal
    answer = await market.shop.post(f"/certificates/{code}/authorize", SPEND)
    return answer.get("amount", answer.get("code"))


async def test_printed_codes(tmp_path: Path) -> None:
    file = tmp_path / "spring.codes"
    before = RunningStack(tmp_path)
    after = RunningStack(tmp_path, {"CODES": "imported"})
    try:
        await asyncio.to_thread(before.start)
        async with Market(before) as market:
            (old,) = await market.sell(1, DENOMINATION)
        nobody_is_shut_out = await asyncio.to_thread(before.run, "codes", "check")
        await asyncio.to_thread(before.stop)

        await asyncio.to_thread(after.start)
        made = await asyncio.to_thread(after.run, "codes", "generate", "--count", "20", "--output", str(file))
        first, second, *_ = file.read_text().split()
        async with Market(after) as market:
            too_early = await sold(market, first)
            imported = [await asyncio.to_thread(after.run, "codes", "import", str(file)) for _ in range(2)]
            sales = [await sold(market, code) for code in (first, second, "GC-MADE-UP-01", first[:-1] + "0")]
            spendings = [await spent(market, code) for code in (first, old, first[:-1] + "0")]
        proof = await asyncio.to_thread(after.run, "verify")
        await asyncio.to_thread(after.stop)
    finally:
        after.kill()

    assert nobody_is_shut_out.returncode == 0, nobody_is_shut_out.stdout
    assert made.returncode == 0, made.stderr
    assert too_early == (422, "CodeNotForSale")
    assert [one.returncode for one in imported] == [0, 0], [one.stderr for one in imported]
    assert "20 are new and 0 were there" in imported[0].stdout
    assert "0 are new and 20 were there" in imported[1].stdout
    assert sales == [("Active", None), ("Active", None), (422, "CodeNotForSale"), (400, "InvalidRequest")]
    assert spendings == [1_000, 1_000, "CertificateNotFound"]
    assert proof.returncode == 0, proof.stdout
