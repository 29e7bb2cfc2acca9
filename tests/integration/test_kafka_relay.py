"""Events come out of the log whole and in order, whatever happens to the broker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from actors.host import wall_clock
from gateway.relay import OutboxRelay
from gift_ledger.embedded.broker import EmbeddedBroker
from ledger.identifiers import certificate_entity
from ledger.publications import STATE, Publication
from persistence import codec
from persistence.log import Batch
from persistence.memory import MemoryLog
from tests.integration.kafka_stage import (
    bridge_settings,
    code,
    fill_outbox,
    first_seen,
    is_empty,
    make_topics,
    read_topic,
    running,
    until,
)

if TYPE_CHECKING:
    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real

CERTIFICATES = 60


async def test_events_come_out_in_order_with_their_headers(kafka: RealKafka, kafka_prefix: str) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)
    await fill_outbox(log, range(1, 6), CERTIFICATES)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await is_empty(log)
        await until(relay.ready)

    states = await read_topic(kafka.bootstrap, settings.states, 5 * CERTIFICATES)
    records = await read_topic(kafka.bootstrap, settings.transactions, 5 * CERTIFICATES)
    if relay.report()["producers"] == 1:  # one that takes the place of another repeats what that had under way
        assert len(states) == len(records) == 5 * CERTIFICATES
    in_order = {code(number): [1, 2, 3, 4, 5] for number in range(CERTIFICATES)}
    assert first_seen(states) == first_seen(records) == in_order
    headers = {name: value.decode() for name, value in records[0].headers}
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == "GiftCertificateTransaction"
    assert headers["ce_source"] == "/gift-ledger"
    assert headers["ce_subject"] == records[0].key.decode()
    assert headers["ce_id"] == f"T_{json.loads(records[0].value)['version']}_{int(headers['ce_subject'][3:])}"
    assert headers["ce_time"].endswith("Z")
    assert headers["content-type"] == "application/json"


async def test_a_code_that_was_given_back_is_a_tombstone(kafka: RealKafka, kafka_prefix: str) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)
    event = Publication(STATE, code(1), "es_3", wall_clock(), b"")
    await log.append(Batch(outbox=((certificate_entity(code(1)), codec.encode_publication(event)),)))

    async with running(OutboxRelay(log, settings, wall_clock)):
        await is_empty(log)

    records = await read_topic(kafka.bootstrap, settings.states, 1)
    assert {(record.key, record.value) for record in records} == {(code(1).encode(), None)}


async def test_a_broker_that_dies_in_the_middle_costs_time_and_nothing_else(
    kafka: RealKafka, kafka_prefix: str
) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await fill_outbox(log, range(1, 21), CERTIFICATES)
        await until(lambda: relay.report()["published"])
        await asyncio.to_thread(kafka.kill)
        await fill_outbox(log, range(21, 41), CERTIFICATES)
        await until(lambda: not relay.ready())
        await asyncio.to_thread(kafka.start)
        await fill_outbox(log, range(41, 51), CERTIFICATES)
        await is_empty(log)
        await until(relay.ready)

    for topic in (settings.states, settings.transactions):
        records = await read_topic(kafka.bootstrap, topic, 50 * CERTIFICATES)
        assert first_seen(records) == {code(number): list(range(1, 51)) for number in range(CERTIFICATES)}


async def test_the_relay_stops_in_time_while_the_broker_is_away_and_another_one_goes_on(
    kafka: RealKafka, kafka_prefix: str
) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)
    await fill_outbox(log, range(1, 3), CERTIFICATES)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await is_empty(log)
        await asyncio.to_thread(kafka.kill)
        await fill_outbox(log, range(3, 5), CERTIFICATES)
        await until(lambda: not relay.ready())
    assert sum(await log.outbox_sizes()) > 0

    await asyncio.to_thread(kafka.start)
    async with running(OutboxRelay(log, settings, wall_clock)):
        await is_empty(log)
    records = await read_topic(kafka.bootstrap, settings.states, 4 * CERTIFICATES)
    assert first_seen(records) == {code(number): [1, 2, 3, 4] for number in range(CERTIFICATES)}


async def test_two_relays_at_once_only_repeat(kafka: RealKafka, kafka_prefix: str) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)

    async with (
        running(OutboxRelay(log, settings, wall_clock)),
        running(OutboxRelay(log, settings, wall_clock)),
    ):
        for version in range(1, 31):
            await fill_outbox(log, range(version, version + 1), CERTIFICATES)
            await asyncio.sleep(0)
        await is_empty(log)

    records = await read_topic(kafka.bootstrap, settings.states, 30 * CERTIFICATES)
    assert first_seen(records) == {code(number): list(range(1, 31)) for number in range(CERTIFICATES)}


async def test_a_record_that_the_broker_will_not_have_is_told_and_not_skipped(
    kafka: RealKafka, kafka_prefix: str
) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog(partitions=1)
    await make_topics(kafka, settings, partitions=1)
    await fill_outbox(log, range(1, 2), 5)
    huge = Publication(STATE, code(1), "es_2", wall_clock(), b'"' + b"x" * 2_000_000 + b'"')
    await log.append(Batch(outbox=((certificate_entity(code(1)), codec.encode_publication(huge)),)))
    await fill_outbox(log, range(3, 4), 5)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await until(lambda: relay.report()["refused"])
        assert not relay.ready()

    assert relay.report()["refused"] == f"{settings.states}/0: MessageSizeTooLargeError"
    records = await read_topic(kafka.bootstrap, settings.states, 5)
    assert {json.loads(record.value)["version"] for record in records} == {1}
    assert sum(await log.outbox_sizes()) == 21


async def test_topics_that_are_missing_are_waited_for(kafka: RealKafka, kafka_prefix: str) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await fill_outbox(log, range(1, 2), 5)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await until(lambda: relay.report()["lastError"])
        assert not relay.ready()
        await make_topics(kafka, settings)
        await is_empty(log)
        await until(relay.ready)

    records = await read_topic(kafka.bootstrap, settings.states, 5)
    assert first_seen(records) == {code(number): [1] for number in range(5)}


async def test_events_come_out_of_the_embedded_broker_too() -> None:
    log = MemoryLog()
    await fill_outbox(log, range(1, 11), 20)

    async with EmbeddedBroker(("GiftCertificateState", "GiftCertificateTransaction")) as broker:
        settings = bridge_settings(broker.bootstrap)
        async with running(OutboxRelay(log, settings, wall_clock)):
            await is_empty(log)
        records = await read_topic(broker.bootstrap, settings.states, 200)

    assert first_seen(records) == {code(number): list(range(1, 11)) for number in range(20)}
