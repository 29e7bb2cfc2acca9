"""Every code of the contract, reached through HTTP: its status, and what a caller needs to go on."""

from __future__ import annotations

import pytest

from actors.errors import ActorError, OutcomeUnknownError
from gateway.faults import Fault
from gateway.problems import KINDS
from gateway.settings import GatewaySettings
from ledger.codes import Salable
from ledger.policy import Policy
from ledger.refusals import Refusal
from tests.unit.gateway.faults import troubled
from tests.unit.gateway.house import OTHER, UNKNOWN, House, opened
from tests.unit.gateway.refusals import STORIES, wrong

FIGURES = {
    ("InsufficientFunds", "authorize"): {"available": 50_000},
    ("InsufficientFunds", "nothing left for a part"): {"available": 0},
    ("CaptureExceedsAuthorization", "more than was held"): {"left": 50_000},
    ("VoidExceedsOperation", "more than was captured"): {"left": 1_000},
    ("RateLimited", "the fourth wrong CVC"): {"retryAfter": 30},
    ("RateLimited", "an unknown code"): {"retryAfter": 30},
}
HASTY = {
    "RequestTimeout": GatewaySettings(receive_seconds=0.02),
    "StorageUnavailable": GatewaySettings(deadline_seconds=0.5),
}
"""Bounds for those refusals that are waited for; in other stories they would be one on a busy machine."""


POLICIES = {"CodeNotForSale": Policy(codes=Salable.IMPORTED)}


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
@pytest.mark.parametrize(("code", "name"), STORIES)
async def test_a_refusal(code: str, name: str, *, fast_lane: bool) -> None:
    async with opened(HASTY.get(code), fast_lane=fast_lane, policy=POLICIES.get(code)) as house:
        response = await STORIES[code, name](house)

    kind = KINDS[Refusal(code) if code in list(Refusal) else Fault(code)]
    assert response.code == code, response.body
    assert response.status == kind.status
    assert response.body["title"] == kind.title
    assert response.body["detail"]
    assert response.headers["content-type"] == "application/problem+json"
    for figure, value in FIGURES.get((code, name), {}).items():
        assert response.body[figure] == value


def test_every_code_is_reached() -> None:
    reached = {code for code, _ in STORIES}

    assert reached == {code.value for code in KINDS}


async def test_where_a_cvc_is_required_every_reason_gives_the_same_answer(house: House) -> None:
    cvc = await house.issue()
    await house.sell(OTHER, order="SO-2")
    body = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}

    answers = [
        await house.post("authorize", {**body, "cvc": wrong(cvc)}, "storefront"),
        await house.post("authorize", body, "storefront"),
        await house.post("authorize", {**body, "cvc": "0000"}, "storefront", UNKNOWN),
        await house.post("authorize", {**body, "cvc": "0000"}, "storefront", OTHER),
        await house.post("balance", {"cvc": "0000"}, "storefront", UNKNOWN),
    ]

    bodies = [{**answer.body, "instance": ""} for answer in answers]
    assert [answer.status for answer in answers] == [403] * 5
    assert bodies == [bodies[0]] * 5
    assert bodies[0]["code"] == "CertificateRefused"


async def test_a_refusal_is_replayed_too(house: House) -> None:
    await house.issue()
    key = {"Idempotency-Key": '"till 7/991"'.replace(" ", "-")}
    body = {"purpose": "Redemption", "amount": 200_000, "currency": "RUB"}
    first = await house.post("authorize", body, "pos", headers=key)

    second = await house.post("authorize", body, "pos", headers=key)

    assert (first.code, first.headers.get("idempotency-replayed")) == ("InsufficientFunds", None)
    assert (second.content, second.headers["idempotency-replayed"]) == (first.content, "true")


@pytest.mark.parametrize("error", [ActorError("x"), OutcomeUnknownError("x")])
async def test_an_unknown_outcome_asks_for_the_same_key_again(house: House, error: Exception) -> None:
    response = await troubled(house, error)

    assert (response.status, response.code) == (503, "StorageUnavailable")
    assert "same Idempotency-Key" in response.body["detail"]
    assert response.headers["retry-after"] == "1"
