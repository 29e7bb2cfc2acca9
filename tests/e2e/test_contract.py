"""The contract, walked through over HTTP: every call, and every refusal that a client can bring about."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from examples.cast import SmsInbox, cvc_in
from examples.patience import eventually
from gateway.problems import KINDS, MEDIA_TYPE
from tests.real.market import Market, new_code
from tests.real.stack import ANSWER_SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.ray]

DENOMINATION = 150_000
RUB: dict[str, object] = {"purpose": "Redemption", "currency": "RUB"}
BODY_BYTES_TOO_MANY = 1_000_000
NOT_BROUGHT_ABOUT_HERE = {
    "InternalError",  # a defect
    "Overloaded",  # see tests/fault
    "StorageUnavailable",  # see tests/fault
    "RequestTimeout",  # see tests/integration/test_http_server.py
}
METRICS = (
    "gift_ledger_http_requests_total",
    'gift_ledger_actor_up{actor="certificates:00"} 1.0',
    'gift_ledger_lines_coverage_short_total{actor="certificates:00"}',
    'gift_ledger_outbox_waiting{actor="bridge:relay"}',
)


class Clients:
    """A client of each role, and the phones of the recipients."""

    def __init__(self, stack: RunningStack, market: Market) -> None:
        self.market = market
        self.pos, self.storefront = stack.client("pos"), stack.client("storefront")
        self.payments, self.support, self.ops = stack.client("payments"), stack.client("support"), stack.client("ops")
        self.stranger = httpx.AsyncClient(base_url=stack.endpoints.http, timeout=ANSWER_SECONDS_MAX, trust_env=False)
        self.inbox = SmsInbox(
            httpx.AsyncClient(base_url=stack.endpoints.sms_inbox, timeout=ANSWER_SECONDS_MAX, trust_env=False)
        )

    async def close(self) -> None:
        for client in (self.pos, self.storefront, self.payments, self.support, self.ops, self.stranger):
            await client.aclose()
        await self.inbox._http.aclose()

    async def sold(self) -> tuple[str, str]:
        """A certificate that was just sold, and its CVC."""
        phone = f"+7{uuid.uuid4().int % 10**10:010}"
        (code,) = await self.market.sell(1, DENOMINATION, phone=phone)
        return code, await self.cvc(phone, 1)

    async def cvc(self, phone: str, count: int) -> str:
        """What the latest of so many messages to a phone tells."""
        messages = await self.inbox.wait_for(phone, count)
        assert len(messages) == count
        found = cvc_in(messages[-1].text)
        assert found is not None
        return found


@pytest.fixture
async def clients(shared_stack: RunningStack) -> AsyncIterator[Clients]:
    async with Market(shared_stack) as market:
        clients = Clients(shared_stack, market)
        yield clients
        await clients.close()


def given(response: httpx.Response, status: int = 201) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["X-Request-Id"]
    body: dict[str, Any] = response.json()
    return body


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers["Content-Type"] == MEDIA_TYPE
    assert response.headers["X-Request-Id"]
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    return problem


def test_every_refusal_is_brought_about_by_some_test_of_this_folder() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))

    assert {str(code) for code in KINDS if f'{KINDS[code].status}, "{code}"' not in tests} == NOT_BROUGHT_ABOUT_HERE


async def test_requests_that_never_reach_the_ledger(clients: Clients) -> None:
    path, body = f"/certificates/{new_code()}/authorize", {**RUB, "amount": 1}
    pos, large = clients.pos, b"x" * BODY_BYTES_TOO_MANY

    problem = refused(await pos.post(path, json={**body, "colour": "red"}), 400, "InvalidRequest")
    assert [error["field"] for error in problem["errors"]] == ["colour"]
    refused(await clients.stranger.post(path, json=body), 401, "Unauthenticated")
    refused(await clients.ops.post(path, json=body), 403, "Forbidden")
    refused(await pos.get("/certificate"), 404, "NotFound")
    refused(await pos.delete(path), 405, "MethodNotAllowed")
    refused(await pos.post(path, content=large, headers={"Content-Type": "application/json"}), 413, "RequestTooLarge")
    refused(await pos.post(path, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "UnsupportedMediaType")


async def test_a_sale(clients: Clients) -> None:
    market, pos = clients.market, clients.pos
    first, second = new_code(), new_code()
    order_id = await market.order({"1": DENOMINATION, "2": DENOMINATION})
    sale = {"purpose": "Sale", "orderId": order_id, "orderLineId": "1"}

    reserved = given(await pos.post(f"/certificates/{first}/authorize", json=sale))
    again = given(await pos.post(f"/certificates/{first.lower()}/authorize", json=sale), 200)

    assert (reserved["status"], reserved["channel"]) == ("Reserved", "POS")
    assert again["certificateCode"] == first
    await market.pay(order_id, {"1": 100, "2": 0}, outstanding=DENOMINATION)  # the order is known from now on
    other = {**sale, "orderLineId": "2"}
    refused(await pos.post(f"/certificates/{first}/authorize", json=other), 409, "CodeAlreadySold")
    refused(await pos.post(f"/certificates/{second}/authorize", json=sale), 409, "OrderLineAlreadyAllocated")
    known = await market.order({"1": DENOMINATION}, orderId=f"SO-{new_code()}")
    await market.order_is_known(known)
    missing = {"purpose": "Sale", "orderId": known, "orderLineId": "9"}
    refused(await pos.post(f"/certificates/{second}/authorize", json=missing), 422, "OrderLineNotFound")
    await market.order({"1": DENOMINATION}, orderId=known, orderVersion=2, status="Cancelled")
    await market.order_is_known(known, version=2)
    cancelled = {**missing, "orderLineId": "1"}
    refused(await pos.post(f"/certificates/{second}/authorize", json=cancelled), 409, "OrderCancelled")
    refused(await pos.post(f"/certificates/{first}/authorize", json={**RUB, "amount": 1}), 409, "CertificateNotActive")
    refused(await pos.post(f"/certificates/{second}/authorize", json={**RUB, "amount": 1}), 404, "CertificateNotFound")


async def test_a_redemption(clients: Clients) -> None:
    code, cvc = await clients.sold()
    path = f"/certificates/{code}"

    hold = given(await clients.storefront.post(f"{path}/authorize", json={**RUB, "amount": 50_000, "cvc": cvc}))

    assert (hold["available"], hold["balance"]) == (100_000, DENOMINATION)
    problem = refused(
        await clients.pos.post(f"{path}/authorize", json={**RUB, "amount": 100_001}), 409, "InsufficientFunds"
    )
    assert problem["available"] == 100_000
    part = given(await clients.pos.post(f"{path}/authorize", json={**RUB, "amount": 100_001, "allowPartial": True}))
    assert (part["amount"], part["available"]) == (100_000, 0)
    dollars = {**RUB, "amount": 1, "currency": "USD"}
    refused(await clients.pos.post(f"{path}/authorize", json=dollars), 422, "CurrencyMismatch")
    capture = {"authorizationId": hold["authorizationId"], "amount": 20_000, "final": False}
    refused(await clients.pos.post(f"{path}/capture", json=capture), 403, "Forbidden")
    taken = given(await clients.storefront.post(f"{path}/capture", json=capture))
    assert (taken["balance"], taken["available"], taken["status"]) == (130_000, 0, "Active")
    much = {**capture, "amount": 30_001}
    refused(await clients.payments.post(f"{path}/capture", json=much), 409, "CaptureExceedsAuthorization")
    given(await clients.payments.post(f"{path}/capture", json={"authorizationId": hold["authorizationId"]}))
    refused(await clients.payments.post(f"{path}/capture", json=capture), 409, "AuthorizationAlreadyCaptured")
    given(await clients.pos.post(f"{path}/void", json={"operationId": part["authorizationId"]}))
    voided = {"authorizationId": part["authorizationId"]}
    refused(await clients.pos.post(f"{path}/capture", json=voided), 409, "AuthorizationVoided")
    unknown = {"authorizationId": "au_1_never"}
    refused(await clients.pos.post(f"{path}/capture", json=unknown), 404, "AuthorizationNotFound")
    balance = given(await clients.storefront.post(f"{path}/balance", json={"cvc": cvc}), 200)
    assert (balance["balance"], balance["available"]) == (100_000, 100_000)


async def test_cvcs_tell_nothing_and_are_limited(clients: Clients) -> None:
    code, cvc = await clients.sold()
    wrong = f"{(int(cvc) + 1) % 10_000:04}"
    unknown = new_code()
    told = []
    for name in (code, unknown):
        body = {**RUB, "amount": 1, "cvc": wrong}
        first = refused(
            await clients.storefront.post(f"/certificates/{name}/authorize", json=body), 403, "CertificateRefused"
        )
        for _ in range(2):
            refused(
                await clients.storefront.post(f"/certificates/{name}/balance", json={"cvc": wrong}), 403, first["code"]
            )
        limited = await clients.storefront.post(f"/certificates/{name}/authorize", json=body)
        problem = refused(limited, 429, "RateLimited")
        assert limited.headers["Retry-After"] == str(problem["retryAfter"])
        told.append({**first, "instance": ""})
    assert told[0] == told[1]
    without = await clients.storefront.post(f"/certificates/{code}/authorize", json={**RUB, "amount": 1})
    refused(without, 403, "CertificateRefused")
    given(await clients.pos.post(f"/certificates/{code}/authorize", json={**RUB, "amount": 1}))  # needs no CVC
    other, _ = await clients.sold()
    mistyped = {**RUB, "amount": 1, "cvc": f"{(int(_) + 1) % 10_000:04}"}
    refused(await clients.pos.post(f"/certificates/{other}/authorize", json=mistyped), 403, "CvcMismatch")


async def test_a_refund(clients: Clients) -> None:
    code, _ = await clients.sold()
    path = f"/certificates/{code}"
    hold = given(await clients.pos.post(f"{path}/authorize", json={**RUB, "amount": DENOMINATION}))
    taken = given(await clients.pos.post(f"{path}/capture", json={"authorizationId": hold["authorizationId"]}))
    assert taken["status"] == "Depleted"
    void = {"operationId": taken["operationId"], "amount": 20_000}

    refused(await clients.storefront.post(f"{path}/void", json=void), 403, "Forbidden")
    back = given(await clients.support.post(f"{path}/void", json={**void, "reason": "an article came back"}))

    assert (back["voidedType"], back["status"], back["balance"]) == ("Capture", "Active", 20_000)
    much = {**void, "amount": DENOMINATION}
    refused(await clients.support.post(f"{path}/void", json=much), 409, "VoidExceedsOperation")
    again = {"operationId": back["operationId"]}
    refused(await clients.support.post(f"{path}/void", json=again), 409, "OperationNotVoidable")
    refused(await clients.support.post(f"{path}/void", json={"operationId": "op_1_never"}), 404, "OperationNotFound")
    blocked = given(await clients.support.post(f"{path}/block", json={"reason": "stolen"}), 200)
    assert blocked["status"] == "Blocked"
    refused(await clients.payments.post(f"{path}/void", json=void), 409, "CertificateBlocked")
    given(await clients.support.post(f"{path}/void", json={"operationId": taken["operationId"]}))
    refused(await clients.support.post(f"{path}/void", json=void), 409, "OperationAlreadyVoided")
    given(await clients.support.post(f"{path}/unblock", json={"reason": "found"}), 200)
    assert given(await clients.ops.get(path), 200)["balance"] == DENOMINATION


async def test_an_undone_sale_and_a_new_cvc(clients: Clients) -> None:
    phone = f"+7{uuid.uuid4().int % 10**10:010}"
    (code,) = await clients.market.sell(1, DENOMINATION, phone=phone)
    path = f"/certificates/{code}"
    old = await clients.cvc(phone, 1)

    given(await clients.support.post(f"{path}/cvc", json={}), 200)

    new = await clients.cvc(phone, 2)
    inquiry = await clients.storefront.post(f"{path}/balance", json={"cvc": new})
    assert given(inquiry, 200)["balance"] == DENOMINATION
    if new != old:  # one in ten thousand is
        refused(await clients.storefront.post(f"{path}/balance", json={"cvc": old}), 403, "CertificateRefused")
    activation = given(await clients.support.get(path), 200)["activationId"]
    undone = given(await clients.support.post(f"{path}/void", json={"operationId": activation}))
    assert (undone["voidedType"], undone["status"]) == ("Activation", "Cancelled")
    nobody = await clients.market.sell(1, DENOMINATION, phone="")
    refused(await clients.support.post(f"/certificates/{nobody[0]}/cvc", json={}), 409, "RecipientUnknown")


async def test_a_key_names_one_request(clients: Clients) -> None:
    code, _ = await clients.sold()
    path, key = f"/certificates/{code}/authorize", {"Idempotency-Key": uuid.uuid4().hex}

    first = await clients.pos.post(path, json={**RUB, "amount": 100}, headers=key)
    second = await clients.pos.post(path, json={**RUB, "amount": 100}, headers=key)
    third = await clients.pos.post(path, json={**RUB, "amount": 101}, headers=key)

    assert given(first) == given(second)
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    refused(third, 422, "IdempotencyKeyReused")
    assert given(await clients.ops.get(f"/certificates/{code}"), 200)["held"] == 100


async def test_reading(clients: Clients) -> None:
    code, _ = await clients.sold()
    path = f"/certificates/{code}"
    before = await clients.ops.get(path)
    given(await clients.pos.post(f"{path}/authorize", json={**RUB, "amount": 100, "reference": "POS-7/991"}))

    same = await clients.ops.get(path, headers={"If-None-Match": before.headers["ETag"]})
    now = given(same, 200)
    fresh = await clients.ops.get(path, headers={"If-None-Match": same.headers["ETag"]})
    then = given(await clients.ops.get(path, params={"asOf": before.json()["activatedAt"]}), 200)

    assert (fresh.status_code, fresh.content) == (304, b"")
    assert ([hold["reference"] for hold in now["holds"]], then["held"]) == (["POS-7/991"], 0)
    page = given(await clients.ops.get(f"{path}/operations", params={"limit": 1}), 200)
    rest = given(await clients.ops.get(f"{path}/operations", params={"after": page["next"]}), 200)
    assert [entry["version"] for entry in (*page["operations"], *rest["operations"])] == [*range(1, now["version"] + 1)]
    order = given(await clients.payments.get(f"/orders/{now['orderId']}"), 200)
    assert [(line["certificateCode"], line["collectedAmount"]) for line in order["certificateLines"]] == [
        (code, DENOMINATION)
    ]
    refused(await clients.ops.get("/orders/SO-NEVER"), 404, "NotFound")


async def test_what_needs_no_ledger(clients: Clients) -> None:
    stranger = clients.stranger

    live = await stranger.get("/health/live")
    ready = await eventually(lambda: stranger.get("/health/ready"), lambda seen: seen.json()["status"] == "ok")
    document, page = await stranger.get("/schema/openapi.json"), await stranger.get("/schema")
    metrics = await eventually(
        lambda: clients.ops.get("/metrics"), lambda seen: all(metric in seen.text for metric in METRICS)
    )

    assert (live.status_code, ready.status_code, ready.json()["status"]) == (200, 200, "ok")
    assert document.json()["openapi"].startswith("3.1")
    assert "/certificates/{code}/authorize" in document.json()["paths"]
    assert page.headers["Content-Type"].startswith("text/html")
    assert [metric for metric in METRICS if metric not in metrics.text] == []
    refused(await stranger.get("/metrics"), 401, "Unauthenticated")
