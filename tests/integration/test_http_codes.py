"""Which codes may be sold and looked up, through real HTTP with each setting; imported codes stand in a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gift_ledger.settings import Settings
from ledger.codes import complete
from persistence.codes import RedisCodeStore
from persistence.settings import StorageSettings
from tests.integration.http_client import Line, get, post, served
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Literal

    from tests.integration.http_client import Served

pytestmark = pytest.mark.real

OURS = complete("GC", "7K2M9XT43WPH6VJ")
PRINTED = complete("GC", "YXWVTRPNMKJHFDC")
MISTYPED = OURS.replace("7K", "K7")
HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
WITH_CVC = b'{"purpose":"Redemption","amount":1000,"currency":"RUB","cvc":"0000"}'


@pytest.fixture
async def imported(redis_url: str) -> AsyncIterator[RedisCodeStore]:
    store = RedisCodeStore.at(StorageSettings(redis_url=redis_url))
    await store.add([PRINTED, "GC-FOREIGN-0001"])
    yield store
    await store.close()


def serving(codes: Literal["any", "checked", "imported"], imported: RedisCodeStore | None = None) -> Any:  # noqa: ANN401
    """Serve a house with the setting, given to gateway and shard as a stack gives it to them."""
    settings = Settings(codes=codes)
    checked = settings.http().code_prefixes_checked
    return served(settings.policy(), imported, code_prefixes_checked=checked)


async def sell(line: Line, code: str, number: int = 1) -> tuple[int, str]:
    body = msgspec.json.encode({"purpose": "Sale", "orderId": f"SO-{code}", "orderLineId": str(number)})
    return await told(line, post(f"/certificates/{code}/authorize", body))


async def told(line: Line, request: bytes) -> tuple[int, str]:
    """Return the status, and the code of the problem if it is one."""
    answer = await line.ask(request)
    return answer.status, "" if answer.status < 400 else answer.code


def asked(here: Served) -> list[str]:
    """Return the entities that the ledger was asked about."""
    return [entity for entity, _, _ in here.house.ledger.asked]


async def test_any_code_is_sold_and_looked_up_by_default() -> None:
    async with serving("any") as here:
        line = await here.line()
        sold = [await sell(line, code) for code in (OURS, CODE, MISTYPED)]
        unknown = await told(line, post(f"/certificates/{MISTYPED[:-1]}9/authorize", HOLD))

        assert sold == [(201, "")] * 3
        assert unknown == (404, "CertificateNotFound")
        assert f"c:{MISTYPED[:-1]}9" in asked(here)


async def test_checked_codes() -> None:
    async with serving("checked") as here:
        line = await here.line()
        sold = [await sell(line, code) for code in (OURS, CODE, MISTYPED)]
        before = asked(here)
        refused = [
            await told(line, post(f"/certificates/{MISTYPED}/authorize", HOLD)),
            await told(line, post(f"/certificates/{MISTYPED.lower()}/authorize", HOLD)),
            await told(line, post(f"/certificates/{MISTYPED}/authorize", WITH_CVC, client="storefront")),
            await told(line, post(f"/certificates/{MISTYPED}/balance", b"{}", client="storefront")),
            await told(line, post(f"/certificates/{MISTYPED}/capture", b'{"authorizationId":"au_1_x"}')),
            await told(line, post(f"/certificates/{MISTYPED}/void", b'{"operationId":"op_1_x"}')),
            await told(line, post(f"/certificates/{MISTYPED}/block", b'{"reason":"x"}', client="support")),
            await told(line, get(f"/certificates/{MISTYPED}", client="support")),
            await told(line, get(f"/certificates/{MISTYPED}/operations", client="support")),
        ]
        after = asked(here)

    assert sold == [(201, ""), (422, "CodeNotForSale"), (400, "InvalidRequest")]
    assert refused == [
        (404, "CertificateNotFound"),
        (404, "CertificateNotFound"),
        (403, "CertificateRefused"),
        (403, "CertificateRefused"),
        (404, "AuthorizationNotFound"),
        (404, "OperationNotFound"),
        (404, "CertificateNotFound"),
        (404, "CertificateNotFound"),
        (404, "CertificateNotFound"),
    ]
    assert before == after
    assert not any(MISTYPED in entity for entity in after)


async def test_imported_codes(imported: RedisCodeStore) -> None:
    async with serving("imported", imported) as here:
        line = await here.line()
        sold = [await sell(line, code) for code in (PRINTED, "gc-foreign-0001", OURS, CODE, MISTYPED)]
        await imported.add([OURS])
        now = await sell(line, OURS)
        again = await sell(line, PRINTED)

    assert sold == [(201, ""), (201, ""), (422, "CodeNotForSale"), (422, "CodeNotForSale"), (400, "InvalidRequest")]
    assert now == (201, "")
    assert again == (200, "")


async def test_refusals_in_a_pipeline_keep_their_places() -> None:
    """The short way answers at once: what was asked before must still come before."""
    async with serving("checked") as here:
        await here.house.issue(OURS)
        line = await here.line()

        await line.send(
            post(f"/certificates/{OURS}/authorize", HOLD, "X-Request-Id: 1")
            + post(f"/certificates/{MISTYPED}/authorize", HOLD, "X-Request-Id: 2")
            + post(f"/certificates/{OURS}/authorize", HOLD, "X-Request-Id: 3")
        )
        answers = [await line.answer() for _ in range(3)]

    assert [answer.status for answer in answers] == [201, 404, 201]
    assert [answer.headers["x-request-id"] for answer in answers] == ["1", "2", "3"]


async def test_a_batch_is_answered_item_by_item() -> None:
    items = [
        {"certificateCode": code, "amount": 1, "currency": "RUB", "idempotencyKey": str(number)}
        for number, code in enumerate((MISTYPED, OURS, MISTYPED.lower()))
    ]
    async with serving("checked") as here:
        await here.house.issue(OURS)
        line = await here.line()

        answer = await line.ask(post("/authorizations", msgspec.json.encode({"items": items})))

    assert [one["status"] for one in msgspec.json.decode(answer.content)["outcomes"]] == [404, 201, 404]


async def test_a_mistyped_code_is_counted_among_the_problems() -> None:
    async with serving("checked") as here:
        line = await here.line()
        await told(line, post(f"/certificates/{MISTYPED}/authorize", HOLD))

        metrics = await line.ask(get("/metrics"))

    counted = b'gift_ledger_http_problems_total{call="authorize",code="CertificateNotFound"} 1.0'
    assert counted in metrics.content
