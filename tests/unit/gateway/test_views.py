"""Each GET call on certificates and orders when all goes well, field by field."""

from __future__ import annotations

import pytest

from ledger.commands import SYSTEM, Release
from tests.unit.gateway.house import CODE, ORDER, OTHER, House
from tests.unit.gateway.test_calls import NEXT_YEAR, NOW, is_identifier


async def test_the_state_of_a_certificate(house: House) -> None:
    await house.issue()
    hold = (await house.hold(reference="POS-7/991")).body["authorizationId"]

    response = await house.get(f"/certificates/{CODE}")

    body = response.body
    assert is_identifier(body.pop("activationId"))
    assert response.headers["etag"] == f'"{body["version"]}"'
    assert body == {
        "certificateCode": CODE,
        "status": "Active",
        "currency": "RUB",
        "denomination": 150_000,
        "balance": 150_000,
        "held": 50_000,
        "available": 100_000,
        "version": body["version"],
        "channel": "Store",
        "orderId": ORDER,
        "orderLineId": "1",
        "reservedUntil": None,
        "activatedAt": NOW,
        "expiresAt": NEXT_YEAR,
        "holds": [
            {
                "authorizationId": hold,
                "amount": 50_000,
                "authorized": 50_000,
                "expiresAt": "2026-11-23T07:15:00.000Z",
                "client": "pos",
                "reference": "POS-7/991",
            }
        ],
    }


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"1000", {tag}', "*"])
async def test_an_unchanged_certificate_is_304(house: House, form: str) -> None:
    await house.issue()
    tag = (await house.get(f"/certificates/{CODE}")).headers["etag"]

    response = await house.get(f"/certificates/{CODE}", headers={"If-None-Match": form.format(tag=tag)})

    assert response.status == 304
    assert response.headers["etag"] == tag


async def test_a_changed_certificate_is_told_again(house: House) -> None:
    await house.issue()
    tag = (await house.get(f"/certificates/{CODE}")).headers["etag"]
    await house.hold()

    response = await house.get(f"/certificates/{CODE}", headers={"If-None-Match": tag})

    assert response.status == 200


async def test_the_state_at_a_time(house: House) -> None:
    await house.issue()
    house.clock.advance(60)
    await house.hold()
    house.clock.advance(60)

    before = await house.get(f"/certificates/{CODE}?asOf=2026-11-23T07:00:30Z")
    between = await house.get(f"/certificates/{CODE}?asOf=2026-11-23T10:01:00.500%2B03:00")
    now = await house.get(f"/certificates/{CODE}?asOf=2030-01-01T00:00:00.000Z")

    assert [response.body["held"] for response in (before, between, now)] == [0, 50_000, 50_000]


async def test_the_history_in_pages(house: House) -> None:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    capture = (await house.post("capture", {"authorizationId": hold}, "pos")).body["operationId"]
    await house.post("void", {"operationId": capture, "reason": "came back"}, "support")

    whole = await house.get(f"/certificates/{CODE}/operations")
    first = await house.get(f"/certificates/{CODE}/operations?limit=2")
    second = await house.get(f"/certificates/{CODE}/operations?limit=200&after={first.body['next']}")

    assert whole.body["next"] is None
    assert first.body["operations"] + second.body["operations"] == whole.body["operations"]
    void = whole.body["operations"][-1]
    assert is_identifier(void.pop("operationId"))
    assert void == {
        "type": "Void",
        "version": void["version"],
        "occurredAt": NOW,
        "client": "support",
        "channel": None,
        "status": "Active",
        "balance": 150_000,
        "held": 0,
        "available": 150_000,
        "amount": 50_000,
        "currency": "RUB",
        "voids": capture,
        "voidedType": "Capture",
        "reason": "came back",
    }


async def test_in_the_history_a_release_leaves_no_status(house: House) -> None:
    await house.sell()
    await house.place("2")  # the order turns out not to have line 1
    await house.ledger.ask(f"c:{CODE}", Release(ORDER, "1", "no such line"), SYSTEM)
    await house.sell(order="SO-2")

    operations = (await house.get(f"/certificates/{CODE}/operations")).body["operations"]

    released = next(one for one in operations if one["type"] == "Release")
    assert "status" not in released


async def test_an_order_with_its_lines(house: House) -> None:
    await house.place("1", "2")
    await house.pay("1")
    await house.sell(CODE, "1")

    response = await house.get(f"/orders/{ORDER}")

    assert response.status == 200
    assert response.body == {
        "orderId": ORDER,
        "status": "Placed",
        "orderVersion": 1,
        "paymentVersion": 1,
        "channel": "OnlineStore",
        "currency": "RUB",
        "capturedAmount": 150_000,
        "outstandingAmount": 0,
        "isOrderSettled": True,
        "certificateLines": [
            {
                "orderLineId": "1",
                "plannedDenomination": 150_000,
                "collectedAmount": 150_000,
                "certificateCode": CODE,
                "status": "Activated",
            },
            {
                "orderLineId": "2",
                "plannedDenomination": 150_000,
                "collectedAmount": 0,
                "certificateCode": None,
                "status": "CoverageShort",
            },
        ],
    }
    tag = response.headers["etag"]
    assert (await house.get(f"/orders/{ORDER}", headers={"If-None-Match": tag})).status == 304


async def test_an_order_id_with_odd_characters_is_percent_encoded(house: House) -> None:
    await house.sell(OTHER, order="SO/7?#%2F")

    response = await house.get("/orders/SO%2F7%3F%23%252F")

    assert response.body["orderId"] == "SO/7?#%2F"
