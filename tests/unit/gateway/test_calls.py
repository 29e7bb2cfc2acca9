"""Each POST call when all goes well, field by field; and what holds for all calls."""

from __future__ import annotations

import re

import pytest

from tests.unit.gateway.house import CODE, ORDER, House

NOW = "2026-11-23T07:00:00.000Z"
TOMORROW = "2026-11-24T07:00:00.000Z"
NEXT_YEAR = "2027-11-23T07:00:00.000Z"
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_identifier(text: object) -> bool:
    return isinstance(text, str) and IDENTIFIER.fullmatch(text) is not None


# --- authorize: Sale -------------------------------------------------------------------------------------------------


async def test_a_sale_reserves_the_code_for_the_channel_of_the_key(house: House) -> None:
    await house.place("1")

    response = await house.sell(client="storefront")

    assert response.status == 201
    assert response.headers["content-type"] == "application/json"
    assert response.body == {
        "certificateCode": CODE,
        "status": "Reserved",
        "orderId": ORDER,
        "orderLineId": "1",
        "channel": "OnlineStore",
        "plannedDenomination": 150_000,
        "currency": "RUB",
        "reservedUntil": TOMORROW,
    }


async def test_a_sale_before_the_order_is_known_has_no_plan_yet(house: House) -> None:
    response = await house.sell()

    assert response.status == 201
    assert (response.body["plannedDenomination"], response.body["currency"]) == (None, None)


async def test_the_same_sale_again_is_200_with_the_same_body(house: House) -> None:
    await house.place("1")
    first = await house.sell()

    second = await house.sell()

    assert (first.status, second.status) == (201, 200)
    assert second.content == first.content
    assert "idempotency-replayed" not in second.headers


async def test_a_sale_for_a_paid_order_activates_at_once(house: House) -> None:
    await house.place("1")
    await house.pay("1")

    response = await house.sell()

    assert (response.status, response.body["status"]) == (201, "Active")


async def test_a_code_is_the_same_in_either_case(house: House) -> None:
    await house.sell(CODE.lower())

    response = await house.get(f"/certificates/{CODE.title()}")

    assert response.body["certificateCode"] == CODE


async def test_a_code_may_be_percent_encoded(house: House) -> None:
    await house.sell("%47C%2D7K2M-9QX%61")

    response = await house.get(f"/certificates/{CODE}")

    assert response.status == 200


# --- authorize: Redemption -------------------------------------------------------------------------------------------


async def test_a_redemption_holds_the_amount(house: House) -> None:
    await house.issue()

    response = await house.hold(50_000, reference="POS-7/991")

    assert response.status == 201
    body = response.body
    assert is_identifier(body.pop("authorizationId"))
    assert body == {
        "certificateCode": CODE,
        "status": "Authorized",
        "amount": 50_000,
        "currency": "RUB",
        "available": 100_000,
        "balance": 150_000,
        "expiresAt": "2026-11-23T07:15:00.000Z",
    }


async def test_a_redemption_may_say_how_long_it_holds(house: House) -> None:
    await house.issue()

    response = await house.hold(ttlSeconds=60)

    assert response.body["expiresAt"] == "2026-11-23T07:01:00.000Z"


async def test_a_partial_redemption_holds_what_is_there(house: House) -> None:
    await house.issue()

    response = await house.hold(200_000, allowPartial=True)

    assert (response.body["amount"], response.body["available"]) == (150_000, 0)


async def test_the_site_redeems_with_the_cvc(house: House) -> None:
    cvc = await house.issue()

    response = await house.hold(client="storefront", cvc=cvc)

    assert response.status == 201


async def test_optional_fields_may_be_null(house: House) -> None:
    await house.issue()

    response = await house.hold(cvc=None, reference=None, ttlSeconds=None)

    assert response.status == 201


# --- capture and void ------------------------------------------------------------------------------------------------


async def test_a_capture_takes_the_money(house: House) -> None:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]

    response = await house.post("capture", {"authorizationId": hold, "amount": 50_000, "final": True}, "pos")

    assert response.status == 201
    body = response.body
    assert is_identifier(body.pop("operationId"))
    assert body == {
        "type": "Capture",
        "certificateCode": CODE,
        "authorizationId": hold,
        "amount": 50_000,
        "currency": "RUB",
        "balance": 100_000,
        "available": 100_000,
        "status": "Active",
        "version": body["version"],
    }
    assert response.body["version"] == (await house.get(f"/certificates/{CODE}")).body["version"]


async def test_a_capture_of_everything_depletes(house: House) -> None:
    await house.issue()
    hold = (await house.hold(150_000)).body["authorizationId"]

    response = await house.post("capture", {"authorizationId": hold}, "payments")

    assert (response.body["status"], response.body["balance"]) == ("Depleted", 0)


async def test_captures_that_are_not_final_keep_the_rest_of_the_hold(house: House) -> None:
    await house.issue()
    hold = (await house.hold(50_000)).body["authorizationId"]

    first = await house.post("capture", {"authorizationId": hold, "amount": 20_000, "final": False}, "pos")
    second = await house.post("capture", {"authorizationId": hold}, "pos")

    assert (first.body["balance"], first.body["available"]) == (130_000, 100_000)
    assert (second.body["amount"], second.body["balance"]) == (30_000, 100_000)


