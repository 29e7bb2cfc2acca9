"""Orders and payments get into the ledger whole, whatever happens to the broker, to the ledger and to the events."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from actors.errors import OutcomeUnknownError, OverloadedError
from actors.host import wall_clock
from gateway.inbox import Inbox
from gift_ledger.embedded.broker import EmbeddedBroker
from ledger.commands import Place, RecordPayment
from ledger.identifiers import order_entity
from tests.integration.kafka_stage import (
    MemoryLedger,
    bridge_settings,
    committed,
    make_topics,
    order_event,
    payment_event,
    publish,
    read_topic,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.bridge_settings import BridgeSettings
    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real


@pytest.fixture
async def ledger() -> AsyncIterator[MemoryLedger]:
    async with MemoryLedger() as made:
        yield made


def inbox_of(ledger: MemoryLedger, settings: BridgeSettings) -> Inbox:
    return Inbox(ledger, ledger.vault, settings, wall_clock)


def done(inbox: Inbox) -> int:
    report = inbox.report()
    return int(report["applied"]) + int(report["deadLetters"]) + int(report["tombstones"])


def text(headers: Any) -> dict[str, str]:  # noqa: ANN401 - as aiokafka gives them
    return {name: value.decode() for name, value in headers}


async def test_orders_and_payments_are_applied_and_offsets_are_kept(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    orders = [f"SO-{number}" for number in range(40)]

    async with running(inbox_of(ledger, settings)) as inbox:
        await until(inbox.ready)
        await publish(kafka.bootstrap, settings.sales_orders, [(one, order_event(one)) for one in orders])
        await publish(kafka.bootstrap, settings.payments, [(one, payment_event(one)) for one in orders])
        await until(lambda: done(inbox) >= 80)

    assert await committed(kafka.bootstrap, settings.group, settings.sales_orders) == 40
    assert await committed(kafka.bootstrap, settings.group, settings.payments) == 40
    for one in orders:
        (line,) = (await ledger.order(one))["certificateLines"]
        assert (line["plannedDenomination"], line["collectedAmount"]) == (150_000, 150_000)
    place = next(command for _, command, _ in ledger.asked if isinstance(command, Place))
    assert place.source.startswith(f"{settings.sales_orders}/")
    assert b"+7999" not in (place.lines[0].recipient or b"+7999")
    assert {origin.client for _, _, origin in ledger.asked} == {"orders", "payments"}

    ledger.asked.clear()
    async with running(inbox_of(ledger, settings)) as again:
        await publish(kafka.bootstrap, settings.payments, [("SO-0", payment_event("SO-0", 2))])
        await until(lambda: done(again) >= 1)
    assert [entity for entity, _, _ in ledger.asked] == [order_entity("SO-0")]


async def test_events_that_come_twice_and_in_any_order_change_nothing(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    versions = [*range(1, 11), *range(1, 11)]
    random.Random(7).shuffle(versions)

    async with running(inbox_of(ledger, settings)) as inbox:
        events = [("SO-1", payment_event("SO-1", version, version * 1_000)) for version in versions]
        await publish(kafka.bootstrap, settings.payments, events)
        await publish(kafka.bootstrap, settings.sales_orders, [("SO-1", order_event("SO-1"))] * 3)
        await until(lambda: done(inbox) >= 23)

    shown = await ledger.order("SO-1")
    assert shown["paymentVersion"] == 10
    assert shown["certificateLines"][0]["collectedAmount"] == 10_000
    asked = [command.payment_version for _, command, _ in ledger.asked if isinstance(command, RecordPayment)]
    assert asked == versions


async def test_what_can_never_be_applied_is_put_aside_and_the_partition_goes_on(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=1)
    half = b'{"orderId": "SO-2", "certificateLines": [{'

    async with running(inbox_of(ledger, settings)) as inbox:
        events: list[tuple[str | None, bytes | None]] = [
            ("SO-1", order_event("SO-1")),
            ("SO-2", half),
            (None, order_event("SO-3", 0)),
            ("SO-1", order_event("SO-1", 2, currency="EUR")),
            ("SO-1", None),
            ("another", order_event("SO-4")),
            (None, order_event("SO-5")),
        ]
        await publish(kafka.bootstrap, settings.sales_orders, events)
        await until(lambda: done(inbox) >= 7)
        report = inbox.report()
    assert await committed(kafka.bootstrap, settings.group, settings.sales_orders) == 7

    assert (report["applied"], report["deadLetters"], report["tombstones"]) == (3, 3, 1)
    letters = sorted(
        await read_topic(kafka.bootstrap, settings.dead_letters, 3), key=lambda one: text(one.headers)["dlq_offset"]
    )
    assert [(letter.key, letter.value) for letter in letters] == [
        (b"SO-2", half),
        (None, order_event("SO-3", 0)),
        (b"SO-1", order_event("SO-1", 2, currency="EUR")),
    ]
    whys = [text(letter.headers) for letter in letters]
    assert [why["dlq_reason"] for why in whys] == ["NotJson", "WrongShape", "CurrencyMismatch"]
    assert [why["dlq_offset"] for why in whys] == ["1", "2", "3"]
    assert {(why["dlq_topic"], why["dlq_partition"]) for why in whys} == {(settings.sales_orders, "0")}
    assert "$.orderVersion" in whys[1]["dlq_detail"]
    for known in ("SO-1", "SO-4", "SO-5"):
        assert (await ledger.order(known))["currency"] == "RUB"


async def test_a_record_that_is_too_large_with_its_reason_is_put_aside_without_its_value(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=1)
    large = b"x" * 1_048_400

    async with running(inbox_of(ledger, settings)) as inbox:
        await publish(kafka.bootstrap, settings.sales_orders, [("SO-1", large), ("SO-2", order_event("SO-2"))])
        await until(lambda: done(inbox) >= 2)

    (letter,) = await read_topic(kafka.bootstrap, settings.dead_letters, 1)
    why = text(letter.headers)
    assert letter.value == b""
    assert (why["dlq_value_bytes"], why["dlq_offset"]) == ("1048400", "0")


async def test_while_the_ledger_is_away_the_events_wait(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    ledger.refusing = OverloadedError("busy")

    async with running(inbox_of(ledger, settings)) as inbox:
        await publish(kafka.bootstrap, settings.payments, [(f"SO-{n}", payment_event(f"SO-{n}")) for n in range(20)])
        await until(lambda: int(inbox.report()["retries"]) > 40)
        ledger.refusing = OutcomeUnknownError("no answer")
        await until(lambda: int(inbox.report()["retries"]) > 80)
        assert await committed(kafka.bootstrap, settings.group, settings.payments) == 0
        ledger.refusing = None
        await until(lambda: done(inbox) >= 20)

    assert await committed(kafka.bootstrap, settings.group, settings.payments) == 20


async def test_what_the_ledger_did_not_take_before_the_stop_is_read_again(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    ledger.refusing = OverloadedError("busy")
    async with running(inbox_of(ledger, settings)) as inbox:
        await publish(kafka.bootstrap, settings.payments, [("SO-1", payment_event("SO-1"))])
        await until(lambda: inbox.report()["inFlight"])
    ledger.refusing = None

    async with running(inbox_of(ledger, settings)) as again:
        await until(lambda: done(again) >= 1)

    assert (await ledger.order("SO-1"))["paymentVersion"] == 1


async def test_a_broker_that_dies_in_the_middle_costs_time_and_nothing_else(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    first = [(f"SO-{n}", payment_event(f"SO-{n}")) for n in range(300)]
    second = [(f"SO-{n}", payment_event(f"SO-{n}", 2)) for n in range(300)]

    async with running(inbox_of(ledger, settings)) as inbox:
        await publish(kafka.bootstrap, settings.payments, first)
        await until(lambda: done(inbox) > 10)
        await asyncio.to_thread(kafka.kill)
        await until(lambda: not inbox.ready())
        await asyncio.to_thread(kafka.start)
        await publish(kafka.bootstrap, settings.payments, second)
        await until(lambda: len(ledger.paid(2)) == 300)
        await until(inbox.ready)

    assert await committed(kafka.bootstrap, settings.group, settings.payments) == 600
    for number in range(300):
        assert (await ledger.order(f"SO-{number}"))["paymentVersion"] == 2


async def test_two_members_share_the_partitions_and_hand_them_over(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=4)

    async with running(inbox_of(ledger, settings)) as first:
        await until(lambda: first.report()["partitions"] == 8)
        await publish(kafka.bootstrap, settings.payments, [(f"SO-{n}", payment_event(f"SO-{n}")) for n in range(200)])
        async with running(inbox_of(ledger, settings)) as second:
            await until(lambda: (first.report()["partitions"], second.report()["partitions"]) == (4, 4))
            await publish(
                kafka.bootstrap, settings.payments, [(f"SO-{n}", payment_event(f"SO-{n}", 2)) for n in range(200)]
            )
            await until(lambda: second.report()["applied"] and first.report()["applied"])
        await until(lambda: first.report()["partitions"] == 8)
        await until(lambda: len(ledger.paid(2)) == 200)

    assert await committed(kafka.bootstrap, settings.group, settings.payments) == 400


async def test_topics_that_are_missing_are_waited_for(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)

    async with running(inbox_of(ledger, settings)) as inbox:
        await until(lambda: inbox._reading is not None)  # it has subscribed to what is not there
        assert not inbox.ready()
        await make_topics(kafka, settings)
        await publish(kafka.bootstrap, settings.payments, [("SO-1", payment_event("SO-1"))])
        await until(lambda: done(inbox) >= 1)
        await until(inbox.ready)


async def test_a_payment_of_another_currency_before_its_order_settles_nothing(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)

    async with running(inbox_of(ledger, settings)) as inbox:
        await publish(kafka.bootstrap, settings.payments, [("SO-1", payment_event("SO-1", 5, currency="EUR"))])
        await until(lambda: done(inbox) >= 1)
        await publish(kafka.bootstrap, settings.sales_orders, [("SO-1", order_event("SO-1"))])
        await until(lambda: done(inbox) >= 2)
        settled_before = (await ledger.order("SO-1"))["isOrderSettled"]
        await publish(kafka.bootstrap, settings.payments, [("SO-1", payment_event("SO-1", 1))])
        await until(lambda: done(inbox) >= 3)

    shown = await ledger.order("SO-1")
    assert not settled_before
    assert (shown["currency"], shown["paymentVersion"]) == ("RUB", 1)


async def test_the_embedded_broker_gives_its_partitions_to_whoever_takes_them(ledger: MemoryLedger) -> None:
    topics = ("All_SalesOrder", "All_Payments", "GiftCertificateProcessing.DeadLetter")
    async with EmbeddedBroker(topics) as broker:
        settings = bridge_settings(broker.bootstrap, assign_partitions=True)
        async with running(inbox_of(ledger, settings)) as inbox:
            await until(inbox.ready)
            await publish(broker.bootstrap, settings.sales_orders, [("SO-1", order_event("SO-1")), ("SO-1", b"{")])
            await publish(broker.bootstrap, settings.payments, [("SO-1", payment_event("SO-1"))])
            await until(lambda: done(inbox) >= 3)
        ledger.asked.clear()
        async with running(inbox_of(ledger, settings)) as again:
            await publish(broker.bootstrap, settings.payments, [("SO-1", payment_event("SO-1", 2))])
            await until(lambda: done(again) >= 1)
        (letter,) = await read_topic(broker.bootstrap, settings.dead_letters, 1)

    assert len(ledger.asked) == 1
    assert letter.value == b"{"
    assert (await ledger.order("SO-1"))["paymentVersion"] == 2
