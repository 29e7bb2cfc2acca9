"""The SMS gateway and Kafka go away and come back: calls go on, and what has waited arrives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from examples.sms_gateway import SmsGateway
from tests.real.audit import Events, audit
from tests.real.fixtures import lacking
from tests.real.kafka import RealKafka, kafka_missing
from tests.real.market import Market, create_topics, kafka_settings
from tests.real.process import free_port
from tests.real.stack import RunningStack, running
from tests.real.traffic import Told

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

PREFIX = "outages."
DENOMINATION = 5_000
NOTICED_SECONDS_MAX = 60.0
SOME = 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A broker that may be away for long; at first it is."""
    if (missing := kafka_missing()) is not None:
        lacking(missing)
    own = RealKafka(tmp_path_factory.mktemp("kafka-outages"))
    try:
        own.start()
        asyncio.run(create_topics(own, PREFIX))
        own.kill()
        yield own
    finally:
        own.kill()


@pytest.fixture(scope="module")
def sms_port() -> int:
    """Where the SMS gateway will be, once it is there."""
    return free_port()


@pytest.fixture(scope="module")
def stack(broker: RealKafka, sms_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    settings = {**kafka_settings(broker, PREFIX), "SMS_URL": f"http://127.0.0.1:{sms_port}"}
    yield from running(RunningStack(tmp_path_factory.mktemp("outages"), settings))


async def readiness(stack: RunningStack, wanted: str, part: str) -> dict[str, Any]:
    """Wait until a part of the service is said to be so."""
    seen: dict[str, Any] = {"components": {part: {"status": ""}}}
    async with stack.client() as anybody, asyncio.timeout(NOTICED_SECONDS_MAX):
        while seen["components"][part]["status"] != wanted:
            await asyncio.sleep(0.1)  # as a load balancer asks
            response = await anybody.get("/health/ready")
            assert response.status_code == 200, response.text
            seen = response.json()
    return seen


async def test_a_stack_starts_without_kafka_and_reaches_it_once_it_is_there(
    stack: RunningStack, broker: RealKafka
) -> None:
    away = await readiness(stack, "degraded", "kafka")

    await asyncio.to_thread(broker.start)

    well = await readiness(stack, "ok", "kafka")
    assert (away["status"], well["components"]["shards"]["status"]) == ("degraded", "ok")


async def test_activations_do_not_wait_for_the_sms_gateway(stack: RunningStack, sms_port: int) -> None:
    async with Market(stack, PREFIX) as market:
        await market.sell(1, DENOMINATION, phone="+79990000042")
        away = await readiness(stack, "degraded", "sms")
        gateway = SmsGateway()

        await gateway.start(port=sms_port)

        await readiness(stack, "ok", "sms")
        async with asyncio.timeout(NOTICED_SECONDS_MAX):
            while not gateway.messages:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        await gateway.stop()
    assert away["status"] == "degraded"
    assert [message.to for message in gateway.messages] == ["+79990000042"]


async def test_calls_go_on_without_kafka_and_events_come_out_in_order_afterwards(
    stack: RunningStack, broker: RealKafka
) -> None:
    async with Market(stack, PREFIX) as market:
        codes = await market.sell(3, DENOMINATION)
        await asyncio.to_thread(broker.kill)
        told = [await redeemed(market, code) for _ in range(SOME) for code in codes]
        await readiness(stack, "degraded", "kafka")
        told += [await redeemed(market, code) for code in codes]

        await asyncio.to_thread(broker.start)

        await readiness(stack, "ok", "kafka")
        later = await market.sell(1, DENOMINATION)  # orders and payments are read again
        calls = [call for calls in told for call in calls]
        await audit(market, calls, Events(stack.bootstrap, PREFIX, [*codes, *later]))


async def redeemed(market: Market, code: str) -> list[Told]:
    """An authorization and its capture."""
    body: dict[str, object] = {"purpose": "Redemption", "amount": 7, "currency": "RUB"}
    hold = await market.shop.post(f"/certificates/{code}/authorize", body)
    taken = await market.shop.post(f"/certificates/{code}/capture", {"authorizationId": hold["authorizationId"]})
    return [
        Told(code, "Authorize", hold["authorizationId"], 7),
        Told(code, "Capture", taken["operationId"], 7),
    ]
