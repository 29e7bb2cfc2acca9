"""Batches on the whole service: through gateway, channel, shards and log."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.market import Market, new_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.ray]

CODES = 30
DENOMINATION = 10_000


@pytest.fixture
async def pos(shared_stack: RunningStack) -> AsyncIterator[httpx.AsyncClient]:
    async with shared_stack.client("pos") as client:
        yield client


async def outcomes(pos: httpx.AsyncClient, call: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    response = await pos.post(f"/{call}", json={"items": items})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["outcomes"]
    return found


def keyed(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**item, "idempotencyKey": uuid.uuid4().hex} for item in items]


async def test_batches_take_money_and_give_it_back(shared_stack: RunningStack, pos: httpx.AsyncClient) -> None:
    async with Market(shared_stack) as market:
        codes = await market.sell(CODES, DENOMINATION)
    # two for each certificate, far apart in the batch, and one for a certificate that was never sold
    asked = keyed(
        [{"certificateCode": code, "amount": 6_000, "currency": "RUB"} for code in [*codes, new_code(), *codes]]
    )

    authorized = await outcomes(pos, "authorizations", asked)
    holds = [one["body"] for one in authorized[:CODES]]
    captures = keyed(
        [{"certificateCode": hold["certificateCode"], "authorizationId": hold["authorizationId"]} for hold in holds]
    )
    captured = await outcomes(pos, "captures", captures)
    voids = keyed(
        [
            {"certificateCode": one["body"]["certificateCode"], "operationId": one["body"]["operationId"]}
            for one in captured
        ]
    )
    voided = await outcomes(pos, "voids", voids)
    again = await outcomes(pos, "authorizations", asked)
    alone = await pos.post(
        f"/certificates/{codes[0]}/authorize",
        json={"purpose": "Redemption", "amount": 6_000, "currency": "RUB"},
        headers={"Idempotency-Key": asked[0]["idempotencyKey"]},
    )

    assert [one["status"] for one in authorized] == [201] * CODES + [404] + [409] * CODES
    assert [one["body"]["balance"] for one in captured] == [DENOMINATION - 6_000] * CODES
    assert [one["body"]["balance"] for one in voided] == [DENOMINATION] * CODES
    assert again == [{**one, "replayed": True} for one in authorized]
    assert (alone.json(), alone.headers["Idempotency-Replayed"]) == (holds[0], "true")
