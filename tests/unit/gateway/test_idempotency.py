"""``Idempotency-Key`` on every POST."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.access import Call, Client, Role
from ledger.commands import AnyCommand, Block, Capture, Inquire, Unblock, Void
from tests.unit.gateway.house import CODE, ORDER, House, Response


async def bodies(house: House) -> dict[str, tuple[Any, str]]:
    """Return a body and a client for each call, in an order in which all of them go well."""
    await house.issue()
    hold = (await house.hold(10_000)).body["authorizationId"]
    other = (await house.hold(10_000)).body["authorizationId"]
    return {
        "authorize": ({"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}, "pos"),
        "capture": ({"authorizationId": hold}, "pos"),
        "void": ({"operationId": other}, "pos"),
        "balance": ({}, "pos"),
        "block": ({"reason": "stolen"}, "support"),
        "unblock": ({"reason": "found"}, "support"),
        "cvc": ({}, "support"),
    }


@pytest.mark.parametrize("call", ["authorize", "capture", "void", "balance", "block", "unblock", "cvc"])
async def test_the_same_key_gives_the_first_outcome_again(house: House, call: str) -> None:
    body, client = (await bodies(house))[call]
    key = {"Idempotency-Key": "k-1"}
    first = await house.post(call, body, client, headers=key)
    await house.hold(1)  # the balance and the version are others by now

    second = await house.post(call, body, client, headers=key)

    assert first.status in {200, 201}
    assert "idempotency-replayed" not in first.headers
    assert (second.status, second.content) == (first.status, first.content)
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_sale_is_replayed_with_its_first_status(house: House) -> None:
    async def sell() -> Response:
        body = {"purpose": "Sale", "orderId": ORDER, "orderLineId": "1"}
        return await house.post("authorize", body, "pos", headers={"Idempotency-Key": "k-1"})

    first, second = await sell(), await sell()

    assert (first.status, second.status) == (201, 201)
    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_key_bare_and_quoted_is_the_same(house: House) -> None:
    await house.issue()
    body = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}
    await house.post("authorize", body, "pos", headers={"Idempotency-Key": "k-1"})

    again = await house.post("authorize", body, "pos", headers={"Idempotency-Key": '"k-1"'})

    assert again.headers["idempotency-replayed"] == "true"


async def test_a_key_belongs_to_its_client(house: House) -> None:
    await house.issue()
    body = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}
    key = {"Idempotency-Key": "k-1"}
    first = await house.post("authorize", body, "pos", headers=key)

    other = await house.post("authorize", body, "till-2", headers=key)

    assert "idempotency-replayed" not in other.headers
    assert other.body["authorizationId"] != first.body["authorizationId"]


async def test_the_order_of_fields_does_not_make_another_request(house: House) -> None:
    await house.issue()
    key = {"Idempotency-Key": "k-1"}
    await house.post("authorize", b'{"purpose":"Redemption","amount":1,"currency":"RUB"}', "pos", headers=key)

    again = await house.post(
        "authorize", b'{ "currency": "RUB", "amount": 1, "purpose": "Redemption" }', "pos", headers=key
    )

    assert again.headers["idempotency-replayed"] == "true"


async def test_a_request_that_failed_before_the_ledger_may_be_corrected_under_its_key(house: House) -> None:
    await house.issue()
    key = {"Idempotency-Key": "k-1"}
    wrong = await house.post(
        "authorize", {"purpose": "Redemption", "amount": 1.5, "currency": "RUB"}, "pos", headers=key
    )

    right = await house.post("authorize", {"purpose": "Redemption", "amount": 1, "currency": "RUB"}, "pos", headers=key)

    assert (wrong.status, right.status) == (400, 201)


@pytest.mark.parametrize("key", ["a", "k" * 64, '"with \\" quote"'.replace(" ", "_"), "!#$%&'*+-.^_`|~:/()[]{}"])
async def test_what_a_key_may_be(house: House, key: str) -> None:
    await house.issue()

    response = await house.post("balance", {}, "pos", headers={"Idempotency-Key": key})

    assert response.status == 200


@pytest.mark.parametrize("key", ["k" * 65, "two words", '""', '"open', '"a" "b"', "ключ", "tab\there", f'"{"k" * 65}"'])
@pytest.mark.parametrize("call", ["authorize", "balance"])
async def test_what_a_key_may_not_be(house: House, key: str, call: str) -> None:
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}

    response = await house.post(call, {}, "pos", headers=headers)

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert [error["field"] for error in response.body["errors"]] == ["Idempotency-Key"]


async def test_a_cvc_is_not_kept_in_the_fingerprint(house: House) -> None:
    cvc = await house.issue()

    await house.post("balance", {"cvc": cvc}, "pos", headers={"Idempotency-Key": "k-1"})

    _, command, origin = house.ledger.asked[-1]
    assert cvc not in repr(command)
    assert cvc.encode() not in origin.fingerprint + origin.key
    assert CODE not in repr(origin)


class LaterCapture(Capture, frozen=True, tag="capture"):
    """The command as a later release may have it."""

    tip: int = 0


def test_a_field_that_a_later_release_adds_leaves_repeats_what_they_are() -> None:
    client = Client(name="till", role=Role.POS, channel=None)

    def fingerprint(command: Capture) -> bytes:
        return client.origin(Call.CAPTURE, "c:X", command, "k-1").fingerprint

    for amount, final in ((None, True), (5, True), (None, False), (5, False)):
        assert fingerprint(LaterCapture("au", amount, final)) == fingerprint(Capture("au", amount, final))
    assert fingerprint(LaterCapture("au", tip=1)) != fingerprint(Capture("au"))


def test_what_is_asked_makes_the_fingerprint() -> None:
    client = Client(name="till", role=Role.POS, channel=None)
    asked: list[AnyCommand] = [
        Capture("au"), Capture("au", 5), Capture("au", None, final=False), Capture("au", 5, final=False), Capture("ua"),
        Void("au"), Void("au", 5), Block("x"), Unblock("x"), Inquire(), Inquire(b"digest"),
    ]  # fmt: skip

    fingerprints = {client.origin(Call.CAPTURE, "c:X", command, "k-1").fingerprint for command in asked}

    assert len(fingerprints) == len(asked)
