"""The bulk calls: an outcome for each item, which is that of the single call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.errors import OutcomeUnknownError
from gateway.bulk_requests import ITEMS_MAX
from tests.unit.gateway.batches import authorization, bodies, codes, held, send, statuses
from tests.unit.gateway.house import CODE, UNKNOWN, House, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger.answers import Answer
    from ledger.commands import AnyCommand, Origin


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A gateway with one active certificate: how its single calls come in makes no difference here."""
    async with opened() as house:
        await house.issue()
        yield house


def losing(house: House, lost: str) -> None:
    """From now on the ledger does what is asked under the key ``lost``, and its answer never comes."""
    ask = house.ledger.ask

    async def losing_ask(entity: str, command: AnyCommand, origin: Origin) -> Answer:
        answer = await ask(entity, command, origin)
        if getattr(command, "reference", None) == lost:
            raise OutcomeUnknownError("the shard went away in the middle")
        return answer

    house.ledger.ask = losing_ask  # type: ignore[method-assign]


# --- what comes back -------------------------------------------------------------------------------------------------


async def test_each_item_has_the_outcome_of_the_single_call(house: House) -> None:
    single = await house.hold(1_000)
    too_much = await house.hold(10**9)
    await house.post("void", {"operationId": single.body["authorizationId"]}, "pos")

    response = await send(
        house,
        "authorizations",
        [authorization("k-1"), authorization("k-2", code=UNKNOWN), authorization("k-3", 10**9)],
    )

    assert statuses(response) == [201, 404, 409]
    granted, missing, refused = bodies(response)
    assert {**granted, "authorizationId": ""} == {**single.body, "authorizationId": ""}
    assert missing["code"] == "CertificateNotFound"
    assert {**refused, "instance": "", "detail": ""} == {
        **too_much.body,
        "instance": "",
        "detail": "",
        "available": 149_000,
    }
    assert refused["instance"] == "/authorizations#/items/2"


async def test_items_of_one_certificate_are_carried_out_in_their_order(house: House) -> None:
    amounts = [140_000, 20_000, 10_000, 5_000]

    response = await send(house, "authorizations", [authorization(f"k-{amount}", amount) for amount in amounts])

    assert statuses(response) == [201, 409, 201, 409]
    assert [body["available"] for body in bodies(response)] == [10_000, 10_000, 0, 0]


async def test_every_field_of_the_single_call_counts(house: House) -> None:
    cvc = await house.cvc()
    full = authorization("k-1", 999_999, cvc=cvc, reference="POS-7/991", allowPartial=True, ttlSeconds=60)
    plain = authorization("k-2", 1, cvc=None, reference=None, ttlSeconds=None)

    response = await send(
        house, "authorizations", [full, plain, authorization("k-3", cvc="0000" if cvc != "0000" else "1")]
    )

    assert statuses(response) == [201, 409, 403]
    assert bodies(response)[0]["amount"] == 150_000
    (hold,) = (await house.get(f"/certificates/{CODE}")).body["holds"]
    assert hold["reference"] == "POS-7/991"
    assert hold["expiresAt"] == bodies(response)[0]["expiresAt"]


async def test_a_code_is_the_same_in_either_case(house: House) -> None:
    response = await send(house, "authorizations", [authorization("k-1", code=CODE.lower())])

    assert bodies(response)[0]["certificateCode"] == CODE


async def test_captures_and_voids(house: House) -> None:
    given = await send(house, "authorizations", [authorization(f"a-{number}") for number in range(3)])
    holds = [body["authorizationId"] for body in bodies(given)]
    captures: list[dict[str, Any]] = [
        {"certificateCode": CODE, "authorizationId": hold, "idempotencyKey": f"c-{place}"}
        for place, hold in enumerate(holds)
    ]
    captures[1] |= {"amount": 400, "final": False}
    captures[2] |= {"amount": 2_000}

    captured = await send(house, "captures", captures)
    voids = [
        {"certificateCode": CODE, "operationId": holds[1], "idempotencyKey": "v-1", "reason": "left over"},
        {
            "certificateCode": CODE,
            "operationId": bodies(captured)[0]["operationId"],
            "idempotencyKey": "v-2",
            "amount": 100,
        },
        {"certificateCode": CODE, "operationId": "op_1_x", "idempotencyKey": "v-3"},
    ]
    voided = await send(house, "voids", voids)

    assert statuses(captured) == [201, 201, 409]
    assert [body.get("amount") for body in bodies(captured)] == [1_000, 400, None]
    assert codes(captured)[2] == "CaptureExceedsAuthorization"
    assert statuses(voided) == [201, 201, 404]
    assert [body.get("voidedType") for body in bodies(voided)] == ["Authorization", "Capture", None]
    assert (await house.get(f"/certificates/{CODE}")).body["balance"] == 150_000 - 1_000 - 400 + 100


