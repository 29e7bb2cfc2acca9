import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, NotLeaderForPartitionError

from gateway import kafka_lanes, relay
from gateway.bridge_settings import BridgeSettings
from gateway.relay import OutboxRelay
from ledger.identifiers import certificate_entity
from ledger.publications import STATE, TRANSACTION, Publication
from persistence import codec
from persistence.errors import StorageUnavailableError
from persistence.log import Batch, OutboxPage
from persistence.memory import MemoryLog
from tests.unit.gateway.kafka_fakes import FakeBroker, FakeKeeper

NOON = 1_795_500_000_000
SETTINGS = BridgeSettings(bootstrap="127.0.0.1:1", states="states", transactions="transactions", source="/test")


class FlakyLog(MemoryLog):
    """A log that is away as often as it is told."""

    def __init__(self, partitions: int = 4) -> None:
        super().__init__(partitions)
        self.away = 0
        self.acknowledgements_lost = 0
        self.stolen = 0

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StorageUnavailableError("away")

    async def outbox_sizes(self) -> list[int]:
        self._answer()
        return await super().outbox_sizes()

    async def outbox(self, partition: int, limit: int = 1_000, skip: int = 0) -> OutboxPage:
        self._answer()
        return await super().outbox(partition, limit, skip)

    async def acknowledge(self, partition: int, head: int, count: int) -> bool:
        if self.stolen:
            self.stolen -= 1
            assert await super().acknowledge(partition, head, 1)  # another relay was first
        done = await super().acknowledge(partition, head, count)
        if self.acknowledgements_lost:
            self.acknowledgements_lost -= 1
            raise StorageUnavailableError("no answer came")
        return done


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, partitions: int = 4) -> None:
        for module, name in (
            (relay, "POLL_SECONDS"),
            (relay, "RETRY_SECONDS"),
            (relay, "HELD_SECONDS"),
            (kafka_lanes, "BACKOFF_SECONDS_MIN"),
            (kafka_lanes, "BACKOFF_SECONDS_MAX"),
            (kafka_lanes, "REFUSED_SECONDS"),
        ):
            monkeypatch.setattr(module, name, 0.0)
        self.log = FlakyLog(partitions)
        self.broker = FakeBroker(partitions=3, batch_records_max=4)
        self.keeper = FakeKeeper(self.broker)
        monkeypatch.setattr(relay, "ProducerKeeper", lambda *_: self.keeper)
        self.relay = OutboxRelay(self.log, SETTINGS, lambda: NOON)

    async def add(self, *events: Publication | bytes, entity: str = "GC-00000001") -> None:
        entries = [one if isinstance(one, bytes) else codec.encode_publication(one) for one in events]
        assert await self.log.append(Batch(outbox=tuple((certificate_entity(entity), one) for one in entries))) is None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OutboxRelay]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.relay.run(stop))
        try:
            yield self.relay
        finally:
            stop.set()
            async with asyncio.timeout(60):
                await task

    async def emptied(self) -> None:
        async with asyncio.timeout(60):
            while sum(await MemoryLog.outbox_sizes(self.log)):  # noqa: ASYNC110 - the log sets no event
                await asyncio.sleep(0)

    def versions(self, topic: str = "states") -> list[int]:
        return [json.loads(value or b"")["version"] for _, value, _ in self.broker.all(topic)]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def state(version: int, topic: str = STATE) -> Publication:
    return Publication(topic, "GC-00000001", f"es_{version}", NOON, json.dumps({"version": version}).encode())


async def until(condition: Any) -> None:  # noqa: ANN401 - whatever can be called
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0)


def firsts(versions: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(versions))


async def test_events_go_to_the_topics_of_the_settings_with_the_attributes_of_cloudevents(stage: Stage) -> None:
    await stage.add(state(1, TRANSACTION), state(1), Publication(STATE, "GC-00000001", "es_2", NOON, b""))

    async with stage.running():
        await stage.emptied()

    assert stage.versions("transactions") == [1]
    first, tombstone = stage.broker.all("states")
    assert first[2] == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"es_1"),
        ("ce_type", b"GiftCertificateState"),
        ("ce_source", b"/test"),
        ("ce_time", b"2026-11-24T06:00:00.000Z"),
        ("ce_subject", b"GC-00000001"),
        ("content-type", b"application/json"),
    ]
    assert tombstone[:2] == (b"GC-00000001", None)
    assert stage.relay.report()["acknowledged"] == 3


async def test_a_later_event_never_comes_before_an_earlier_one_whatever_fails(stage: Stage) -> None:
    stage.broker.failures = [NotLeaderForPartitionError(), None, TimeoutError(), None, None, KafkaConnectionError()]
    await stage.add(*(state(version) for version in range(1, 31)))

    async with stage.running():
        await stage.emptied()

    assert firsts(stage.versions()) == list(range(1, 31))
    assert stage.keeper.started == 4


async def test_nothing_is_acknowledged_before_the_broker_has_it(stage: Stage) -> None:
    stage.broker.gate.clear()
    await stage.add(state(1))

    async with stage.running():
        await until(lambda: stage.broker.deliveries)
        assert sum(await stage.log.outbox_sizes()) == 1
        stage.broker.gate.set()
        await stage.emptied()

    assert stage.versions() == [1]


