"""A broker that takes connections and answers nothing is worse than a dead one: every wait has to be bounded."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka.client import ConnectionGroup

from actors.host import wall_clock
from gateway.dead_letter_desk import DeadLetterDesk, DeskError
from gateway.inbox import Inbox
from gateway.kafka_consumer import close_consumer, new_consumer
from gateway.kafka_producer import close_producer, new_producer
from gateway.relay import OutboxRelay
from persistence.memory import MemoryLog
from tests.integration.kafka_stage import (
    MemoryLedger,
    bridge_settings,
    code,
    committed,
    fill_outbox,
    first_seen,
    is_empty,
    make_topics,
    payment_event,
    publish,
    read_topic,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import AIOKafkaConsumer

    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real


@contextmanager
def frozen(kafka: RealKafka) -> Iterator[None]:
    """The broker's process stands still."""
    pid = kafka.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        kafka.wait()


def others() -> set[str]:
    """Tasks beside the test's own."""
    return {str(task.get_coro()) for task in asyncio.all_tasks() - {asyncio.current_task()}}


def in_coordination(consumer: AIOKafkaConsumer) -> bool:
    """Whether the coordinator of the group owes the consumer an answer."""
    connections = consumer._client._conns.items()
    return any(connection._requests for (_, group), connection in connections if group == ConnectionGroup.COORDINATION)


async def test_events_wait_for_a_frozen_broker_and_come_out_in_order(kafka: RealKafka, kafka_prefix: str) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)

    async with running(OutboxRelay(log, settings, wall_clock)) as relay:
        await fill_outbox(log, range(1, 3), 20)
        await is_empty(log)
        with frozen(kafka):
            await fill_outbox(log, range(3, 5), 20)
            await until(lambda: not relay.ready())
            await until(lambda: int(relay.report()["producers"]) > 1 or relay.report()["lastError"])
        await fill_outbox(log, range(5, 7), 20)
        await is_empty(log)
        await until(relay.ready)

    records = await read_topic(kafka.bootstrap, settings.states, 6 * 20)
    assert first_seen(records) == {code(number): [1, 2, 3, 4, 5, 6] for number in range(20)}


async def test_payments_wait_for_a_frozen_broker_and_none_is_left_out(kafka: RealKafka, kafka_prefix: str) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)

    async with MemoryLedger() as ledger, running(Inbox(ledger, ledger.vault, settings, wall_clock)) as inbox:
        await until(inbox.ready)
        await publish(kafka.bootstrap, settings.payments, [(f"SO-{n}", payment_event(f"SO-{n}")) for n in range(50)])
        with frozen(kafka):
            await until(lambda: not inbox.ready())
        await publish(kafka.bootstrap, settings.payments, [(f"SO-{n}", payment_event(f"SO-{n}", 2)) for n in range(50)])
        await until(lambda: len(ledger.paid(2)) == 50)
        await until(inbox.ready)

    assert await committed(kafka.bootstrap, settings.group, settings.payments) == 100


async def test_relay_and_inbox_stop_in_bounded_time_and_leave_nothing_behind(
    kafka: RealKafka, kafka_prefix: str
) -> None:
    settings, log = bridge_settings(kafka.bootstrap, kafka_prefix), MemoryLog()
    await make_topics(kafka, settings)
    before = others()
    stop = asyncio.Event()

    async with MemoryLedger() as ledger:
        relay, inbox = OutboxRelay(log, settings, wall_clock), Inbox(ledger, ledger.vault, settings, wall_clock)
        tasks = [asyncio.create_task(relay.run(stop)), asyncio.create_task(inbox.run(stop))]
        await until(lambda: relay.ready() and inbox.ready())
        await publish(kafka.bootstrap, settings.payments, [("SO-1", payment_event("SO-1"))])
        with frozen(kafka):
            await fill_outbox(log, range(1, 2), 20)
            await until(lambda: not relay.ready() and not inbox.ready())
            stop.set()
            async with asyncio.timeout(90):
                await asyncio.gather(*tasks)

    await until(lambda: others() == before)


async def test_a_member_of_a_group_and_a_producer_can_be_closed(kafka: RealKafka, kafka_prefix: str) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    before = others()
    consumer = new_consumer(settings, settings.group, "test")
    producer = new_producer(settings, "test")
    await consumer.start()
    await producer.start()
    consumer.subscribe([settings.payments])
    await until(consumer.assignment)
    # what they need of a broker beforehand, connections and a producer's id among it, one that is frozen never gives
    await producer.send_and_wait(settings.payments, b"x", key=b"k")
    await consumer.commit(dict.fromkeys(consumer.assignment(), 0))

    with frozen(kafka):
        sending = asyncio.create_task(producer.send_and_wait(settings.payments, b"x", key=b"k"))
        committing = asyncio.create_task(consumer.commit(dict.fromkeys(consumer.assignment(), 0)))
        await until(lambda: producer._sender._in_flight and in_coordination(consumer))
        async with asyncio.timeout(60):
            await asyncio.gather(close_consumer(consumer), close_producer(producer))
        sending.cancel()
        committing.cancel()
        await asyncio.gather(sending, committing, return_exceptions=True)

    await until(lambda: others() == before)


async def test_whoever_waits_for_dead_letters_is_told(kafka: RealKafka, kafka_prefix: str) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings, partitions=1)
    await publish(kafka.bootstrap, settings.dead_letters, [("SO-1", b"half")])

    async with DeadLetterDesk(settings) as desk:
        (letter,) = [one async for one in desk.letters()]
        with frozen(kafka):
            with pytest.raises(DeskError, match="cannot be read: no answer"):
                _ = [one async for one in desk.letters()]
            with pytest.raises(DeskError, match="0:0 was not taken"):
                await desk.replay(letter)
            with pytest.raises(DeskError, match="could not be noted"):
                await desk.mark_replayed(letter)
