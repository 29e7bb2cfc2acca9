"""Bulk calls that are not as they have to be, and those that the ledger has no time for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import OverloadedError
from gateway import bulk
from gateway.bulk_requests import ITEMS_MAX
from gateway.settings import GatewaySettings
from tests.unit.gateway.batches import authorization, bodies, codes, held, send, statuses
from tests.unit.gateway.house import UNKNOWN, House, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A gateway with one active certificate: how its single calls come in makes no difference here."""
    async with opened() as house:
        await house.issue()
        yield house


class Held:
    """Questions to the ledger wait until ``go_on``; ``come`` says when so many do."""

    def __init__(self, house: House) -> None:
        self.go_on = asyncio.Event()
        self._waiting = asyncio.Semaphore(0)
        house.ledger.trouble = self._trouble

    async def _trouble(self) -> None:
        self._waiting.release()
        await self.go_on.wait()

    async def come(self, count: int) -> None:
        for _ in range(count):
            await self._waiting.acquire()


# --- what is not as it has to be -------------------------------------------------------------------------------------

WELL = b'{"certificateCode":"GC-7K2M-9QXA","amount":1,"currency":"RUB","idempotencyKey":"k-%d"}'


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        (b"{}", ["certificateCode", "amount", "currency", "idempotencyKey"]),
        (b"null", [""]),
        (b"[]", [""]),
        (b"7", [""]),
        (b'{"a":' * 100 + b"1" + b"}" * 100, ["a", "certificateCode", "amount", "currency", "idempotencyKey"]),
        (WELL.replace(b"GC-7K2M-9QXA", b"GC"), ["certificateCode"]),
        (WELL.replace(b"GC-7K2M-9QXA", "GC-7K2M-9QXß".encode()), ["certificateCode"]),
        (WELL.replace(b"k-%d", b""), ["idempotencyKey"]),
        (WELL.replace(b"k-%d", b"k" * 65), ["idempotencyKey"]),
        (WELL.replace(b"k-%d", b"two words"), ["idempotencyKey"]),
        (WELL.replace(b'"k-%d"', b"null"), ["idempotencyKey"]),
        (WELL.replace(b'"amount":1', b'"amount":0'), ["amount"]),
        (WELL.replace(b'"amount":1', b'"amount":1.5'), ["amount"]),
        (WELL.replace(b"RUB", b"rub"), ["currency"]),
        (WELL.replace(b'"amount":1', b'"amount":1,"purpose":"Redemption"'), ["purpose"]),
        (WELL.replace(b'"amount":1', b'"amount":1,"amount":2'), ["amount"]),
        (WELL.replace(b'"amount":1', b'"amount":1,"\\u0061mount":2'), ["amount"]),
        (WELL.replace(b'"amount":1', b'"amount":1,"cvc":null,"cvc":"1234"'), ["cvc"]),
    ],
)
async def test_an_item_that_is_not_as_it_has_to_be_fails_alone(house: House, item: bytes, fields: list[str]) -> None:
    content = b'{"items":[%s,%s,%s]}' % (WELL % 1, item, WELL % 2)

    response = await send(house, "authorizations", content)

    assert statuses(response) == [201, 400, 201]
    assert bodies(response)[1]["code"] == "InvalidRequest"
    assert bodies(response)[1]["instance"] == "/authorizations#/items/1"
    assert [error["field"] for error in bodies(response)[1]["errors"]] == fields


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "items"),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"{}", "items"),
        (b'{"items":null}', "items"),
        (b'{"items":{}}', "items"),
        (b'{"items":[]}', "items"),
        (b'{"items":[' + b",".join([b"{}"] * (ITEMS_MAX + 1)) + b"]}", "items"),
        (b'{"items":[%s],"all":true}' % (WELL % 1), "all"),
        (b'{"items":[%s],"items":[%s]}' % (WELL % 1, WELL % 2), "items"),
        (b'{"items":[{}],"items":[%s]}' % (WELL % 2), "items"),
        (b'{"items":[%s]' % (WELL % 1), ""),
        (b'{"items":[' + b"[" * 100_000, ""),
        (b'{"items":[' + b"[" * 5_000 + b"]" * 5_000 + b"]}", ""),
        (b'{"items":[{"reference":"\xff"}]}', ""),
        (WELL % 1, "items"),
    ],
)
async def test_what_holds_the_items_fails_as_a_whole(house: House, content: bytes, field: str) -> None:
    asked = len(house.ledger.asked)

    response = await send(house, "authorizations", content)

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert field in [error["field"] for error in response.body["errors"]]
    assert len(house.ledger.asked) == asked


