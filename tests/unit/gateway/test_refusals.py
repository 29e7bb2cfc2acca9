"""Every code of the contract, reached through HTTP: its status, and what a caller needs to go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import ActorError, LeavingError, OutcomeUnknownError, OverloadedError
from gateway.faults import Fault
from gateway.problems import KINDS
from gateway.settings import GatewaySettings
from ledger.refusals import Refusal
from tests.unit.gateway.house import CODE, ORDER, OTHER, UNKNOWN, House, Response, opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DAY = 86_400
JSON = {"content-type": "application/json"}

STORIES: dict[tuple[str, str], Callable[[House], Awaitable[Response]]] = {}


def story(code: str, name: str) -> Callable[[Callable[[House], Awaitable[Response]]], None]:
    """Register a way to be refused."""

    def register(told: Callable[[House], Awaitable[Response]]) -> None:
        STORIES[code, name] = told

    return register


async def captured(house: House, amount: int = 150_000) -> tuple[str, str]:
    """Return the authorization and the capture of an active certificate."""
    hold = (await house.hold(amount)).body["authorizationId"]
    return hold, (await house.post("capture", {"authorizationId": hold}, "pos")).body["operationId"]


async def activation(house: House) -> str:
    return str((await house.get(f"/certificates/{CODE}")).body["activationId"])


# --- a sale ----------------------------------------------------------------------------------------------------------


@story("CodeAlreadySold", "reserved for another line")
async def _(house: House) -> Response:
    await house.sell()
    return await house.sell(line="2")


@story("CodeAlreadySold", "sold")
async def _(house: House) -> Response:
    await house.issue()
    return await house.sell(order="SO-2")


@story("CodeAlreadySold", "sold and undone")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("void", {"operationId": await activation(house)}, "support")
    return await house.sell(order="SO-2")


@story("OrderLineAlreadyAllocated", "the line has a code")
async def _(house: House) -> Response:
    await house.sell()
    return await house.sell(OTHER)


@story("OrderLineNotFound", "no such line")
async def _(house: House) -> Response:
    await house.place("1")
    return await house.sell(line="9")


@story("OrderCancelled", "the order is")
async def _(house: House) -> Response:
    await house.place("1", cancelled=True)
    return await house.sell()


# --- a redemption ----------------------------------------------------------------------------------------------------


@story("CertificateNotFound", "authorize")
async def _(house: House) -> Response:
    return await house.hold(code=UNKNOWN)


@story("CertificateNotFound", "read")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{UNKNOWN}")


@story("CertificateNotFound", "history")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{UNKNOWN}/operations")


@story("CertificateNotFound", "before it was sold")
async def _(house: House) -> Response:
    await house.issue()
    house.clock.advance(60)
    return await house.get(f"/certificates/{CODE}?asOf=2020-01-01T00:00:00Z")


@story("CertificateNotActive", "reserved")
async def _(house: House) -> Response:
    await house.sell()
    return await house.hold()


@story("CertificateNotActive", "its balance")
async def _(house: House) -> Response:
    await house.sell()
    return await house.post("balance", {}, "pos")


@story("CertificateBlocked", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.hold()


@story("CertificateBlocked", "void")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house, 1_000)
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.post("void", {"operationId": capture}, "pos")


@story("CertificateBlocked", "a new CVC")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.post("cvc", {}, "support")


@story("CertificateExpired", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    house.clock.advance(366 * DAY)
    return await house.hold()


@story("CertificateExpired", "a void after thirty days")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    house.clock.advance((365 + 31) * DAY)
    return await house.post("void", {"operationId": capture}, "pos")


@story("CurrencyMismatch", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    return await house.hold(currency="EUR")


@story("InsufficientFunds", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    await house.hold(100_000)
    return await house.hold(50_001)


@story("InsufficientFunds", "nothing left for a part")
async def _(house: House) -> Response:
    await house.issue()
    await house.hold(150_000)
    return await house.hold(1, allowPartial=True)


@story("CertificateRefused", "no CVC")
async def _(house: House) -> Response:
    await house.issue()
    return await house.hold(client="storefront")


@story("CertificateRefused", "balance without a CVC")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("balance", {}, "storefront")


@story("CvcMismatch", "optional and wrong")
async def _(house: House) -> Response:
    return await house.hold(cvc=wrong(await house.issue()))


@story("RateLimited", "the fourth wrong CVC")
async def _(house: House) -> Response:
    cvc = wrong(await house.issue())
    for _ in range(3):
        await house.hold(client="storefront", cvc=cvc)
    return await house.hold(client="storefront", cvc=cvc)


@story("RateLimited", "an unknown code")
async def _(house: House) -> Response:
    for _ in range(3):
        await house.post("balance", {"cvc": "0000"}, "storefront", UNKNOWN)
    return await house.post("balance", {"cvc": "0000"}, "storefront", UNKNOWN)


def wrong(cvc: str) -> str:
    return f"{(int(cvc) + 1) % 10_000:04d}"


# --- a capture -------------------------------------------------------------------------------------------------------


@story("AuthorizationNotFound", "never given")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("capture", {"authorizationId": "au_1_nothing"}, "pos")


@story("AuthorizationNotFound", "of another certificate")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold}, "pos", OTHER)


@story("AuthorizationExpired", "lapsed")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold(ttlSeconds=60)).body["authorizationId"]
    house.clock.advance(61)
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("AuthorizationAlreadyCaptured", "twice")
async def _(house: House) -> Response:
    await house.issue()
    hold, _ = await captured(house)
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("AuthorizationVoided", "voided before")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    await house.post("void", {"operationId": hold}, "pos")
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("CaptureExceedsAuthorization", "more than was held")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold(50_000)).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold, "amount": 50_001}, "pos")


@story("Forbidden", "another client's authorization")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold}, "till-2")


# --- a void ----------------------------------------------------------------------------------------------------------


@story("OperationNotFound", "never given")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("void", {"operationId": "op_1_nothing"}, "support")


@story("OperationAlreadyVoided", "a capture, in full")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    await house.post("void", {"operationId": capture}, "pos")
    return await house.post("void", {"operationId": capture}, "pos")


@story("VoidExceedsOperation", "more than was captured")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house, 1_000)
    return await house.post("void", {"operationId": capture, "amount": 1_001}, "pos")


@story("OperationNotVoidable", "a void")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    void = (await house.post("void", {"operationId": capture}, "pos")).body["operationId"]
    return await house.post("void", {"operationId": void}, "support")


@story("OperationNotVoidable", "an activation that was drawn on")
async def _(house: House) -> Response:
    await house.issue()
    await captured(house, 1)
    return await house.post("void", {"operationId": await activation(house)}, "support")


@story("Forbidden", "another client's operation")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    return await house.post("void", {"operationId": capture}, "till-2")


# --- the rest --------------------------------------------------------------------------------------------------------


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
    from ledger.commands import SYSTEM, Place, PlannedLine  # noqa: PLC0415 - for this story alone

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


FIGURES = {
    ("InsufficientFunds", "authorize"): {"available": 50_000},
    ("InsufficientFunds", "nothing left for a part"): {"available": 0},
    ("CaptureExceedsAuthorization", "more than was held"): {"left": 50_000},
    ("VoidExceedsOperation", "more than was captured"): {"left": 1_000},
    ("RateLimited", "the fourth wrong CVC"): {"retryAfter": 30},
    ("RateLimited", "an unknown code"): {"retryAfter": 30},
}
HASTY = GatewaySettings(receive_seconds=0.02, deadline_seconds=0.5)


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
@pytest.mark.parametrize(("code", "name"), STORIES)
async def test_a_refusal(code: str, name: str, *, fast_lane: bool) -> None:
    async with opened(HASTY, fast_lane=fast_lane) as house:
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
