"""The inbox on a consumer that does as it is told: what is held back, what is committed, and when it starts anew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError

from gateway import inbox, inbox_reading
from gateway.bridge_settings import BridgeSettings
from gateway.inbox import Inbox
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin
from persistence.vault import Vault
from tests.unit.gateway.kafka_fakes import FakeBroker, FakeKeeper

PAYMENTS = TopicPartition("All_Payments", 0)
SETTINGS = BridgeSettings(bootstrap="127.0.0.1:1")


class FakeConsumer:
    """Gives what is put into ``records``; offsets begin at 0."""

    def __init__(self) -> None:
        self.own = {PAYMENTS}
        self.records: list[Any] = []
        self.end = 0
        self.at = 0
        self.silent = False
        self.topics_known = True
        self.failures: list[Exception] = []
        self.commits: list[dict[TopicPartition, int]] = []
        self.commit_failures: list[Exception] = []
        self.look_failures: list[Exception] = []
        self.held: set[TopicPartition] = set()
        self.pauses = 0
        self.listener: Any = None
        self.asked_for: list[int] = []

    def put(self, count: int) -> None:
        for _ in range(count):
            value = (
                b'{"orderId":"SO-%d","paymentVersion":1,"currency":"RUB","capturedAmount":1,"outstandingAmount":0,'
                b'"isOrderSettled":true,"certificateAllocations":[]}' % self.end
            )
            record = SimpleNamespace(
                topic=PAYMENTS.topic, partition=0, offset=self.end, key=None, value=value, headers=()
            )
            self.records.append(record)
            self.end += 1

    async def start(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def subscribe(self, topics: Iterable[str], *, listener: object) -> None:
        assert set(topics) == {SETTINGS.sales_orders, SETTINGS.payments}
        self.listener = listener

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.own = set(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.own)

    def paused(self) -> set[TopicPartition]:
        return set(self.held)

    def pause(self, partition: TopicPartition) -> None:
        self.pauses += 1
        self.held.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.held.discard(partition)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        self.asked_for.append(max_records)
        await asyncio.sleep(timeout_ms / 1_000)
        if self.silent or PAYMENTS in self.held or not self.records:
            return {}
        given, self.records = self.records[:max_records], self.records[max_records:]
        self.at += len(given)
        return {PAYMENTS: given}

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        if self.commit_failures:
            raise self.commit_failures.pop(0)
        self.commits.append(positions)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        if self.look_failures:
            raise self.look_failures.pop(0)
        return {partition: self.end if partition == PAYMENTS else 0 for partition in partitions}

    async def position(self, partition: TopicPartition) -> int:
        return self.at if partition == PAYMENTS else 0

    async def topics(self) -> set[str]:
        return set()

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0} if self.topics_known else set()


class Ledger:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.stuck: set[str] = set()
        self.asked: list[str] = []

    async def ask(self, entity: str, _command: AnyCommand, _origin: Origin) -> Answer:
        self.asked.append(entity)
        if entity in self.stuck:
            await asyncio.Event().wait()
        await self.gate.wait()
        return Answer()


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("COMMIT_SECONDS", "WATCH_SECONDS", "POLL_SECONDS", "METADATA_SECONDS", "SETTLE_SECONDS_MAX"):
            monkeypatch.setattr(inbox_reading, name, 0.0)
        monkeypatch.setattr(inbox, "BACKOFF_SECONDS_MIN", 0.0)
        monkeypatch.setattr(inbox, "BACKOFF_SECONDS_MAX", 0.0)
        self.consumers: list[FakeConsumer] = []
        self.closed: list[FakeConsumer] = []
        self.prepared: list[FakeConsumer] = []
        self.broker = FakeBroker()
        monkeypatch.setattr(inbox_reading, "new_consumer", self._new)
        monkeypatch.setattr(inbox_reading, "close_consumer", self._close)
        monkeypatch.setattr(inbox, "ProducerKeeper", lambda *_: FakeKeeper(self.broker))
        self.ledger = Ledger()

    def _new(self, *_: object) -> FakeConsumer:
        consumer = self.prepared.pop(0) if self.prepared else FakeConsumer()
        self.consumers.append(consumer)
        return consumer

    async def _close(self, consumer: FakeConsumer) -> None:
        self.closed.append(consumer)

    @asynccontextmanager
    async def running(self, settings: BridgeSettings = SETTINGS) -> AsyncIterator[Inbox]:
        made = Inbox(self.ledger, Vault.generate(), settings, lambda: 0)
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        await until(lambda: self.consumers)
        try:
            yield made
        finally:
            stop.set()
            async with asyncio.timeout(60):
                await task

    async def join(self) -> FakeConsumer:
        """The newest consumer, with its partition assigned by the group."""
        await until(lambda: self.consumers[-1].listener)
        await self.consumers[-1].listener.on_partitions_assigned([PAYMENTS])
        return self.consumers[-1]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0)


async def test_what_is_done_is_committed_and_what_is_not_is_not(stage: Stage) -> None:
    stage.ledger.stuck = {"o:SO-2"}
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.put(5)
        await until(lambda: made.report()["applied"] == 4)
        await until(lambda: consumer.commits)

    assert consumer.commits[-1] == {PAYMENTS: 2}
    assert stage.closed == stage.consumers


async def test_no_more_is_taken_than_the_window_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_reading, "WINDOW", 10)
    stage.ledger.gate.clear()
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.put(30)
        await until(lambda: made.report()["inFlight"] == 10)
        for _ in range(20):
            await asyncio.sleep(0)
        assert made.report()["inFlight"] == 10
        stage.ledger.gate.set()
        await until(lambda: made.report()["applied"] == 30)

    assert max(consumer.asked_for) == 10


async def test_a_partition_far_beyond_a_record_that_waits_is_held_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_reading, "SPAN_MAX", 20)
    monkeypatch.setattr(inbox_reading, "WINDOW", 10)
    stage.ledger.gate.clear()
    stage.ledger.stuck = {"o:SO-0"}
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.put(100)
        stage.ledger.gate.set()
        await until(lambda: consumer.held)
        taken = made.report()["applied"]
        for _ in range(50):
            await asyncio.sleep(0)

        assert int(taken) < 40
        assert consumer.pauses == 1
        assert consumer.commits == []


async def test_a_partition_that_was_held_back_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_reading, "SPAN_MAX", 20)
    stage.ledger.gate.clear()
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.put(30)
        await until(lambda: consumer.held)
        stage.ledger.gate.set()
        await until(lambda: made.report()["applied"] == 30)
        await until(lambda: not consumer.held)


async def test_when_the_group_takes_partitions_back_what_is_done_is_committed_first(stage: Stage) -> None:
    stage.ledger.stuck = {"o:SO-1"}
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.commit_failures = [CommitFailedError(), IllegalStateError()]
        consumer.put(3)
        await until(lambda: made.report()["applied"] == 2)
        await until(lambda: not consumer.commit_failures)
        await consumer.listener.on_partitions_revoked([PAYMENTS])

        assert consumer.commits == [{PAYMENTS: 1}]
        assert made.report()["inFlight"] == 0


async def test_what_belongs_to_others_is_not_committed(stage: Stage) -> None:
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.put(1)
        consumer.own = set()
        await until(lambda: made.report()["applied"] == 1)
        await until(made.ready)

    assert consumer.commits == []


async def test_a_commit_that_fails_is_tried_again_on_the_same_consumer(stage: Stage) -> None:
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.commit_failures = [KafkaConnectionError(), TimeoutError()]
        consumer.put(1)
        await until(lambda: consumer.commits)
        assert made.report()["readings"] == 1

    assert consumer.commits == [{PAYMENTS: 1}]


async def test_after_commits_have_failed_for_long_a_new_consumer_reads(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_reading, "STUCK_SECONDS", 0.0)
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.commit_failures = [KafkaConnectionError() for _ in range(100)]
        consumer.put(1)
        await until(lambda: len(stage.consumers) > 1)

        assert stage.closed[0] is consumer
        assert made.report()["readings"] == 2


async def test_a_consumer_that_stops_without_a_word_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_reading, "STUCK_SECONDS", 0.0)
    async with stage.running() as made:
        consumer = await stage.join()
        consumer.silent = True
        consumer.put(1)
        await until(lambda: len(stage.consumers) > 1)

        assert stage.closed == [consumer]
        assert made.report()["readings"] == 2


async def test_a_consumer_that_cannot_start_is_tried_again(stage: Stage) -> None:
    failing = FakeConsumer()
    failing.failures = [KafkaConnectionError()]
    stage.prepared = [failing]
    async with stage.running() as made:
        await until(lambda: len(stage.consumers) == 2)
        await stage.join()
        await until(made.ready)

    assert stage.closed[0] is failing


async def test_readiness_waits_for_the_group_the_broker_and_the_topics(stage: Stage) -> None:
    async with stage.running() as made:
        await until(lambda: stage.consumers[-1].listener)
        assert not made.ready()
        consumer = await stage.join()
        await until(made.ready)
        consumer.topics_known = False
        await until(lambda: not made.ready())
        consumer.topics_known = True
        await until(made.ready)
        consumer.look_failures = [TimeoutError()]
        await until(lambda: not consumer.look_failures)
        await until(made.ready)


async def test_with_assigned_partitions_new_ones_are_noticed(stage: Stage) -> None:
    settings = BridgeSettings(bootstrap="127.0.0.1:1", assign_partitions=True)
    async with stage.running(settings) as made:
        await until(made.ready)
        assert made.report()["partitions"] == 2
        stage.broker.missing = {"All_Payments"}
        for _ in range(20):
            await asyncio.sleep(0)
        stage.broker.missing = set()
        stage.broker.partitions = 3
        await until(lambda: len(stage.consumers) == 2)
        await until(lambda: made.report()["partitions"] == 6)


async def test_without_any_partition_there_is_nothing_to_read_yet(stage: Stage) -> None:
    stage.broker.partitions = 0
    settings = BridgeSettings(bootstrap="127.0.0.1:1", assign_partitions=True)
    async with stage.running(settings) as made:
        await until(lambda: made.report()["lastError"] == "UnknownTopicOrPartitionError")
        stage.broker.partitions = 1
        await until(made.ready)


async def test_a_defect_ends_the_inbox(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defective(*_: object) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(stage.ledger, "ask", defective)
    made = Inbox(stage.ledger, Vault.generate(), SETTINGS, lambda: 0)
    task = asyncio.create_task(made.run(asyncio.Event()))
    await until(lambda: stage.consumers)
    (await stage.join()).put(1)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(60):
            await task

    assert caught.group_contains(ZeroDivisionError)
    assert stage.closed == stage.consumers
