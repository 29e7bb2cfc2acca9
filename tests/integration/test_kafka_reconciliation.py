"""What differs between log and topics is found, and what is missing is published again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actors.host import wall_clock
from gateway import offsets, reconciliation
from gateway.envelopes import Envelopes
from gateway.expected import event_version
from gateway.inbox import Inbox
from gateway.offsets import TopicsError, published_so_far, read_again, read_so_far
from gateway.reconciliation import ReconciliationReport, reconcile
from gateway.relay import OutboxRelay
from ledger.identifiers import TRANSACTION_EVENT, certificate_entity, identifier
from ledger.publications import STATE, TRANSACTION, Publication
from persistence import codec
from persistence.memory import MemoryLog
from persistence.reading import replayed
from persistence.replay import Replay
from tests.contract.histories import NOON, Writer
from tests.integration.kafka_stage import (
    MemoryLedger,
    bridge_settings,
    committed,
    is_empty,
    make_topics,
    publish,
    read_topic,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.bridge_settings import BridgeSettings
    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real

CODES = [f"GC-{number:08d}" for number in range(12)]
ONE, TWO = CODES[:2]


class Stage:
    """A ledger in memory, and topics that some of its events are put on by hand."""

    def __init__(self, settings: BridgeSettings) -> None:
        self.settings = settings
        self.log = MemoryLog(4)
        self.writer = Writer(self.log)
        self.progress: list[tuple[int, int]] = []

    async def fill(self) -> None:
        """Certificates that were sold, and spent from."""
        await self.writer.sell("SO-1", *CODES)
        for code in CODES:
            await self.writer.spend(code, 1_000, 3)

    async def events(self, code: str) -> list[Publication]:
        """All that the records of a certificate make."""
        (replay,) = await replayed(self.log, [Replay(certificate_entity(code), 1, frozenset())])
        return [codec.decode_publication(stored) for _, stored in replay.events]

    async def put(self, events: Sequence[Publication]) -> None:
        """Publish these, with their headers."""
        await self.send([Envelopes(self.settings).outgoing(event) for event in events])

    async def send(self, records: Sequence[Any]) -> None:
        from aiokafka import AIOKafkaProducer  # noqa: PLC0415

        async with AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap, acks="all") as producer:
            for one in records:
                await producer.send_and_wait(one.topic, one.value, key=one.key, headers=one.headers)

    async def forget_outboxes(self) -> None:
        """As if all had been acknowledged."""
        for partition in range(self.log.partitions):
            page = await self.log.outbox(partition, limit=0)
            assert await self.log.acknowledge(partition, page.head, page.size)

    async def published(self) -> None:
        """Have the relay publish all."""
        async with running(OutboxRelay(self.log, self.settings, wall_clock)):
            await is_empty(self.log)

    async def compare(self, *, republish: bool = False) -> ReconciliationReport:
        return await reconcile(self.log, self.settings, lambda *done: self.progress.append(done), republish=republish)


@pytest.fixture
async def stage(kafka: RealKafka, kafka_prefix: str) -> Stage:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    made = Stage(settings)
    await made.fill()
    return made


def found(report: ReconciliationReport) -> list[tuple[str, str, str, int]]:
    return [(one.code, one.kind, one.topic, one.version) for one in report.differences]


def without(events: Sequence[Publication], *left_out: tuple[str, int]) -> list[Publication]:
    return [event for event in events if (event.topic, event_version(event)) not in left_out]


async def test_what_the_relay_published_is_in_order(stage: Stage) -> None:
    await stage.published()

    report = await stage.compare()

    assert (report.differences, report.counts, report.lost, report.foreign) == ((), {}, (), 0)
    assert report.in_order
    assert report.certificates == len(CODES)
    assert report.events == sum([len(await stage.events(code)) for code in CODES])
    assert stage.progress[-1][0] == stage.progress[-1][1]
    assert stage.progress == sorted(stage.progress)


async def test_what_still_waits_is_not_missing(stage: Stage) -> None:
    report = await stage.compare()

    assert report.in_order
    assert (report.waiting, report.events) == (len(CODES), 0)


async def test_repeated_events_do_no_harm(stage: Stage) -> None:
    for code in CODES:
        events = await stage.events(code)
        await stage.put([*events[:4], *events[1:], *events[-2:]])
    await stage.forget_outboxes()

    assert (await stage.compare()).in_order


async def test_missing_events_are_found_and_published_in_order(stage: Stage) -> None:
    await stage.forget_outboxes()
    events = await stage.events(ONE)
    moves = [event_version(event) for event in events if event.topic == TRANSACTION]
    await stage.put(without(events, (TRANSACTION, moves[1] or 0), (TRANSACTION, moves[-1] or 0)))
    for code in CODES[2:]:
        await stage.put(await stage.events(code))

    report = await stage.compare()

    assert [one for one in found(report) if one[0] == ONE] == [
        (ONE, "missing", "transaction", moves[1]),
        (ONE, "missing", "transaction", moves[-1]),
    ]
    of_two = [event_version(event) for event in await stage.events(TWO) if event.topic == TRANSACTION]
    last = event_version((await stage.events(TWO))[-1])
    assert sorted(one for one in found(report) if one[0] == TWO) == sorted(
        [(TWO, "missing", "state", last), *((TWO, "missing", "transaction", version) for version in of_two)]
    )
    assert {one[0] for one in found(report)} == {ONE, TWO}
    assert not report.in_order

    mended = await stage.compare(republish=True)

    assert mended.in_order
    assert mended.republished == 2 + len(of_two) + 1
    assert found(mended) == found(report)
    again = await stage.compare()
    assert again.counts == {"disorder": 1}, "the first of the two came after later ones; nothing else is wrong"
    records = await read_topic(stage.settings.bootstrap, stage.settings.transactions, 1)
    ours = [record for record in records if record.key == TWO.encode()]
    expected = [Envelopes(stage.settings).outgoing(one) for one in await stage.events(TWO) if one.topic == TRANSACTION]
    assert [(record.value, list(record.headers)) for record in ours] == [(one.value, one.headers) for one in expected]


async def test_an_old_state_is_found_and_only_the_newest_is_published(stage: Stage) -> None:
    await stage.published()
    await stage.writer.spend(ONE, 500, 2)
    await stage.forget_outboxes()
    events = await stage.events(ONE)
    await stage.put([event for event in events if event.topic == TRANSACTION])
    await stage.put([next(event for event in await stage.events(TWO) if event.topic == STATE)])
    newest, of_two = event_version(events[-1]), event_version((await stage.events(TWO))[-1])

    report = await stage.compare(republish=True)

    assert found(report) == [(ONE, "stale", "state", newest), (TWO, "stale", "state", of_two)]
    assert report.differences[1].detail.endswith("behind a newer one")
    assert report.in_order
    assert report.republished == 2
    assert (await stage.compare()).counts == {}


async def test_what_subscribers_know_and_the_log_does_not_is_told_to_the_operation(stage: Stage) -> None:
    await stage.published()
    ahead = Stage(stage.settings)
    later = ahead.writer
    await later.sell("SO-1", *CODES)
    for code in CODES:
        await later.spend(code, 1_000, 3)
    await later.spend(ONE, 250, 1)
    await later.sell("SO-2", "GC-NEVER-SEEN")
    await ahead.published()

    report = await stage.compare(republish=True)

    known = stage.writer.certificates[ONE][1].version
    assert [(one.code, one.version, one.published) for one in report.lost] == [
        (ONE, known, known + 2),
        ("GC-NEVER-SEEN", 0, 3),
    ]
    of_one = [event for event in report.lost_events if event.code == ONE]
    assert {(event.topic, event.version, event.type, event.amount) for event in of_one} == {
        ("transaction", known + 2, "Capture", 250),
        ("state", known + 2, "Active", None),
    }
    assert report.counts == {"lost": 2}
    assert (report.in_order, report.republished) == (False, 0)


async def test_other_content_and_events_that_nobody_made_are_found(stage: Stage) -> None:
    await stage.published()
    events = await stage.events(ONE)
    move = next(event for event in events if event.topic == TRANSACTION)
    version = event_version(move) or 0
    await stage.put([Publication(TRANSACTION, ONE, move.event_id, NOON, b'{"amount":1}')])
    await stage.put([Publication(TRANSACTION, ONE, identifier(TRANSACTION_EVENT, ONE, 1), NOON, b"{}")])
    await publish(stage.settings.bootstrap, stage.settings.transactions, [(ONE, b"no headers"), ("strange key", b"")])

    report = await stage.compare()

    assert found(report) == [(ONE, "extra", "transaction", 1), (ONE, "differs", "transaction", version)]
    assert report.foreign == 2
    assert not report.in_order


async def test_a_broken_log_is_told_and_its_events_are_left_alone(stage: Stage) -> None:
    await stage.published()
    records = stage.log._records
    for logs in records:
        if f"c:{ONE}" in logs:
            logs[f"c:{ONE}"][2] = b"nonsense"

    report = await stage.compare(republish=True)

    assert found(report) == [(ONE, "unreadable", "", 3)]
    assert (report.republished, report.lost) == (0, ())


async def test_what_is_served_from_a_snapshot_over_a_broken_record_is_lost_if_subscribers_know_more(
    stage: Stage,
) -> None:
    await stage.writer.spend(ONE, 250, 1, snapshot=True)
    ahead = Stage(stage.settings)
    await ahead.fill()
    await ahead.writer.spend(ONE, 250, 2)
    await ahead.published()
    known = stage.writer.certificates[ONE][1].version
    for logs in stage.log._records:
        if f"c:{ONE}" in logs:
            logs[f"c:{ONE}"][2] = b"nonsense"

    report = await stage.compare()

    assert [(one.code, one.version, one.published) for one in report.lost] == [(ONE, known, known + 2)]
    assert {kind for code, kind, _, _ in found(report) if code == ONE} == {"lost", "unreadable"}


async def test_in_several_readings_it_finds_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.forget_outboxes()
    await stage.put(await stage.events(ONE))
    await publish(stage.settings.bootstrap, stage.settings.states, [("strange key", b"")])
    at_once = await stage.compare()
    monkeypatch.setattr(reconciliation, "ENTITIES_AT_ONCE", 1)

    assert await stage.compare() == at_once
    assert stage.progress[-1][0] == stage.progress[-1][1]


async def test_nothing_is_found_beside_a_service_that_writes_and_publishes(stage: Stage) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await stage.writer.spend(CODES[turn % len(CODES)], 1, 1)
            await asyncio.sleep(0)

    async with running(OutboxRelay(stage.log, stage.settings, wall_clock)):
        writing = asyncio.create_task(write())
        reports = [await stage.compare() for _ in range(5)]
        stop.set()
        await writing
        await is_empty(stage.log)

    assert [found(report) for report in reports] == [[]] * 5
    assert all(report.in_order for report in reports)
    assert reports[0].events < reports[-1].events


async def test_missing_events_are_published_beside_a_service_that_goes_on(stage: Stage) -> None:
    await stage.forget_outboxes()
    stop = asyncio.Event()

    async def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await stage.writer.spend(CODES[turn % 3], 1, 1)
            await asyncio.sleep(0.002)

    async with running(OutboxRelay(stage.log, stage.settings, wall_clock)):
        writing = asyncio.create_task(write())
        await stage.compare(republish=True)
        stop.set()
        await writing
        await is_empty(stage.log)

    report = await stage.compare()
    assert set(report.counts) <= {"disorder"}
    assert report.lost == ()


async def test_a_topic_that_is_missing_is_one_sentence(kafka: RealKafka, kafka_prefix: str) -> None:
    with pytest.raises(TopicsError, match=r"GiftCertificateState and .*Transaction cannot be opened"):
        await reconcile(MemoryLog(), bridge_settings(kafka.bootstrap, kafka_prefix), lambda *_: None)


async def test_the_inbox_can_be_set_back(stage: Stage) -> None:
    settings = stage.settings
    await publish(settings.bootstrap, settings.payments, [(f"SO-{number}", b"{}") for number in range(20)])
    ends = await published_so_far(settings)
    before = await read_so_far(settings)
    somewhere = {topic: dict.fromkeys(partitions, 2) for topic, partitions in before.items()}

    await read_again(settings, somewhere)

    assert await read_so_far(settings) == somewhere
    assert await committed(settings.bootstrap, settings.group, settings.payments) == 6
    assert before == {topic: dict.fromkeys(range(3), 0) for topic in (settings.sales_orders, settings.payments)}
    assert ends == {topic: dict.fromkeys(range(3), 0) for topic in (settings.states, settings.transactions)}


async def test_an_inbox_that_runs_is_not_set_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "GROUP_SECONDS_MAX", 1.0)
    settings = stage.settings
    before = await read_so_far(settings)

    async with MemoryLedger() as ledger, running(Inbox(ledger, ledger.vault, settings, wall_clock)) as inbox:
        await until(inbox.ready)
        with pytest.raises(TopicsError, match="cannot be set back"):
            await read_again(settings, before)
