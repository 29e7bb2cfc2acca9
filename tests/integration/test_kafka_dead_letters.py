"""Operators can read the dead letters and give them to the inbox once more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.host import wall_clock
from gateway.dead_letter_desk import DeadLetterDesk, DeskError
from gateway.inbox import Inbox
from gift_ledger.embedded.broker import EmbeddedBroker
from tests.integration.kafka_stage import (
    MemoryLedger,
    bridge_settings,
    make_topics,
    order_event,
    publish,
    read_topic,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real


@pytest.fixture
async def ledger() -> AsyncIterator[MemoryLedger]:
    async with MemoryLedger() as made:
        yield made


async def test_a_letter_is_read_and_replayed_and_falls_back_once_more(
    kafka: RealKafka, kafka_prefix: str, ledger: MemoryLedger
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=1)
    await publish(kafka.bootstrap, settings.dead_letters, [("SO-9", b"put there by hand")])

    async with running(Inbox(ledger, ledger.vault, settings, wall_clock)) as inbox:
        await publish(kafka.bootstrap, settings.sales_orders, [("SO-1", b"half"), ("SO-2", order_event("SO-2"))])
        await until(lambda: inbox.report()["deadLetters"] == 1)
        async with DeadLetterDesk(settings) as desk:
            by_hand, letter = [one async for one in desk.letters()]
            assert (letter.name, letter.reason, letter.size) == ("0:1", "NotJson", 4)
            assert (letter.topic, letter.source_partition, letter.source_offset) == (settings.sales_orders, "0", "0")
            assert (letter.key, letter.value, letter.replayed) == (b"SO-1", b"half", False)
            assert desk.obstacle(letter) is None
            assert desk.obstacle(by_hand) == "it came from none of our topics"
            await desk.replay(letter)
            await desk.mark_replayed(letter)
        await until(lambda: inbox.report()["deadLetters"] == 2)

    async with DeadLetterDesk(settings) as desk:
        assert [(one.name, one.replayed) async for one in desk.letters()] == [
            ("0:0", True),
            ("0:1", True),
            ("0:2", False),
        ]
    again = (await read_topic(kafka.bootstrap, settings.dead_letters, 3))[-1]
    assert (again.key, again.value) == (b"SO-1", b"half")
    assert dict(again.headers)["dlq_replay_of"] == b"0:1"
    assert dict(again.headers)["dlq_offset"] == b"2"


async def test_a_broker_that_is_away_is_an_error_in_bounded_time(kafka: RealKafka, kafka_prefix: str) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=1)
    await asyncio.to_thread(kafka.kill)

    with pytest.raises(DeskError, match="cannot be opened"):
        async with DeadLetterDesk(settings):
            pass


async def test_a_topic_that_is_missing_is_an_error(kafka: RealKafka, kafka_prefix: str) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)

    with pytest.raises(DeskError, match=f"{settings.dead_letters} cannot be opened"):
        async with DeadLetterDesk(settings):
            pass


async def test_letters_of_the_embedded_broker(ledger: MemoryLedger) -> None:
    topics = ("All_SalesOrder", "All_Payments", "GiftCertificateProcessing.DeadLetter")
    async with EmbeddedBroker(topics) as broker:
        settings = bridge_settings(broker.bootstrap, assign_partitions=True)
        async with running(Inbox(ledger, ledger.vault, settings, wall_clock)) as inbox:
            await publish(broker.bootstrap, settings.payments, [("SO-1", b"half")])
            await until(lambda: inbox.report()["deadLetters"] == 1)
            async with DeadLetterDesk(settings) as desk:
                (letter,) = [one async for one in desk.letters()]
                await desk.replay(letter)
                await desk.mark_replayed(letter)
            await until(lambda: inbox.report()["deadLetters"] == 2)
            async with DeadLetterDesk(settings) as desk:
                assert sorted([one.replayed async for one in desk.letters()]) == [False, True]