async def test_an_acknowledgement_without_an_answer_repeats_nothing_else(stage: Stage) -> None:
    stage.log.acknowledgements_lost = 1
    await stage.add(*(state(version) for version in range(1, 6)))

    async with stage.running():
        await stage.emptied()

    assert firsts(stage.versions()) == [1, 2, 3, 4, 5]


async def test_when_another_relay_was_first_the_rest_is_published_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.log.stolen = 1
    await stage.add(*(state(version) for version in range(1, 6)))

    async with stage.running():
        await stage.emptied()

    assert stage.versions() == [1, 2, 3, 4, 5, 2, 3, 4, 5]
    assert caplog.text.count("another relay runs") == 1


async def test_a_log_that_is_away_is_asked_again(stage: Stage) -> None:
    await stage.add(state(1))
    stage.log.away = 3

    async with stage.running():
        await stage.emptied()
        await until(stage.relay.ready)

    assert stage.versions() == [1]


async def test_records_too_large_together_go_one_by_one(stage: Stage) -> None:
    stage.broker.value_bytes_max, stage.broker.too_large = 20, MessageSizeTooLargeError()
    await stage.add(*(state(version) for version in range(1, 9)))

    async with stage.running():
        await stage.emptied()
        assert stage.relay.report()["refused"] == ""

    assert firsts(stage.versions()) == list(range(1, 9))


async def test_a_record_too_large_by_itself_holds_up_what_is_behind_it_until_it_is_taken(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.broker.value_bytes_max, stage.broker.too_large = 100, MessageSizeTooLargeError()
    large = Publication(STATE, "GC-00000001", "es_2", NOON, json.dumps({"version": 2, "x": "x" * 100}).encode())
    await stage.add(state(1), large, state(3))

    async with stage.running():
        await until(lambda: stage.relay.report()["refused"])
        assert not stage.relay.ready()
        assert stage.versions() == [1]
        assert "the broker refuses a record" in caplog.text
        stage.broker.too_large = None
        await stage.emptied()
        await until(stage.relay.ready)

    assert stage.versions() == [1, 2, 3]


async def test_an_entry_that_cannot_be_read_holds_up_its_partition_and_no_other(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.add(state(1), b"damaged", state(3))
    await stage.add(state(7), entity="GC-00000002")

    async with stage.running():
        await until(lambda: stage.relay.report()["held"])
        await until(lambda: sorted(stage.versions()) == [1, 7])
        assert not stage.relay.ready()

    assert sum(await stage.log.outbox_sizes()) == 2
    assert caplog.text.count("what is behind it waits") == 1


async def test_an_event_without_a_topic_is_held_too(stage: Stage) -> None:
    await stage.add(Publication("AnotherTopic", "GC-00000001", "x", NOON, b"{}"))

    async with stage.running():
        await until(lambda: stage.relay.report()["held"])

    assert "no topic is known for AnotherTopic" in str(stage.relay.report()["lastError"])


async def test_a_topic_that_is_missing_is_told(stage: Stage) -> None:
    stage.broker.missing = {"states"}
    await stage.add(state(1))

    async with stage.running():
        await until(lambda: stage.relay.report()["lastError"] == "UnknownTopicOrPartitionError")
        assert not stage.relay.ready()
        stage.broker.missing = set()
        await stage.emptied()
        await until(stage.relay.ready)


async def test_a_batch_that_is_out_for_long_shows_in_readiness(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_lanes, "STALLED_SECONDS", 0.0)
    await stage.add(state(1))
    stage.broker.gate.clear()

    async with stage.running():
        await until(lambda: stage.broker.deliveries)
        assert not stage.relay.ready()
        assert stage.relay.report()["waitingSeconds"] == 0.0
        stage.broker.gate.set()
        await stage.emptied()
        await until(stage.relay.ready)


async def test_what_is_under_way_may_arrive_when_the_relay_stops(stage: Stage) -> None:
    await stage.add(state(1))
    stage.broker.gate.clear()

    async with stage.running():
        await until(lambda: stage.broker.deliveries)
        asyncio.get_running_loop().call_later(0.01, stage.broker.gate.set)

    assert sum(await stage.log.outbox_sizes()) == 0


async def test_what_does_not_arrive_in_time_stays_in_the_outbox(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "DRAIN_SECONDS_MAX", 0.0)
    await stage.add(state(1))
    stage.broker.gate.clear()

    async with stage.running():
        await until(lambda: stage.broker.deliveries)

    assert sum(await stage.log.outbox_sizes()) == 1


async def test_no_partition_is_left_waiting_by_busier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PARTITIONS_AT_ONCE", 1)
    monkeypatch.setattr(relay, "PAGES_IN_A_ROW", 1)
    stage = Stage(monkeypatch, partitions=8)
    for number in range(16):
        await stage.add(state(number), entity=f"GC-{number:08d}")

    async with stage.running():
        await stage.emptied()

    assert sorted(stage.versions()) == list(range(16))


def test_before_it_runs_it_is_not_ready(stage: Stage) -> None:
    assert not stage.relay.ready()
    assert stage.relay.report()["published"] == 0
