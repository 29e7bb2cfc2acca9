"""More stories that end with a refusal: those in which the ledger is not asked, is asked by support, or fails."""

from __future__ import annotations

import asyncio

from actors.errors import LeavingError, OutcomeUnknownError, OverloadedError
from ledger.commands import SYSTEM, Place, PlannedLine
from tests.unit.gateway.house import CODE, ORDER, OTHER, House, Response
from tests.unit.gateway.refusals import story

JSON = {"content-type": "application/json"}


@story("NotFound", "an order")
async def _(house: House) -> Response:
    return await house.get("/orders/SO-404")


@story("NotFound", "an address")
async def _(house: House) -> Response:
    return await house.get("/certificate")


@story("NotFound", "a path below an order")
async def _(house: House) -> Response:
    return await house.get(f"/orders/{ORDER}/lines")


@story("RecipientUnknown", "nobody to send it to")
async def _(house: House) -> Response:
    await issue_to_nobody(house)
    return await house.post("cvc", {}, "support")


async def issue_to_nobody(house: House) -> None:
    await house.ledger.ask(f"o:{ORDER}", Place(1, False, "OnlineStore", "RUB", (PlannedLine("1", 150_000),)), SYSTEM)
    await house.pay("1")
    await house.sell()


@story("IdempotencyKeyReused", "another body")
async def _(house: House) -> Response:
    await house.issue()
    key = {"Idempotency-Key": "k-1"}
    body = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
    await house.post("authorize", body, "pos", headers=key)
    return await house.post("authorize", {**body, "amount": 2}, "pos", headers=key)


@story("IdempotencyKeyReused", "another certificate")
async def _(house: House) -> Response:
    await house.issue()
    await house.issue(OTHER, order="SO-2")
    key = {"Idempotency-Key": "k-1"}
    body = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
    await house.post("authorize", body, "pos", headers=key)
    return await house.post("authorize", body, "pos", OTHER, headers=key)


@story("MethodNotAllowed", "put")
async def _(house: House) -> Response:
    return await house.request("PUT", f"/certificates/{CODE}", "support")


@story("MethodNotAllowed", "get of a post")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{CODE}/authorize")


@story("Unauthenticated", "no key")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{CODE}", None)


@story("Forbidden", "the role")
async def _(house: House) -> Response:
    return await house.post("block", {"reason": "mine"}, "pos")


@story("InvalidRequest", "no body")
async def _(house: House) -> Response:
    return await house.request("POST", f"/certificates/{CODE}/block", "support", headers=JSON)


@story("RequestTooLarge", "a long body")
async def _(house: House) -> Response:
    return await house.post("block", {"reason": "x" * 20_000}, "support")


@story("UnsupportedMediaType", "a form")
async def _(house: House) -> Response:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await house.request("POST", f"/certificates/{CODE}/block", "support", content=b"a=b", headers=headers)


@story("RequestTimeout", "half a body")
async def _(house: House) -> Response:
    # the house gives no more than this, and waits
    return await house.request(
        "POST", f"/certificates/{CODE}/block", "support", chunks=iter([b'{"reason":']), headers=JSON
    )


@story("InternalError", "a defect")
async def _(house: House) -> Response:
    return await troubled(house, ZeroDivisionError("division by zero"))


@story("Overloaded", "the ledger says so")
async def _(house: House) -> Response:
    return await troubled(house, OverloadedError("full"))


@story("Overloaded", "the shard leaves")
async def _(house: House) -> Response:
    return await troubled(house, LeavingError("stopping"))


@story("StorageUnavailable", "the outcome is unknown")
async def _(house: House) -> Response:
    return await troubled(house, OutcomeUnknownError("lost"))


@story("StorageUnavailable", "no answer in time")
async def _(house: House) -> Response:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    house.ledger.trouble = for_ever
    return await house.hold()


async def troubled(house: House, error: Exception) -> Response:
    async def fail() -> None:
        raise error

    house.ledger.trouble = fail
    return await house.hold()