async def test_a_header_with_a_key_is_refused(house: House) -> None:
    response = await send(house, "authorizations", [authorization("k-1")], **{"Idempotency-Key": "k-1"})

    assert (response.status, response.code) == (400, "InvalidRequest")
    assert [error["field"] for error in response.body["errors"]] == ["Idempotency-Key"]
    assert await held(house) == 0


async def test_no_json(house: House) -> None:
    response = await send(house, "voids", b"{}", **{"content-type": "text/plain"})

    assert (response.status, response.code) == (415, "UnsupportedMediaType")


async def test_a_body_may_be_long_and_not_longer() -> None:
    items = [authorization(f"k-{number}", reference="x" * 200) for number in range(100)]
    async with opened(GatewaySettings(bulk_body_bytes_max=40_000)) as house:
        await house.issue()

        fits = await send(house, "authorizations", items)
        too_long = await send(house, "authorizations", items * 2)

    assert statuses(fits) == [201] * 100
    assert (too_long.status, too_long.code) == (413, "RequestTooLarge")


# --- trouble ---------------------------------------------------------------------------------------------------------


async def test_items_beyond_those_that_may_be_under_way_are_told_to_come_back() -> None:
    async with opened(GatewaySettings(bulk_items_in_flight_max=5)) as house:
        await house.issue()
        ledger = Held(house)
        first = asyncio.create_task(send(house, "authorizations", [authorization(f"a-{n}", 1) for n in range(3)]))
        await ledger.come(3)
        second = asyncio.create_task(send(house, "authorizations", [authorization(f"b-{n}", 1) for n in range(4)]))
        await ledger.come(2)

        third = await send(house, "authorizations", [authorization("c", 1), {}])
        ledger.go_on.set()
        answers = [await first, await second, third]
        again = await send(house, "authorizations", [authorization(f"b-{n}", 1) for n in range(4)])

        assert [statuses(answer) for answer in answers] == [[201] * 3, [201, 201, 503, 503], [503, 400]]
        assert codes(answers[1])[2:] == ["Overloaded", "Overloaded"]
        assert bodies(answers[1])[3]["retryAfter"] == 1
        assert statuses(again) == [201] * 4
        assert await held(house) == 7


async def test_a_bulk_call_too_many_is_told_to_come_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "REQUESTS_MAX", 1)
    ledger = Held(house)
    first = asyncio.create_task(send(house, "authorizations", [authorization("k-1")]))
    await ledger.come(1)

    second = await send(house, "voids", [{}])
    ledger.go_on.set()

    assert (second.status, second.code) == (503, "Overloaded")
    assert statuses(await first) == [201]
    assert statuses(await send(house, "voids", [{}])) == [400]


async def test_a_ledger_that_does_not_answer_leaves_all_unknown() -> None:
    async with opened(GatewaySettings(deadline_seconds=0.5)) as house:
        await house.issue()
        Held(house)

        late = await send(house, "authorizations", [authorization("k-1")])
        house.ledger.trouble = None
        metrics = (await house.get("/metrics", "ops")).content.decode()

    assert (late.status, late.code) == (503, "StorageUnavailable")
    assert "gift_ledger_http_items_in_flight 0.0" in metrics


async def test_failures_are_logged_once_for_each_kind(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async def busy() -> None:
        raise OverloadedError("the mailbox is full")

    house.ledger.trouble = busy

    response = await send(house, "authorizations", [authorization(f"k-{number}") for number in range(50)])

    assert statuses(response) == [503] * 50
    told = [record.getMessage() for record in caplog.records if record.name == "gateway.bulk"]
    assert told == ["authorizations: 50 of 50 items: OverloadedError: the mailbox is full"]


async def test_items_are_counted_under_the_name_of_the_single_call(house: House) -> None:
    await house.hold()
    await send(house, "authorizations", [authorization("k-1"), authorization("k-2", code=UNKNOWN), {}])

    lines = (await house.get("/metrics", "ops")).content.decode().splitlines()

    assert 'gift_ledger_http_requests_total{call="authorizations",status="200"} 1.0' in lines
    assert 'gift_ledger_http_items_total{call="authorize",status="201"} 1.0' in lines
    assert 'gift_ledger_http_items_total{call="authorize",status="404"} 1.0' in lines
    assert 'gift_ledger_http_item_problems_total{call="authorize",code="InvalidRequest"} 1.0' in lines
    assert 'gift_ledger_http_items_total{call="authorize",status=""} 1.0' not in lines
    assert 'gift_ledger_http_item_problems_total{call="authorize",code=""} 1.0' not in lines
