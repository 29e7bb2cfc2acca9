"""Codes with a wrong check character: refused on every route as unknown ones are, and the ledger is not asked."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from gateway.settings import GatewaySettings
from ledger.codes import Salable, complete
from ledger.policy import Policy
from tests.unit.gateway.batches import authorization, codes, send, statuses
from tests.unit.gateway.house import CODE, ORDER, House, Response, opened
from tests.unit.gateway.refusals import wrong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHECKED = GatewaySettings(code_prefixes_checked=("GC", "NY"))
SOLD_IF_CHECKED = Policy(codes=Salable.CHECKED, code_prefixes=("GC", "NY"))
OURS = complete("GC", "7K2M9XT43WPH6VJ")
FREE = complete("GC", "YXWVTRPNMKJHFDC")
"""Right, and never sold."""
MISTYPED = OURS.replace("7K", "K7")
STRANGE = OURS.replace("7K2M", "O0I1")
"""Our form, with characters that no code of ours has."""
REDEMPTION = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}

CALLS: dict[str, tuple[str, Any]] = {
    "authorize": ("authorize", REDEMPTION),
    "authorize with a CVC": ("authorize", {**REDEMPTION, "cvc": "4821"}),
    "balance": ("balance", {}),
    "balance with a CVC": ("balance", {"cvc": "4821"}),
    "capture": ("capture", {"authorizationId": "au_4_mfJsajEtQ3n1d3PI"}),
    "void": ("void", {"operationId": "op_5_hn2vV7sQp0aX9cWd"}),
    "block": ("block", {"reason": "stolen"}),
    "unblock": ("unblock", {"reason": "found"}),
    "cvc": ("cvc", {}),
}
MAY = {
    "storefront": ("authorize", "balance", "capture", "void"),
    "pos": ("authorize", "balance", "capture", "void"),
    "payments": ("capture", "void"),
    "support": ("void", "block", "unblock", "cvc"),
}
ASKED = [(role, name) for role, name in product(MAY, CALLS) if CALLS[name][0] in MAY[role]]


@pytest.fixture(params=[True, False], ids=["front", "litestar"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A house that checks codes, and sells its own alone."""
    async with opened(CHECKED, fast_lane=request.param, policy=SOLD_IF_CHECKED) as house:
        yield house


def told(response: Response) -> tuple[int, Any, list[str]]:
    """Return all that a response tells, but for where it happened and under which id."""
    names = [name for name in response.headers if name != "content-length"]
    return response.status, {**response.body, "instance": ""}, names


@pytest.mark.parametrize("code", [MISTYPED, STRANGE, MISTYPED.lower()], ids=["mistyped", "strange", "small letters"])
@pytest.mark.parametrize(("role", "name"), ASKED)
async def test_it_is_refused_as_an_unknown_code_is_without_a_look(
    house: House, role: str, name: str, code: str
) -> None:
    call, body = CALLS[name]
    unknown = await house.post(call, body, role, FREE)
    asked = len(house.ledger.asked)

    refused = await house.post(call, body, role, code)

    assert told(refused) == told(unknown)
    assert refused.status in {403, 404}
    assert len(house.ledger.asked) == asked
    assert await house.log.load([f"c:{code.upper()}"]) == await house.log.load(["c:GC-NOBODY"])


@pytest.mark.parametrize("target", ["", "/operations", "?asOf=2026-11-23T07:00:00.000Z"])
async def test_nor_can_it_be_read(house: House, target: str) -> None:
    unknown = await house.get(f"/certificates/{FREE}{target}")
    asked = len(house.ledger.asked)

    refused = await house.get(f"/certificates/{MISTYPED}{target}")

    assert refused.code == unknown.code == "CertificateNotFound"
    assert refused.status == unknown.status
    assert len(house.ledger.asked) == asked


async def test_a_sale_is_told_what_is_wrong(house: House) -> None:
    refused = await house.sell(MISTYPED)

    assert (refused.status, refused.code) == (400, "InvalidRequest")
    assert refused.body["errors"] == [
        {"field": "code", "message": "has a wrong check character: compare it with the card"}
    ]
    assert house.ledger.asked == []


@pytest.mark.parametrize("code", [OURS, complete("NY", "7K2M9XT43WPH6VJ")])
async def test_a_right_code_is_sold_and_spent(house: House, code: str) -> None:
    cvc = await house.issue(code)

    held = await house.hold(code=code, client="storefront", cvc=cvc)

    assert held.status == 201


