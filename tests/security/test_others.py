"""API1 and API2: what is another client's is touched by nobody, whatever of his is known: ids, keys, whole requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.integration.http_client import post
from tests.security.stage import DENOMINATION, call, redemption, street, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.http_client import Answer
    from tests.security.stage import Street

pytestmark = pytest.mark.real

CODE = "GC-7K2M-9QXA"
OTHER_CODE = "GC-0000-0002"
FORBIDDEN = (403, "Forbidden")
THIEVES = ["storefront", "storefront-2", "till-2", "ops"]
"""Who may do nothing with what is a till's. Payments may capture and void what is others', and support void it."""


def body(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(answer.content)
    return found


def of_item(answer: Answer) -> tuple[int, str]:
    """Outcome of a bulk call with one item; of one that was not let in, its own."""
    if answer.status != 200:
        return told(answer)
    (one,) = body(answer)["outcomes"]
    return one["status"], one["body"].get("code", "")


async def figures(here: Street) -> tuple[int, int, int]:
    state = await here.state(CODE)
    return state["balance"], state["available"], state["version"]


async def tried(here: Street, thief: str, hold: str) -> dict[str, tuple[int, str]]:
    """Try to void and to capture a hold, in all ways there are."""
    capture, void = {"authorizationId": hold}, {"operationId": hold}
    item = {"certificateCode": CODE}
    found = {}
    for name, many, said in (("void", "voids", void), ("capture", "captures", capture)):
        found[name] = told(await here.door.ask(call(CODE, name, said, thief)))
        items = {"items": [item | said | {"idempotencyKey": f"{name}-{hold}"}]}
        found[many] = of_item(await here.door.ask(post(f"/{many}", msgspec.json.encode(items), client=thief)))
    return found


async def test_a_hold_of_another_is_neither_captured_nor_voided(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        cvc = await here.issue(CODE)
        holds = {"pos": await here.hold(CODE, "pos"), "storefront": await here.hold(CODE, "storefront", cvc=cvc)}
        before = await figures(here)

        outcomes = {
            (owner, thief): await tried(here, thief, hold)
            for owner, hold in holds.items()
            for thief in THIEVES
            if thief != owner
        }
        after = await figures(here)
        support = {owner: await tried(here, "support", hold) for owner, hold in holds.items()}
        other = await here.hold(CODE, "pos")
        payments = told(await here.door.ask(call(CODE, "capture", {"authorizationId": other}, "payments")))

    for found in outcomes.values():
        assert found == dict.fromkeys(("void", "voids", "capture", "captures"), FORBIDDEN)
    assert after == before
    # those who may void may not capture, and whoever may do both is none of those who authorize
    for found in support.values():
        assert found["void"] == (201, "")
        assert (found["capture"], found["captures"]) == (FORBIDDEN, FORBIDDEN)
    assert payments == (201, "")


async def test_a_capture_and_a_sale_of_another_are_not_undone(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        await here.issue(OTHER_CODE)
        activation = (await here.state(OTHER_CODE))["activationId"]
        hold = await here.hold(CODE, "pos")
        capture = body(await here.door.ask(call(CODE, "capture", {"authorizationId": hold}, "pos")))["operationId"]

        async def undone(client: str) -> list[tuple[int, str]]:
            targets = ((CODE, capture), (OTHER_CODE, activation))
            return [
                told(await here.door.ask(call(code, "void", {"operationId": one, "reason": "mine"}, client)))
                for code, one in targets
            ]

        answers = [await undone(thief) for thief in THIEVES]
        states = [await here.state(code) for code in (CODE, OTHER_CODE)]
        own = await undone("pos")

    assert answers == [[FORBIDDEN] * 2] * len(THIEVES)
    assert [state["balance"] for state in states] == [DENOMINATION - 1_000, DENOMINATION]
    assert [state["status"] for state in states] == ["Active"] * 2
    assert own == [(201, "")] * 2


async def test_an_id_is_of_no_use_on_another_certificate(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        await here.issue(OTHER_CODE)
        hold = await here.hold(CODE, "pos")

        capture = await here.door.ask(call(OTHER_CODE, "capture", {"authorizationId": hold}, "pos"))
        void = await here.door.ask(call(OTHER_CODE, "void", {"operationId": hold}, "pos"))
        states = [await here.state(code) for code in (CODE, OTHER_CODE)]

    assert [told(capture), told(void)] == [(404, "AuthorizationNotFound"), (404, "OperationNotFound")]
    assert [state["available"] for state in states] == [DENOMINATION - 1_000, DENOMINATION]


async def test_a_captured_request_is_of_no_use_with_the_key_of_another(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        hold = await here.hold(CODE, "pos")
        key = "Idempotency-Key: till-7-991"
        taken = await here.door.ask(call(CODE, "capture", {"authorizationId": hold, "amount": 400}, "pos", key))
        before = await figures(here)

        stolen = {
            thief: await here.door.ask(call(CODE, "capture", {"authorizationId": hold, "amount": 400}, thief, key))
            for thief in ("till-2", "storefront", "storefront-2")
        }
        again = await here.door.ask(call(CODE, "capture", {"authorizationId": hold, "amount": 400}, "pos", key))
        after = await figures(here)

    assert {thief: told(answer) for thief, answer in stolen.items()} == dict.fromkeys(stolen, FORBIDDEN)
    assert not any("idempotency-replayed" in answer.headers for answer in stolen.values())
    assert not any(body(taken)["operationId"].encode() in answer.content for answer in stolen.values())
    assert (again.content, again.headers["idempotency-replayed"]) == (taken.content, "true")
    assert after == before


async def test_an_idempotency_key_of_another_is_ones_own(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        key = "Idempotency-Key: till-7-991"

        first = await here.door.ask(call(CODE, "authorize", redemption(1_000), "pos", key))
        second = await here.door.ask(call(CODE, "authorize", redemption(1_000), "till-2", key))
        other = await here.door.ask(call(CODE, "authorize", redemption(2_000), "till-2", key))
        third = await here.door.ask(call(CODE, "authorize", redemption(1_000), "pos", key))

    assert [answer.status for answer in (first, second, third)] == [201] * 3
    assert "idempotency-replayed" not in second.headers
    assert body(first)["authorizationId"] != body(second)["authorizationId"]
    assert body(third) == body(first)
    assert told(other) == (422, "IdempotencyKeyReused")


async def test_nobody_takes_keys_of_others_by_naming_them_in_his_own(redis_url: str, tmp_path: Path) -> None:
    """A client's name and his key are told apart, so `pos` with `\\0k` is not `pos\\0` with `k`."""
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        first = await here.door.ask(call(CODE, "authorize", redemption(), "till-2", "Idempotency-Key: k"))
        for name in ("till-2/k", "till-2:k", '"till-2 k"', "till-2%00k"):
            answer = await here.door.ask(call(CODE, "authorize", redemption(), "pos", f"Idempotency-Key: {name}"))
            assert "idempotency-replayed" not in answer.headers
            assert body(first)["authorizationId"].encode() not in answer.content
        zero = await here.door.raw(call(CODE, "authorize", redemption(), "pos", "Idempotency-Key: till-2\0k"))

    assert zero.startswith(b"HTTP/1.1 400 ")


