"""What time alone brings about, with real clocks: holds, reservations and certificates come to their end."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.real.audit import Events
from tests.real.market import Market, create_topics, kafka_settings, new_code
from tests.real.stack import RunningStack, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.real.kafka import RealKafka

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

PREFIX = "timers."
DENOMINATION = 5_000
LIFETIME_SECONDS: Final = 20
REFUND_SECONDS: Final = 20
"""In each of these two something has to be done, also where a busy machine stands still for a while."""
DAY_SECONDS: Final = 86_400
LATE_SECONDS: Final = 60.0

SETTINGS: Final = {
    "RESERVATION_HOURS": str(2 / 3_600),
    "CERTIFICATE_LIFETIME_DAYS": str(LIFETIME_SECONDS / DAY_SECONDS),
    "VOID_AFTER_EXPIRY_DAYS": str(REFUND_SECONDS / DAY_SECONDS),
    "CHANNEL": "tcp",
}


@pytest.fixture(scope="module")
def stack(
    start_shared_kafka: Callable[[], RealKafka], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    kafka = start_shared_kafka()
    asyncio.run(create_topics(kafka, PREFIX))
    settings = {**kafka_settings(kafka, PREFIX), **SETTINGS}
    yield from running(RunningStack(tmp_path_factory.mktemp("timers"), settings))


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json().get("code")) == (status, code), response.text


async def until(moment: str, more_seconds: float = 0.0) -> None:
    """Wait for a time of day that the service has told."""
    at = datetime.fromisoformat(moment).timestamp() + more_seconds
    while (left := at - time.time()) > 0:  # noqa: ASYNC110 - that clock may run behind the loop's
        await asyncio.sleep(left)


async def test_a_reservation_that_nobody_pays_for_lapses_and_frees_its_code(stack: RunningStack) -> None:
    async with Market(stack, PREFIX) as market, stack.client("ops") as ops:
        code = new_code()
        order_id = await market.order({"1": DENOMINATION})
        reserved = await market.reserve(code, order_id, "1")
        assert reserved["status"] == "Reserved"

        async with asyncio.timeout(LATE_SECONDS):
            while (await ops.get(f"/certificates/{code}")).status_code != 404:  # noqa: ASYNC110 - as a client does
                await asyncio.sleep(0.05)

        refused(await ops.get(f"/certificates/{code}"), 404, "CertificateNotFound")
        other = await market.order({"1": DENOMINATION})
        await market.pay(other, {"1": DENOMINATION})
        await market.order_is_known(other, payment=1)  # or the reservation would lapse if the money were late
        again = await market.reserve(code, other, "1")
        assert again["orderId"] == other
        await market.has_status(code, "Active")


async def test_a_certificate_expires_with_its_money_and_its_last_capture_can_be_voided_for_a_while(
    stack: RunningStack,
) -> None:
    async with Market(stack, PREFIX) as market, stack.client("pos") as till, stack.client("support") as support:
        code, other = await market.sell(2, DENOMINATION, paid_first=True)
        path = f"/certificates/{code}"
        taken = [await capture(till, one) for one in (code, other)]
        last = await market.certificate(other)

        expired = await market.has_status(code, "Expired", within_seconds=LIFETIME_SECONDS + LATE_SECONDS)

        assert expired["balance"] == 0
        late = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
        refused(await till.post(f"{path}/authorize", json=late), 409, "CertificateExpired")
        back = await support.post(f"{path}/void", json={"operationId": taken[0]["operationId"]})
        assert (back.status_code, back.json()["balance"]) == (201, 100), back.text
        await until(last["expiresAt"], REFUND_SECONDS + 1)
        too_late = await support.post(f"/certificates/{other}/void", json={"operationId": taken[1]["operationId"]})
        refused(too_late, 409, "CertificateExpired")
        expiries = [entry for entry in await market.history(other) if entry["type"] == "Expire"]
        events = Events(stack.bootstrap, PREFIX, [other])
        await events.read(states=3, transactions=3)

    assert [entry["amount"] for entry in expiries] == [DENOMINATION - 100]
    told = [event for event in events.events.values() if event.get("type") == "Expire"]
    assert [(event["amount"], event["balanceAfter"]) for event in told] == [(DENOMINATION - 100, 0)]


async def test_a_hold_lapses_and_its_money_is_there_again(
    shared_stack: RunningStack, early_hold: dict[str, Any]
) -> None:
    assert early_hold["available"] == 0
    code, path = early_hold["certificateCode"], f"/certificates/{early_hold['certificateCode']}"
    async with Market(shared_stack) as market, shared_stack.client("pos") as till:
        await until(early_hold["expiresAt"])

        refused(await till.post(f"{path}/capture", json=_of(early_hold)), 409, "AuthorizationExpired")
        body = {"purpose": "Redemption", "amount": early_hold["amount"], "currency": "RUB"}
        again = await till.post(f"{path}/authorize", json=body)
        assert (again.status_code, again.json()["available"]) == (201, 0), again.text
        history = [entry["type"] for entry in await market.history(code)]
    assert history[-3:] == ["Authorize", "Lapse", "Authorize"]


async def capture(till: httpx.AsyncClient, code: str) -> dict[str, Any]:
    body = {"purpose": "Redemption", "amount": 100, "currency": "RUB"}
    hold = (await till.post(f"/certificates/{code}/authorize", json=body)).json()
    taken: dict[str, Any] = (await till.post(f"/certificates/{code}/capture", json=_of(hold))).json()
    return taken


def _of(hold: dict[str, Any]) -> dict[str, object]:
    return {"authorizationId": hold["authorizationId"]}
