"""What tests of the whole service share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.market import Market

if TYPE_CHECKING:
    from tests.real.stack import RunningStack

HOLD_SECONDS = 60
"""The shortest that a client may ask for."""
HELD = 5_000


@pytest.fixture(scope="session")
def early_hold(shared_stack: RunningStack) -> dict[str, Any]:
    """A hold on the whole of a certificate. Asked for early, it has lapsed when others are done, and nobody waits."""

    async def place() -> dict[str, Any]:
        async with Market(shared_stack) as market:
            (code,) = await market.sell(1, HELD)
            body: dict[str, object] = {"purpose": "Redemption", "amount": HELD, "currency": "RUB"}
            return await market.shop.post(f"/certificates/{code}/authorize", body | {"ttlSeconds": HOLD_SECONDS})

    return asyncio.run(place())
