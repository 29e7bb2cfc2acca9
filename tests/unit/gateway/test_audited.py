"""What the records say of who called: which key was shown, and from where."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.settings import GatewaySettings
from ledger.commands import SYSTEM, Tick
from ledger.records import Status
from persistence import codec
from persistence.log import PAGE_MAX
from tests.unit.gateway.batches import authorization, send, statuses
from tests.unit.gateway.house import CODE, House, client_key, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger.records import Record

SHOPPER = "198.51.100.7"
SHOP = "192.0.2.80"
PROXY = "127.0.0.1"
"""Who is connected in a house."""
WAIT_SECONDS = 60.0
BEHIND_PROXY = {"x-forwarded-for": SHOPPER}


@pytest.fixture(params=[True, False], ids=["fast lane", "Litestar"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    settings = GatewaySettings(trusted_proxies=f"{PROXY}, {SHOP}", keys_refresh_seconds_min=0)
    async with opened(settings, fast_lane=request.param) as house:
        await house.issue()
        yield house


async def records(house: House, code: str = CODE) -> list[Record]:
    return [codec.decode(one) for one in await house.log.history(f"c:{code}", 0, PAGE_MAX)]


async def last(house: House) -> tuple[str, str, str]:
    """Who brought the last record about: client, key and address."""
    record = (await records(house))[-1]
    return record.client, record.key_id, str(ip_address(record.address)) if record.address else ""


async def hold(house: House, client: str, headers: dict[str, str], cvc: str | None = None) -> str:
    body = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"} | ({} if cvc is None else {"cvc": cvc})
    response = await house.post("authorize", body, client, headers=headers)
    assert response.status == 201, response.content
    return str(response.body["authorizationId"])


async def test_each_call_leaves_its_key_and_its_address(house: House) -> None:
    authorization_id = await hold(house, "pos", BEHIND_PROXY)
    assert await last(house) == ("pos", "pos", SHOPPER)

    await house.post("capture", {"authorizationId": authorization_id}, "payments", headers={"x-forwarded-for": "::1"})
    assert await last(house) == ("payments", "payments", "::1")

    for call in ("block", "unblock"):
        await house.post(call, {"reason": "seen"}, "support", headers={"x-forwarded-for": "203.0.113.5"})
        assert await last(house) == ("support", "support", "203.0.113.5")

    await house.post("cvc", {}, "support")
    assert await last(house) == ("support", "support", PROXY)


async def test_of_a_storefront_the_address_is_its_own_and_never_the_shopper_s(house: House) -> None:
    cvc = await house.cvc()

    await hold(house, "storefront", BEHIND_PROXY, cvc)
    assert await last(house) == ("storefront", "storefront", PROXY)

    await hold(house, "storefront", {"x-forwarded-for": f"{SHOPPER}, {SHOP}"}, cvc)
    assert await last(house) == ("storefront", "storefront", SHOP)

    shopper = ip_address(SHOPPER).packed
    stored = await house.log.history(f"c:{CODE}", 0, PAGE_MAX)
    assert not [one for one in stored if shopper in one or SHOPPER.encode() in one]


async def test_two_keys_of_one_client_are_told_apart_and_repeat_each_other(house: House) -> None:
    await house.keys.add(replace(client_key("pos-new"), client="pos", role="pos", channel="Store"))
    once = {"idempotency-key": "k-1", "x-forwarded-for": SHOPPER}
    held = await hold(house, "pos", once)
    before = await records(house)

    again = await hold(house, "pos-new", {**once, "x-forwarded-for": SHOP})

    assert again == held
    assert await records(house) == before
    await hold(house, "pos-new", {"x-forwarded-for": SHOPPER})
    assert await last(house) == ("pos", "pos-new", SHOPPER)


async def test_each_item_of_a_bulk_call_leaves_its_key_and_its_address(house: House) -> None:
    response = await send(
        house, "authorizations", [authorization("k-1"), authorization("k-2")], **{"x-forwarded-for": SHOPPER}
    )

    assert statuses(response) == [201, 201]
    packed = ip_address(SHOPPER).packed
    assert [(one.key_id, one.address) for one in (await records(house))[-2:]] == [("pos", packed)] * 2


async def test_a_sale_leaves_them_in_all_that_it_brings_about(house: House) -> None:
    await house.sell("GC-0000-0007", order="SO-2")

    made = await records(house, "GC-0000-0007")
    packed = ip_address(PROXY).packed
    assert [(one.body.__struct_config__.tag, one.key_id, one.address) for one in made] == [
        ("reserved", "pos", packed),
        ("joined", "pos", packed),
    ]


async def test_an_activation_that_a_payment_brought_about_has_the_seller_as_client_and_no_key(house: House) -> None:
    await house.sell("GC-0000-0007", order="SO-2")
    await house.place("1", order="SO-2")
    await house.pay("1", order="SO-2")
    async with asyncio.timeout(WAIT_SECONDS):
        while (made := await records(house, "GC-0000-0007"))[-1].status is not Status.ACTIVE:  # noqa: ASYNC110 - an errand
            await asyncio.sleep(0)

    assert (made[-1].client, made[-1].key_id, made[-1].address) == ("pos", "", b"")


async def test_what_nobody_called_for_names_no_key(house: House) -> None:
    await hold(house, "pos", BEHIND_PROXY)
    house.clock.advance(86_400)

    await house.ledger.ask(f"c:{CODE}", Tick(), SYSTEM)

    assert await last(house) == ("ledger", "", "")


async def test_neither_answers_nor_events_tell_them(house: House) -> None:
    await house.keys.add(replace(client_key("k-of-the-till"), client="pos", role="pos", channel="Store"))
    authorization_id = await hold(house, "k-of-the-till", BEHIND_PROXY)
    captured = await house.post("capture", {"authorizationId": authorization_id}, "k-of-the-till", headers=BEHIND_PROXY)
    refused = await house.post("void", {"operationId": "none"}, "k-of-the-till", headers=BEHIND_PROXY)
    told = [
        captured.content,
        refused.content,
        *[(await house.get(f"/certificates/{CODE}{rest}", "support")).content for rest in ("", "/operations")],
        (await house.get("/orders/SO-1001", "support")).content,
        (await house.get("/metrics", "ops")).content,
    ]
    for partition in range(house.log.partitions):
        told += (await house.log.outbox(partition)).entries

    assert (await records(house))[-1].key_id == "k-of-the-till"
    for secret in (b"k-of-the-till", SHOPPER.encode(), ip_address(SHOPPER).packed):
        assert not [one for one in told if secret in one]
