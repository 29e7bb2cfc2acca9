"""Bulk calls over a real connection: long bodies, in many pieces, and clients that go away."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.bulk_requests import ITEMS_MAX
from tests.integration.http_client import Answer, Served, hold_up, post, served
from tests.unit.gateway.house import CODE

pytestmark = pytest.mark.real

REFERENCE = "касса 7, чек 991 " * 10


def batch(count: int, **more: object) -> bytes:
    items = [
        {"certificateCode": CODE, "amount": 1, "currency": "RUB", "idempotencyKey": f"k-{number}", **more}
        for number in range(count)
    ]
    return msgspec.json.encode({"items": items})


def outcomes(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.content
    found: list[dict[str, Any]] = msgspec.json.decode(answer.content)["outcomes"]
    return found


async def held(here: Served) -> int:
    return int((await here.house.get(f"/certificates/{CODE}")).body["held"])


async def test_a_full_batch_with_long_texts_comes_back_as_a_whole() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()
        body = batch(ITEMS_MAX, reference=REFERENCE)
        data = post("/authorizations", body)

        first = outcomes(await line.ask(data))
        again = outcomes(await line.ask(data))

        assert len(body) > 300_000
        assert [outcome["status"] for outcome in first] == [201] * ITEMS_MAX
        assert [outcome["body"]["available"] for outcome in first] == [149_999 - number for number in range(ITEMS_MAX)]
        assert again == [{**outcome, "replayed": True} for outcome in first]
        assert await held(here) == ITEMS_MAX


async def test_a_batch_that_comes_in_small_pieces() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()
        data = post("/authorizations", batch(20))

        for start in range(0, len(data), 700):
            await line.send(data[start : start + 700])
        answer = await line.answer()

    assert [outcome["status"] for outcome in outcomes(answer)] == [201] * 20


async def test_a_batch_that_is_too_long_is_refused_before_all_of_it_has_come() -> None:
    async with served(bulk_body_bytes_max=50_000) as here:
        await here.house.issue()
        line = await here.line()
        data = post("/authorizations", batch(ITEMS_MAX))

        await line.send(data[:1_000])
        answer = await line.answer()

    assert (answer.status, answer.code) == (413, "RequestTooLarge")


async def test_single_calls_are_answered_while_a_batch_waits_for_its_outcomes() -> None:
    async with served() as here:
        await here.house.issue()
        line, till = await here.line(), await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post("/authorizations", batch(50)))
        await at_work.wait()
        here.house.ledger.trouble = None

        single = await till.ask(post(f"/certificates/{CODE}/balance", b"{}"))
        go_on.set()
        together = await line.answer()

    assert single.status == 200
    assert [outcome["status"] for outcome in outcomes(together)] == [201] * 50


async def test_a_client_that_goes_away_finds_everything_done_once_when_it_sends_the_batch_again() -> None:
    async with served() as here:
        await here.house.issue()
        line, other = await here.line(), await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        data = post("/authorizations", batch(30))
        await line.send(data)
        await at_work.wait()
        await line.close()
        go_on.set()

        again = outcomes(await other.ask(data))

        assert [outcome["status"] for outcome in again] == [201] * 30
        assert await held(here) == 30


async def test_a_server_that_stops_waits_no_longer_than_it_may_and_leaves_the_batch_unknown() -> None:
    async with served(drain_seconds=0.01) as here:
        await here.house.issue()
        line = await here.line()
        at_work, _ = hold_up(here.house.ledger)
        await line.send(post("/authorizations", batch(3)))
        await at_work.wait()

        here.stop.set()
        answer = await line.answer()
        await here.ended()

    assert (answer.status, answer.code) == (503, "StorageUnavailable")


async def test_batches_at_once_keep_every_certificate_right() -> None:
    async with served() as here:
        await here.house.issue()
        lines = [await here.line() for _ in range(4)]
        batches = [
            msgspec.json.encode(
                {
                    "items": [
                        {
                            "certificateCode": CODE,
                            "amount": 100,
                            "currency": "RUB",
                            "idempotencyKey": f"{name}-{number}",
                        }
                        for number in range(500)
                    ]
                }
            )
            for name in "abcd"
        ]

        answers = await asyncio.gather(
            *(line.ask(post("/authorizations", body)) for line, body in zip(lines, batches, strict=True))
        )

        granted = [one for answer in answers for one in outcomes(answer) if one["status"] == 201]
        assert len(granted) == 1_500
        assert {one["body"]["available"] for one in granted} == {150_000 - 100 * number for number in range(1, 1_501)}
        assert await held(here) == 150_000
