"""Guessing CVCs with bulk calls."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tests.integration.guessing import ADDRESS_MAX, codes, gateway, guess, one_by_one, told, tried
from tests.integration.http_client import Answer, hold_up, post
from tests.unit.gateway.house import CODE, RUB, UNKNOWN

pytestmark = pytest.mark.real


def bulk(*items: tuple[str, str | None], client: str = "storefront") -> bytes:
    body = {
        "items": [
            {"certificateCode": code, "amount": 10, "currency": RUB, "cvc": cvc, "idempotencyKey": f"k{number}"}
            for number, (code, cvc) in enumerate(items)
        ]
    }
    return post("/authorizations", msgspec.json.encode(body), client=client)


def outcomes(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.content
    return [str(one["body"].get("code", one["status"])) for one in msgspec.json.decode(answer.content)["outcomes"]]


async def test_guesses_in_bulk_are_as_many_as_those_one_by_one(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        (answer,) = await one_by_one(here, [bulk(*[(code, "0000") for code in codes(100)])])

        assert tried(here) == ADDRESS_MAX
    assert Counter(outcomes(answer)) == {"CertificateRefused": ADDRESS_MAX, "RateLimited": 100 - ADDRESS_MAX}
    limited = msgspec.json.decode(answer.content)["outcomes"][-1]["body"]
    assert limited["instance"] == "/authorizations#/items/99"
    assert limited["retryAfter"] > 0


async def test_right_cvcs_in_bulk_all_go_through_whatever_stands_between_them(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        items = [(CODE, cvc if number % 3 else None) for number in range(200)]
        items[100] = (UNKNOWN, "0000")

        (answer,) = await one_by_one(here, [bulk(*items, client="pos")])

    expected = ["201"] * 200
    expected[100] = "CertificateNotFound"
    assert outcomes(answer) == expected
    versions = [
        int(one["body"]["authorizationId"].split("_")[1])
        for one in msgspec.json.decode(answer.content)["outcomes"]
        if one["status"] == 201
    ]
    assert versions == sorted(versions)


async def test_items_that_are_sent_again_have_their_first_outcomes_at_the_limit_too(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        (first,) = await one_by_one(here, [bulk((CODE, cvc))])
        await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX)])

        (again,) = await one_by_one(here, [bulk((CODE, cvc), (CODE, cvc))])

    assert outcomes(again) == ["201", "RateLimited"]
    (before,), (now, _) = (msgspec.json.decode(answer.content)["outcomes"] for answer in (first, again))
    assert now == before | {"replayed": True}


async def test_a_bulk_call_that_ends_in_the_middle_leaves_nothing_under_way(redis_url: str) -> None:
    async with gateway(redis_url, deadline_seconds=0.5) as (here, _):
        at_work, go_on = hold_up(here.house.ledger)
        (late,) = await one_by_one(here, [bulk(*[(code, "0000") for code in codes(10)])])
        assert at_work.is_set()
        go_on.set()
        here.house.ledger.trouble = None

        answers = await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX + 1, first=100)])

    assert Counter(outcomes(late)) == {"StorageUnavailable": 5, "Overloaded": 5}
    assert told(answers) == {"CertificateRefused": ADDRESS_MAX, "RateLimited": 1}