@pytest.mark.parametrize("count", [1, ITEMS_MAX])
async def test_as_few_and_as_many_as_may_be(house: House, count: int) -> None:
    response = await send(house, "authorizations", [authorization(f"k-{number}", 1) for number in range(count)])

    assert statuses(response) == [201] * count
    assert await held(house) == count


# --- once, however often it is sent ----------------------------------------------------------------------------------


async def test_a_batch_that_is_sent_again_answers_as_before(house: House) -> None:
    items = [authorization("k-1"), authorization("k-2", 10**9), authorization("k-3")]
    first = await send(house, "authorizations", items)

    again = await send(house, "authorizations", items)

    assert bodies(again) == bodies(first)
    assert [outcome.get("replayed") for outcome in first.body["outcomes"]] == [None, None, None]
    assert [outcome.get("replayed") for outcome in again.body["outcomes"]] == [True, True, True]
    assert await held(house) == 2_000


async def test_what_was_sent_in_bulk_may_be_repeated_one_by_one_and_the_other_way_round(house: House) -> None:
    single = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB", "ttlSeconds": 900}
    alone = await house.post("authorize", single, "pos", headers={"Idempotency-Key": "k-1"})
    together = await send(
        house, "authorizations", [authorization("k-1", ttlSeconds=900), authorization("k-2", ttlSeconds=900)]
    )

    repeated = await house.post("authorize", single, "pos", headers={"Idempotency-Key": "k-2"})

    assert bodies(together)[0] == alone.body
    assert [outcome.get("replayed") for outcome in together.body["outcomes"]] == [True, None]
    assert repeated.headers["idempotency-replayed"] == "true"
    assert repeated.body == bodies(together)[1]


async def test_captures_and_voids_too_are_the_single_ones(house: House) -> None:
    hold = (await house.hold()).body["authorizationId"]
    key = {"Idempotency-Key": "k-1"}
    alone = await house.post("capture", {"authorizationId": hold, "amount": 5, "final": False}, "pos", headers=key)
    item = {"certificateCode": CODE, "authorizationId": hold, "amount": 5, "final": False, "idempotencyKey": "k-1"}

    captured = await send(house, "captures", [item])
    voided = await send(house, "voids", [{"certificateCode": CODE, "operationId": hold, "idempotencyKey": "k-2"}])
    repeated = await house.post("void", {"operationId": hold}, "pos", headers={"Idempotency-Key": "k-2"})

    assert captured.body["outcomes"] == [{"status": 201, "replayed": True, "body": alone.body}]
    assert repeated.body == bodies(voided)[0]
    assert repeated.headers["idempotency-replayed"] == "true"


async def test_a_key_that_stands_twice_is_carried_out_once(house: House) -> None:
    response = await send(
        house, "authorizations", [authorization("k-1"), authorization("k-1"), authorization("k-1", 2_000)]
    )

    assert statuses(response) == [201, 201, 422]
    assert bodies(response)[0] == bodies(response)[1]
    assert codes(response)[2] == "IdempotencyKeyReused"
    assert await held(house) == 1_000


async def test_items_whose_answers_were_lost_are_found_done_when_the_batch_is_sent_again(house: House) -> None:
    items = [authorization(f"k-{number}", reference=f"r-{number % 2}") for number in range(4)]
    ask = house.ledger.ask
    losing(house, "r-1")

    first = await send(house, "authorizations", items)
    house.ledger.ask = ask  # type: ignore[method-assign]
    again = await send(house, "authorizations", items)

    assert statuses(first) == [201, 503, 201, 503]
    assert codes(first)[1] == "StorageUnavailable"
    assert bodies(first)[1]["retryAfter"] == 1
    assert statuses(again) == [201] * 4
    assert await held(house) == 4_000


# --- who may ---------------------------------------------------------------------------------------------------------


async def test_only_what_is_ones_own(house: House) -> None:
    mine, other = (await house.hold()).body["authorizationId"], (await house.hold(client="till-2")).body
    items = [
        {"certificateCode": CODE, "authorizationId": hold, "idempotencyKey": hold}
        for hold in (mine, other["authorizationId"])
    ]

    assert statuses(await send(house, "captures", items)) == [201, 403]


async def test_a_storefront_needs_the_cvc_for_each(house: House) -> None:
    cvc = await house.cvc()
    items = [authorization("k-1", cvc=cvc), authorization("k-2"), authorization("k-3", code=UNKNOWN, cvc=cvc)]

    response = await send(house, "authorizations", items, "storefront")

    assert statuses(response) == [201, 403, 403]
    assert codes(response)[1:] == ["CertificateRefused", "CertificateRefused"]
