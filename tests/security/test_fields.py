"""API3: nobody sets what is the ledger's to decide, and nobody is shown more than his call is for."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.access import Call
from gateway.bulk_requests import SINGLE
from tests.integration.http_client import get, post
from tests.security.stage import DENOMINATION, NAME, PHONE, call, redemption, street, told
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.http_client import Answer

pytestmark = pytest.mark.real

OURS: dict[str, object] = {
    "balance": 10**9,
    "available": 10**9,
    "held": 0,
    "denomination": 10**9,
    "plannedDenomination": 10**9,
    "status": "Active",
    "version": 1,
    "activatedAt": "2026-01-01T00:00:00.000Z",
    "expiresAt": "2099-01-01T00:00:00.000Z",
    "reservedUntil": "2099-01-01T00:00:00.000Z",
    "channel": "Store",
    "client": "till-2",
    "role": "support",
    "keyId": "k_1",
    "address": "127.0.0.1",
    "ownOnly": False,
    "own_only": False,
    "cvcRequired": False,
    "overridesBlock": True,
    "cvcDigest": "00",
    "certificateCode": "GC-0000-0002",
    "code": "GC-0000-0002",
    "type": "Capture",
    "voidedType": "Activation",
    "isOrderSettled": True,
    "__class__": "Void",
    "__proto__": {"balance": 10**9},
    "Amount": 1,
    "AMOUNT": 1,
    "ttl_seconds": 604_800,
    "authorization_id": "au_1_x",
}
"""What a caller may wish to set. None of it is a field of a body, however it is spelled."""
ITEM_HAS = {"certificateCode"}
CALLS: dict[Call, tuple[str, dict[str, object]]] = {
    Call.AUTHORIZE: ("pos", redemption()),
    Call.CAPTURE: ("payments", {"authorizationId": "au_1_x"}),
    Call.VOID: ("payments", {"operationId": "op_1_x"}),
    Call.BALANCE: ("pos", {}),
    Call.BLOCK: ("support", {"reason": "mine"}),
    Call.UNBLOCK: ("support", {"reason": "mine"}),
    Call.CVC: ("support", {}),
}
SALE: dict[str, object] = {"purpose": "Sale", "orderId": "SO-1", "orderLineId": "1"}
BODIES = [*((one, client, body) for one, (client, body) in CALLS.items()), (Call.AUTHORIZE, "storefront", SALE)]


def decoded(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(answer.content)
    return found


def names_of(value: object) -> set[str]:
    """The names of all fields, at any depth."""
    if isinstance(value, dict):
        return set(value) | {name for part in value.values() for name in names_of(part)}
    return {name for part in value for name in names_of(part)} if isinstance(value, list) else set()


async def test_what_is_the_ledgers_is_refused_in_every_body(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.asked)

        for (name, client, body), (field, value) in product(BODIES, OURS.items()):
            answer = await here.door.ask(call(CODE, name, body | {field: value}, client))

            assert told(answer) == (400, "InvalidRequest"), (name, field)
            assert field in {error["field"] for error in decoded(answer)["errors"]}, (name, field)

        assert len(here.door.ledger.asked) == before


async def test_what_is_the_ledgers_is_refused_in_items_and_around_them(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.asked)
        for many, single in SINGLE.items():
            client, body = CALLS[single]
            item = {name: value for name, value in body.items() if name != "purpose"}
            item |= {"certificateCode": CODE, "idempotencyKey": "k"}
            extras = [(field, value) for field, value in OURS.items() if field not in ITEM_HAS]

            async def sent(body: dict[str, object], path: str = f"/{many}", client: str = client) -> Answer:
                return await here.door.ask(post(path, msgspec.json.encode(body), client=client))

            around = [await sent({"items": [item], field: value}) for field, value in OURS.items()]
            keyed = [item | {"idempotencyKey": f"k-{number}"} for number in range(len(extras))]
            items = [one | {field: value} for one, (field, value) in zip(keyed, extras, strict=True)]
            within = await sent({"items": items})

            assert {told(answer) for answer in around} == {(400, "InvalidRequest")}
            assert {outcome["status"] for outcome in decoded(within)["outcomes"]} == {400}

        assert len(here.door.ledger.asked) == before


async def test_what_stands_in_the_address_sets_nothing(redis_url: str, tmp_path: Path) -> None:
    query = "&".join(f"{field}={value}" for field, value in OURS.items() if isinstance(value, str | int))
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        body = msgspec.json.encode(redemption(1_000))

        held = await here.door.ask(post(f"/certificates/{CODE}/authorize?{query}&amount=1&client=till-2", body))
        state = await here.state(CODE)

    assert (decoded(held)["amount"], decoded(held)["balance"]) == (1_000, DENOMINATION)
    (hold,) = state["holds"]
    assert (hold["client"], hold["amount"]) == ("pos", 1_000)


SOLD = {
    *("certificateCode", "status", "orderId", "orderLineId", "channel"),
    *("plannedDenomination", "currency", "reservedUntil"),
}
HELD = {"authorizationId", "certificateCode", "status", "amount", "currency", "available", "balance", "expiresAt"}
TAKEN = {
    *("operationId", "type", "certificateCode", "authorizationId", "amount", "currency"),
    *("balance", "available", "status", "version"),
}
UNDONE = TAKEN - {"authorizationId"} | {"voids", "voidedType"}
INQUIRED = {"certificateCode", "status", "currency", "balance", "available", "expiresAt"}
STATE = {
    *("certificateCode", "status", "currency", "denomination", "balance", "held", "available", "version", "channel"),
    *("orderId", "orderLineId", "reservedUntil", "activatedAt", "expiresAt", "activationId", "holds"),
    *("authorizationId", "amount", "authorized", "client", "reference"),
}
HISTORY = {
    *("certificateCode", "operations", "next", "operationId", "type", "version", "occurredAt", "client", "channel"),
    *("balance", "held", "available", "status", "amount", "currency", "authorizationId", "voids", "voidedType"),
    *("orderId", "orderLineId", "reference", "reason", "expiresAt"),
}
ORDER = {
    *("orderId", "status", "orderVersion", "paymentVersion", "channel", "currency", "capturedAmount"),
    *("outstandingAmount", "isOrderSettled", "certificateLines", "orderLineId", "plannedDenomination"),
    *("collectedAmount", "certificateCode"),
}
PRIVATE = re.compile(
    rb"127\.0\.0\.1|cvc|pepper|digest|sealed|phone|recipient|locale|keyId|key_id|idempotency|%b|%b"
    % (re.escape(PHONE.encode()), NAME.encode()),
    re.IGNORECASE,
)
"""What nobody is shown: who the recipient is, what a CVC is checked by, with which key and from where it came."""


@pytest.mark.parametrize("seller", ["storefront", "pos"])
async def test_who_sells_and_takes_is_shown_what_the_call_is_for(redis_url: str, tmp_path: Path, seller: str) -> None:
    async with street(redis_url, tmp_path) as here:
        cvc = await here.issue(CODE, seller)
        again = decoded(
            await here.door.ask(call(CODE, "authorize", SALE | {"orderId": f"SO-{CODE}"}, seller, "Idempotency-Key: s"))
        )
        held = await here.door.ask(call(CODE, "authorize", redemption(cvc=cvc), seller))
        asked = await here.door.ask(call(CODE, "balance", {"cvc": cvc}, seller))
        capture = {"authorizationId": decoded(held)["authorizationId"]}
        taken = await here.door.ask(call(CODE, "capture", capture, seller))
        undone = await here.door.ask(call(CODE, "void", {"operationId": decoded(taken)["operationId"]}, seller))

    assert set(again) == SOLD
    assert [set(decoded(answer)) for answer in (held, asked, taken, undone)] == [HELD, INQUIRED, TAKEN, UNDONE]
    for answer in (held, asked, taken, undone):
        assert not PRIVATE.search(answer.content), answer.content


@pytest.mark.parametrize("reader", ["payments", "support", "ops"])
async def test_who_reads_is_shown_no_recipient_no_cvc_and_no_address(
    redis_url: str, tmp_path: Path, reader: str
) -> None:
    async with street(redis_url, tmp_path) as here:
        cvc = await here.issue(CODE, "storefront")
        hold = await here.hold(CODE, "storefront", 2_000, cvc)
        part = {"authorizationId": hold, "amount": 500, "final": False}
        await here.door.ask(call(CODE, "capture", part, "storefront"))
        await here.door.ask(call(CODE, "authorize", redemption(cvc="0000" if cvc != "0000" else "0001"), "pos"))
        await here.door.ask(call(CODE, "cvc", {}, "support"))
        await here.door.ask(call(CODE, "block", {"reason": "asked for"}, "support"))

        answers = [
            await here.door.ask(get(target, client=reader))
            for target in (f"/certificates/{CODE}", f"/certificates/{CODE}/operations", f"/orders/SO-{CODE}")
        ]

    for answer, allowed in zip(answers, (STATE, HISTORY, ORDER), strict=True):
        assert answer.status == 200
        assert names_of(decoded(answer)) <= allowed
        assert not PRIVATE.search(re.sub(rb'"ReissueCvc"', b"", answer.content)), answer.content


async def test_a_refusal_shows_the_site_nothing_of_a_certificate(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        cvc = await here.issue(CODE)
        blocked, unpaid = "GC-0000-0002", "GC-0000-0003"
        blocked_cvc = await here.issue(blocked)
        await here.door.ask(call(blocked, "block", {"reason": "asked for"}, "support"))
        await here.door.ask(call(unpaid, "authorize", SALE, "pos"))
        wrong = f"{(int(cvc) + 1) % 10_000:04}"

        answers = [
            await here.door.ask(call(code, name, body | ({} if sent is None else {"cvc": sent}), "storefront"))
            for code, sent in ((CODE, wrong), (CODE, None), (unpaid, wrong), ("GC-NOBODY-HAS", wrong), (blocked, None))
            for name, body in (("authorize", redemption()), ("balance", {}))
        ]
        known = await here.door.ask(call(blocked, "authorize", redemption(cvc=blocked_cvc), "storefront"))

    bodies = [{**decoded(answer), "instance": ""} for answer in answers]
    assert bodies == [bodies[0]] * len(bodies)
    assert set(bodies[0]) == {"type", "title", "status", "detail", "instance", "code"}
    assert bodies[0]["code"] == "CertificateRefused"
    assert len({frozenset(answer.headers) for answer in answers}) == 1
    assert known.status in {403, 409}
