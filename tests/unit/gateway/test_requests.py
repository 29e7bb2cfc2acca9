"""What requests may look like: all else is refused before the ledger is asked, and the answer says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.settings import GatewaySettings
from tests.unit.gateway.house import CODE, House, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = {"content-type": "application/json"}
REDEMPTION = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
SALE = {"purpose": "Sale", "orderId": "SO-1", "orderLineId": "1"}
CAPTURE = {"authorizationId": "au_1_x"}
VOID = {"operationId": "op_1_x"}
BLOCK = {"reason": "stolen"}
CLIENTS = {"block": "support", "unblock": "support", "cvc": "support"}


async def fields_at_fault(house: House, call: str, body: object) -> list[str]:
    """Return the names that the answer gives as wrong."""
    asked = len(house.ledger.asked)

    response = await house.post(call, body, CLIENTS.get(call, "pos"))

    assert (response.status, response.code) == (400, "InvalidRequest"), response.content
    assert len(house.ledger.asked) == asked, "the ledger was asked"
    for error in response.body["errors"]:
        assert error["message"]
        assert error["message"] in response.body["detail"]
    return [error["field"] for error in response.body["errors"]]


@pytest.mark.parametrize(
    ("call", "body", "fields"),
    [
        ("authorize", {}, ["purpose"]),
        ("authorize", {"purpose": "Gift"}, ["purpose"]),
        ("authorize", {"purpose": 1}, ["purpose"]),
        ("authorize", {"purpose": None}, ["purpose"]),
        ("authorize", {"purpose": "Redemption"}, ["amount", "currency"]),
        ("authorize", {"purpose": "Sale"}, ["orderId", "orderLineId"]),
        ("authorize", {**SALE, "amount": 1}, ["amount"]),
        ("authorize", {**SALE, "orderId": ""}, ["orderId"]),
        ("authorize", {**SALE, "orderId": "a" * 65}, ["orderId"]),
        ("authorize", {**SALE, "orderId": "SO 1"}, ["orderId"]),
        ("authorize", {**SALE, "orderId": "SO-1\n"}, ["orderId"]),
        ("authorize", {**SALE, "orderLineId": 1}, ["orderLineId"]),
        ("authorize", {**REDEMPTION, "orderId": "SO-1", "lineId": "1"}, ["orderId", "lineId"]),
        ("authorize", {**REDEMPTION, "Amount": 1}, ["Amount"]),
        ("authorize", {**REDEMPTION, "amount": 0}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": -1}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": 10**12 + 1}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": 10**30}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": 1.5}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": "1"}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": True}, ["amount"]),
        ("authorize", {**REDEMPTION, "amount": None}, ["amount"]),
        ("authorize", {**REDEMPTION, "currency": "rub"}, ["currency"]),
        ("authorize", {**REDEMPTION, "currency": "RUBL"}, ["currency"]),
        ("authorize", {**REDEMPTION, "currency": "RUB\n"}, ["currency"]),
        ("authorize", {**REDEMPTION, "cvc": 4821}, ["cvc"]),
        ("authorize", {**REDEMPTION, "cvc": "482"}, ["cvc"]),
        ("authorize", {**REDEMPTION, "cvc": "٤٨٢١"}, ["cvc"]),
        ("authorize", {**REDEMPTION, "reference": ""}, ["reference"]),
        ("authorize", {**REDEMPTION, "reference": "x" * 201}, ["reference"]),
        ("authorize", {**REDEMPTION, "reference": "a\u0000b"}, ["reference"]),
        ("authorize", {**REDEMPTION, "allowPartial": "yes"}, ["allowPartial"]),
        ("authorize", {**REDEMPTION, "ttlSeconds": 59}, ["ttlSeconds"]),
        ("authorize", {**REDEMPTION, "ttlSeconds": 604_801}, ["ttlSeconds"]),
        ("authorize", {**REDEMPTION, "amount": 0, "currency": "", "extra": 1}, ["extra", "amount", "currency"]),
        ("capture", {}, ["authorizationId"]),
        ("capture", {"authorizationId": "a" * 65}, ["authorizationId"]),
        ("capture", {"authorizationId": "a/b"}, ["authorizationId"]),
        ("capture", {**CAPTURE, "amount": 0}, ["amount"]),
        ("capture", {**CAPTURE, "final": 1}, ["final"]),
        ("capture", {**CAPTURE, "reason": "x"}, ["reason"]),
        ("void", {}, ["operationId"]),
        ("void", {**VOID, "amount": 0.5}, ["amount"]),
        ("void", {**VOID, "reason": "two\nlines"}, ["reason"]),
        ("void", {**VOID, "final": True}, ["final"]),
        ("balance", {"cvc": ""}, ["cvc"]),
        ("balance", {"code": "x"}, ["code"]),
        ("block", {}, ["reason"]),
        ("block", {"reason": None}, ["reason"]),
        ("unblock", {**BLOCK, "until": "x"}, ["until"]),
        ("cvc", {"cvc": "1234"}, ["cvc"]),
        ("block", [], [""]),
        ("block", "text", [""]),
        ("block", None, [""]),
        ("block", 7, [""]),
    ],
)
async def test_a_body_that_does_not_fit_names_every_field_at_fault(
    house: House, call: str, body: object, fields: list[str]
) -> None:
    assert await fields_at_fault(house, call, body) == fields


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{", ""),
        (b"nonsense", ""),
        (b'{"reason":"a"}{"reason":"b"}', ""),
        (b'{"reason":"a",}', ""),
        (b"{'reason':'a'}", ""),
        (b'{"reason":"\xff\xfe"}', ""),
        (b"\xef\xbb\xbf{}", ""),
        (b'{"reason":NaN}', ""),
        (b'{"reason":' + b"[" * 5_000 + b"]" * 5_000 + b"}", ""),
        (b"[" * 16_000, ""),
        (b'{"a":' * 3_000, ""),
        (b'{"reason":"a","reason":"b"}', "reason"),
        (b'{"reason":"a","\\u0072eason":"b"}', "reason"),
        (b'{"reason":"\\ud800"}', ""),
    ],
)
async def test_text_that_is_not_json_or_says_two_things(house: House, content: bytes, field: str) -> None:
    found = await fields_at_fault(house, "block", content)

    assert len(found) == 1
    assert found[0] in {field, "reason"}


async def test_a_name_that_stands_in_a_text_is_not_repeated(house: House) -> None:
    await house.issue()

    response = await house.post("block", b'{"reason":"say \\"reason\\": \\"x\\", twice"}', "support")

    assert response.status == 200


async def test_names_of_unknown_fields_are_told_in_bounds(house: House) -> None:
    (field,) = await fields_at_fault(house, "cvc", {"x" * 1_000: 1})

    assert field == "x" * 64


@pytest.mark.parametrize(
    "media",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ;",
    ],
)
async def test_media_types_that_are_json(house: House, media: str) -> None:
    await house.issue()

    response = await house.post("block", BLOCK, "support", headers={"content-type": media})

    assert response.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=koi8-r"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json, application/json"},
        {"content-encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("call", ["void", "block"])
async def test_media_types_that_are_not(house: House, headers: dict[str, str], call: str) -> None:
    response = await house.post(call, BLOCK, "support", headers=headers)

    assert (response.status, response.code) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "code",
    [
        "GC-7K2",
        "G" * 33,
        "GC_7K2M_9QXA",
        "GC-7K2M-9QX%C3%84",
        "GC-7K2M%20-9QX",
        "GC-7K2M-9QX%FF",
        "GC-7K2M-9Q%EF%AC%80",
    ],
)
async def test_a_code_of_another_form(house: House, code: str) -> None:
    for response in (
        await house.post("authorize", SALE, "pos", code),
        await house.post("balance", {}, "pos", code),
        await house.get(f"/certificates/{code}"),
        await house.get(f"/certificates/{code}/operations"),
    ):
        assert (response.status, response.code) == (400, "InvalidRequest")
        assert [error["field"] for error in response.body["errors"]] == ["code"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%2B1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("after=-1", "after"),
        ("after=99999999999999999999999999", "after"),
        ("limit=5&after=x", "after"),
    ],
)
async def test_a_page_of_another_form(house: House, query: str, field: str) -> None:
    response = await house.get(f"/certificates/{CODE}/operations?{query}")

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert [error["field"] for error in response.body["errors"]] == [field]


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "2026-11-23",
        "2026-11-23T07:00:00",
        "2026-13-01T00:00:00Z",
        "2026-11-23T07:00:00+03:00",
        "2026-11-23T07:00:00%2B99:00",
        "1795417200000",
    ],
)
async def test_a_time_of_another_form(house: House, time: str) -> None:
    response = await house.get(f"/certificates/{CODE}?asOf={time}")

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert [error["field"] for error in response.body["errors"]] == ["asOf"]


@pytest.mark.parametrize("order", ["a" * 65, "SO%201", "SO%0A", "%C3%84", "%FF"])
async def test_an_order_id_of_another_form(house: House, order: str) -> None:
    response = await house.get(f"/orders/{order}")

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert [error["field"] for error in response.body["errors"]] == ["orderId"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/certificates",
        "/certificates/",
        "/orders",
        f"/certificates/{CODE}/refund",
        f"/certificates/{CODE}%2Fauthorize",
        f"/certificates/{CODE}/authorize/now",
        "/schema/swagger",
        "/favicon.ico",
        "/..%2F..%2Fetc/passwd",
        "/%00",
    ],
)
async def test_an_address_that_is_none(house: House, path: str) -> None:
    for method in ("GET", "POST"):
        response = await house.request(method, path, "support")

        assert (response.status, response.code) == (404, "NotFound")


async def test_a_slash_at_the_end_changes_nothing(house: House) -> None:
    await house.issue()

    assert (await house.request("POST", f"/certificates/{CODE}/balance/", "pos")).status == 200
    assert (await house.get(f"/certificates/{CODE}/")).status == 200
    assert (await house.get("/orders/SO-1001/")).status == 200


@pytest.mark.parametrize(
    "path", [f"/certificates/{CODE}", f"/certificates/{CODE}/authorize", "/orders/SO-1", "/metrics"]
)
async def test_a_method_that_an_address_does_not_take(house: House, path: str) -> None:
    for method in ("PUT", "PATCH", "DELETE", "TRACE"):
        response = await house.request(method, path, "ops")

        assert (response.status, response.code) == (405, "MethodNotAllowed")
        assert method not in response.headers["allow"]


async def test_the_instance_is_an_address_of_bounded_length(house: House) -> None:
    response = await house.get('/a"b\\<c>%0D%0Ax/' + "y" * 1_000)

    assert response.body["instance"].startswith("/a%22b%5C%3Cc%3E%0D%0Ax/yyy")
    assert len(response.body["instance"]) < 300


# --- size and time ---------------------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_long_is_not_read(house: House) -> None:
    headers = {**JSON, "content-length": "16385"}

    response = await house.request("POST", f"/certificates/{CODE}/block", "support", chunks=iter([]), headers=headers)

    assert (response.status, response.code) == (413, "RequestTooLarge")


@pytest.mark.parametrize("length", ["9" * 30, "16385"])
@pytest.mark.parametrize("call", ["void", "block"])
async def test_absurd_lengths(house: House, length: str, call: str) -> None:
    response = await house.post(call, BLOCK, "support", headers={"content-length": length})

    assert (response.status, response.code) == (413, "RequestTooLarge")


async def test_a_body_that_turns_out_too_long_is_read_no_further(house: House) -> None:
    taken = []

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            taken.append(1)
            yield b" " * 4_096

    response = await house.request(
        "POST",
        f"/certificates/{CODE}/block",
        "support",
        chunks=chunks(),
        headers={**JSON, "transfer-encoding": "chunked"},
    )

    assert (response.status, response.code) == (413, "RequestTooLarge")


async def test_a_body_in_parts(house: House) -> None:
    await house.issue()
    async with opened(GatewaySettings(body_bytes_max=64)) as small:
        response = await small.post("block", {"reason": "x" * 64}, "support")

    assert response.code == "RequestTooLarge"