PASSES = [
    [],
    ["Authorization: Bearer"],
    ["Authorization: Bearer "],
    ["Authorization: Basic cG9zOnBvcw=="],
    ["Authorization: pos"],
    ["Authorization: Bearer pos, Bearer pos"],
    ["Authorization: Bearer pos", "Authorization: Bearer pos"],
    ["Authorization: Bearer nobody", "Authorization: Bearer pos"],
    ["Authorization: Bearer pos\0"],
    ["Authorization: Bearer pos%00"],
    ["Authorization: Bearer POS"],
    ["Authorization: Bearer " + "p" * 10_000],
    ["X-Authorization: Bearer pos"],
    ["Proxy-Authorization: Bearer pos"],
    ["Cookie: Authorization=Bearer pos; key=pos"],
    ["X-Api-Key: pos"],
    ["X-Forwarded-User: pos"],
    ["X-Client-Cert: pos", "X-SSL-Client-Verify: SUCCESS"],
]


async def test_who_has_no_key_gets_in_by_nothing_else(redis_url: str, tmp_path: Path) -> None:
    content = msgspec.json.encode(redemption())
    lines = [
        f"POST /certificates/{CODE}/authorize?key=pos&access_token=pos HTTP/1.1",
        "Host: ledger",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        asked = len(here.door.ledger.changes)

        answers = [await here.door.raw("\r\n".join([*lines, *more, "", ""]).encode() + content) for more in PASSES]
        refused = len(here.door.ledger.changes)
        good = await here.door.raw("\r\n".join([*lines, "Authorization: Bearer pos", "", ""]).encode() + content)

    assert refused == asked
    # a zero byte is no part of a header; all else is one, of somebody unknown
    statuses = [answer.split(b" ")[1] for answer in answers]
    assert statuses == [b"400" if any("\0" in line for line in more) else b"401" for more in PASSES]
    assert good.startswith(b"HTTP/1.1 201 ")