async def test_a_void_of_an_authorization_releases_the_hold(house: House) -> None:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]

    response = await house.post("void", {"operationId": hold}, "pos")

    assert response.status == 201
    body = response.body
    assert is_identifier(body.pop("operationId"))
    assert body == {
        "type": "Void",
        "voids": hold,
        "voidedType": "Authorization",
        "certificateCode": CODE,
        "amount": 50_000,
        "currency": "RUB",
        "balance": 150_000,
        "available": 150_000,
        "status": "Active",
        "version": body["version"],
    }


async def test_a_void_of_a_capture_puts_the_money_back_in_parts(house: House) -> None:
    await house.issue()
    hold = (await house.hold(150_000)).body["authorizationId"]
    capture = (await house.post("capture", {"authorizationId": hold}, "pos")).body["operationId"]

    first = await house.post("void", {"operationId": capture, "amount": 20_000, "reason": "came back"}, "payments")
    second = await house.post("void", {"operationId": capture}, "support")

    assert (first.body["voidedType"], first.body["balance"], first.body["status"]) == ("Capture", 20_000, "Active")
    assert (second.body["amount"], second.body["balance"]) == (130_000, 150_000)


async def test_a_void_of_an_unused_activation_undoes_the_sale(house: House) -> None:
    await house.issue()
    activation = (await house.get(f"/certificates/{CODE}")).body["activationId"]

    response = await house.post("void", {"operationId": activation}, "support")

    assert (response.body["voidedType"], response.body["status"]) == ("Activation", "Cancelled")


# --- the rest --------------------------------------------------------------------------------------------------------


async def test_a_balance_inquiry(house: House) -> None:
    cvc = await house.issue()

    response = await house.post("balance", {"cvc": cvc}, "storefront")

    assert response.status == 200
    assert response.body == {
        "certificateCode": CODE,
        "status": "Active",
        "currency": "RUB",
        "balance": 150_000,
        "available": 150_000,
        "expiresAt": NEXT_YEAR,
    }


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_a_till_may_ask_for_the_balance_without_a_cvc_or_a_body(house: House, content: bytes) -> None:
    await house.issue()

    response = await house.request("POST", f"/certificates/{CODE}/balance", "pos", content=content, headers=JSON)

    assert response.status == 200


JSON = {"content-type": "application/json"}


async def test_a_till_that_asks_for_a_balance_hears_why_there_is_none_to_spend(house: House) -> None:
    await house.issue()
    await house.post("block", {"reason": "stolen"}, "support")
    blocked = await house.post("balance", {}, "pos")
    await house.post("unblock", {"reason": "found"}, "support")
    house.clock.now += 366 * 24 * 3_600_000

    expired = await house.post("balance", {}, "pos")

    assert [(answer.status, answer.code) for answer in (blocked, expired)] == [
        (409, "CertificateBlocked"),
        (409, "CertificateExpired"),
    ]


async def test_support_blocks_and_unblocks(house: House) -> None:
    await house.issue()

    blocked = await house.post("block", {"reason": "stolen"}, "support")
    again = await house.post("block", {"reason": "stolen"}, "support")
    unblocked = await house.post("unblock", {"reason": "found"}, "support")

    assert [(response.status, response.body["status"]) for response in (blocked, again, unblocked)] == [
        (200, "Blocked"),
        (200, "Blocked"),
        (200, "Active"),
    ]
    assert again.body["version"] == blocked.body["version"]


async def test_a_new_cvc_makes_the_old_one_void(house: House) -> None:
    old = await house.issue()

    response = await house.request("POST", f"/certificates/{CODE}/cvc", "support")

    assert response.status == 200
    assert "cvc" not in response.content.decode().lower()
    new = await house.cvc()
    assert (await house.post("balance", {"cvc": new}, "storefront")).status == 200
    if new != old:  # one time in ten thousand it is the same
        assert (await house.post("balance", {"cvc": old}, "storefront")).code == "CertificateRefused"


async def test_head_is_get_without_the_body(house: House) -> None:
    await house.issue()
    got = await house.get(f"/certificates/{CODE}")

    head = await house.request("HEAD", f"/certificates/{CODE}", "support")

    assert (head.status, head.content) == (200, b"")
    assert {**head.headers, "x-request-id": ""} == {**got.headers, "x-request-id": ""}


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (f"/certificates/{CODE}", "GET, HEAD, OPTIONS"),
        (f"/certificates/{CODE}/authorize", "OPTIONS, POST"),
        ("/health/live", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_tells_the_methods_without_a_key(house: House, path: str, allow: str) -> None:
    response = await house.request("OPTIONS", path)

    assert (response.status, response.headers["allow"]) == (204, allow)


async def test_a_request_id_and_a_trace_come_back(house: House) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    response = await house.get("/nowhere", headers={"X-Request-Id": "mine-1", "traceparent": trace})

    assert (response.headers["x-request-id"], response.headers["traceparent"]) == ("mine-1", trace)


@pytest.mark.parametrize("given", ["", "two words", "a" * 65, "ключ"])
async def test_a_request_id_that_is_none_is_replaced(house: House, given: str) -> None:
    response = await house.get("/health/live", None, headers={"X-Request-Id": given.encode().decode("latin-1")})

    assert response.headers["x-request-id"] != given
    assert 1 <= len(response.headers["x-request-id"]) <= 64
