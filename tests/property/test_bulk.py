"""Batches that are sent again after lost answers, whole, in parts or one by one: every item is carried out once."""

import asyncio
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.actors.logs import UnreliableLog
from tests.unit.gateway.batches import send
from tests.unit.gateway.house import CODE, OTHER, UNKNOWN, Clock, House, opened

CODES = (CODE, CODE, OTHER, UNKNOWN)
DENOMINATION = 150_000

Key = int
Outcome = tuple[int, str]
"""Status, and what is new with it: the authorization's id, or the code of the problem."""

# what is sent: alone or together, which keys, and what becomes of the next append
keys = st.lists(st.integers(0, 9), min_size=1, max_size=8)
sent = st.lists(st.tuples(st.booleans(), keys, st.sampled_from(["", "", "lost append", "lost reply"])), max_size=8)


def item(key: Key) -> dict[str, Any]:
    """Return the request under a key: always the same. Not all of them can be granted."""
    return {
        "certificateCode": CODES[key % len(CODES)],
        "amount": 10_000 * (key + 1),
        "currency": "RUB",
        "idempotencyKey": f"k-{key}",
    }


def outcome(status: int, body: dict[str, Any]) -> Outcome:
    return status, str(body.get("authorizationId") or body["code"])


async def together(house: House, asked: list[Key]) -> list[Outcome]:
    response = await send(house, "authorizations", [item(key) for key in asked])
    assert response.status == 200
    return [outcome(one["status"], one["body"]) for one in response.body["outcomes"]]


async def alone(house: House, asked: list[Key]) -> list[Outcome]:
    found = []
    for key in asked:
        body = item(key)
        code, name = body.pop("certificateCode"), body.pop("idempotencyKey")
        response = await house.post(
            "authorize", {"purpose": "Redemption", **body}, "pos", code, {"Idempotency-Key": name}
        )
        found.append(outcome(response.status, response.body))
    return found


async def play(steps: list[tuple[bool, list[Key], str]]) -> None:
    log = UnreliableLog(Clock())
    async with opened(log=log) as house:
        await house.issue(CODE, "1", order="SO-1")
        await house.issue(OTHER, "1", order="SO-2")
        told: dict[Key, set[Outcome]] = defaultdict(set)
        for in_bulk, asked, trouble in [*steps, (True, list(range(10)), "")]:
            if trouble == "lost append":
                log.lose_an_append()
            elif trouble == "lost reply":
                log.lose_a_reply()
            found = await (together if in_bulk else alone)(house, asked)
            log.before_append.clear()
            log.after_append.clear()
            for key, one in zip(asked, found, strict=True):
                if one[0] != 503:
                    told[key].add(one)

        assert all(len(outcomes) == 1 for outcomes in told.values()), "a key has one outcome"
        for code in (CODE, OTHER):
            holds = (await house.get(f"/certificates/{code}")).body["holds"]
            granted = {
                name: 10_000 * (key + 1)
                for key, outcomes in told.items()
                for status, name in outcomes
                if status == 201 and item(key)["certificateCode"] == code
            }
            assert {hold["authorizationId"]: hold["amount"] for hold in holds} == granted
            assert sum(granted.values()) <= DENOMINATION


@settings(max_examples=40)
@given(sent)
def test_every_item_is_carried_out_once_however_it_is_sent(steps: list[tuple[bool, list[Key], str]]) -> None:
    asyncio.run(play(steps))