async def test_a_code_of_another_form_is_asked_about_and_not_sold(house: House) -> None:
    refused = await house.sell(CODE)

    assert (refused.status, refused.code) == (422, "CodeNotForSale")
    assert len(house.ledger.asked) > 0


async def test_no_wrong_cvc_is_counted_and_nothing_is_ever_limited(house: House) -> None:
    body = {"cvc": "0000"}

    answers = [await house.post("balance", body, "storefront", MISTYPED) for _ in range(6)]

    assert {answer.code for answer in answers} == {"CertificateRefused"}
    assert house.ledger.asked == []


async def test_the_key_stays_free(house: House) -> None:
    """Nothing happened: as with what is refused before the ledger is asked, the corrected request may have the key."""
    cvc = await house.issue(OURS)
    key = {"Idempotency-Key": "till-7-991"}

    first = await house.post("authorize", {**REDEMPTION, "cvc": cvc}, "pos", MISTYPED, key)
    again = await house.post("authorize", {**REDEMPTION, "cvc": cvc}, "pos", MISTYPED, key)
    corrected = await house.post("authorize", {**REDEMPTION, "cvc": cvc}, "pos", OURS, key)

    assert (first.code, again.code) == ("CertificateNotFound", "CertificateNotFound")
    assert "idempotency-replayed" not in again.headers
    assert corrected.status == 201


@pytest.mark.parametrize(
    ("call", "body", "client", "headers", "status"),
    [
        ("authorize", REDEMPTION, "nobody", {}, 401),
        ("authorize", REDEMPTION, "support", {}, 403),
        ("authorize", {**REDEMPTION, "amount": 0}, "pos", {}, 400),
        ("authorize", REDEMPTION, "pos", {"content-type": "text/plain"}, 415),
    ],
)
async def test_what_else_is_wrong_is_told_first(
    house: House, call: str, body: dict[str, Any], client: str, headers: dict[str, str], status: int
) -> None:
    refused = await house.post(call, body, client, MISTYPED, headers)

    assert refused.status == status


async def test_a_certificate_that_was_sold_before_is_spent_as_ever() -> None:
    """Under a code of another form, whose sale is repeated as well; and under ours, while nothing was checked."""
    async with opened() as before:
        await before.issue(CODE)
        log = before.log
    async with opened(CHECKED, policy=SOLD_IF_CHECKED, log=log) as after:
        again = await after.sell(CODE)
        cvc = await after.cvc(CODE)
        held = await after.hold(client="storefront", cvc=cvc)
        mismatch = await after.hold(cvc=wrong(cvc))

    assert (again.status, again.body["status"]) == (200, "Active")
    assert held.status == 201
    assert mismatch.code == "CvcMismatch"


@pytest.mark.parametrize("call", ["authorizations", "captures", "voids"])
async def test_items_in_bulk_fare_as_single_calls_do(house: House, call: str) -> None:
    await house.issue(OURS)
    items: dict[str, dict[str, object]] = {
        "authorizations": {"amount": 1_000, "currency": "RUB"},
        "captures": {"authorizationId": "au_4_mfJsajEtQ3n1d3PI"},
        "voids": {"operationId": "op_5_hn2vV7sQp0aX9cWd"},
    }
    asked = len(house.ledger.asked)

    answer = await send(
        house,
        call,
        [
            {"certificateCode": code, "idempotencyKey": str(number), **items[call]}
            for number, code in enumerate([MISTYPED, FREE, OURS, STRANGE.lower()])
        ],
    )

    mistyped, unknown, ours, strange = codes(answer)
    assert mistyped == unknown == strange != ""
    assert (
        ours
        == {
            "authorizations": "",
            "captures": "AuthorizationNotFound",
            "voids": "OperationNotFound",
        }[call]
    )
    assert [entity for entity, _, _ in house.ledger.asked[asked:]] == [f"c:{FREE}", f"c:{OURS}"]


async def test_a_batch_of_mistyped_codes_asks_nobody(house: House) -> None:
    answer = await send(house, "authorizations", [authorization(str(n), code=MISTYPED) for n in range(3)], "storefront")

    assert statuses(answer) == [403] * 3
    assert house.ledger.asked == []


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
async def test_by_default_nothing_is_checked(*, fast_lane: bool) -> None:
    async with opened(fast_lane=fast_lane) as house:
        sold = await house.sell(MISTYPED)
        unknown = await house.hold(code=STRANGE)
        read = await house.get(f"/certificates/{MISTYPED}")

    assert (sold.status, unknown.status, read.status) == (201, 404, 200)
    assert sold.body["orderId"] == ORDER
    assert len(house.ledger.asked) > 2
