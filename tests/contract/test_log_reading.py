"""What a log gives back: entities, history, timers, publications, messages."""

import pytest

from persistence.log import PAGE_MAX, Batch, Change, Log, QueuedMessage, partition_of
from tests.contract.conftest import NOON, PARTITIONS

ONE = "c:GC-00000001"
ORDER = "o:SO-1001"
PARTITION = partition_of(ONE, PARTITIONS)


def records(count: int, start: int = 1) -> tuple[bytes, ...]:
    return tuple(b"record %d" % number for number in range(start, start + count))


def message(number: int = 1, due: int = NOON, entity: str = ONE) -> QueuedMessage:
    return QueuedMessage(f"sms_{number}", entity, b"sealed %d" % number, due, NOON)


async def publish(log: Log, count: int) -> None:
    assert await log.append(Batch(outbox=tuple((ONE, b"event %d" % number) for number in range(count)))) is None


# --- entities ---------------------------------------------------------------------------------------------------------


async def test_an_unknown_entity_has_version_0(log: Log) -> None:
    unknown, order = await log.load(["c:GC-NEVER-SEEN", ORDER])

    assert (unknown.snapshot, unknown.version, unknown.tail, unknown.attempts, unknown.damage) == (
        None,
        0,
        (),
        None,
        None,
    )
    assert order == unknown


async def test_nothing_asked_for_is_nothing_loaded(log: Log) -> None:
    assert await log.load([]) == []
    assert await log.outcomes([]) == {}
    assert await log.due([], NOON) == []


async def test_an_entity_is_loaded_from_its_snapshot_with_what_came_after(log: Log) -> None:
    await log.append(Batch((Change(ONE, 0, records(3), snapshot=b"3|state"),)))
    await log.append(Batch((Change(ONE, 3, records(2, 4)),)))

    (loaded,) = await log.load([ONE])
    (whole,) = await log.load([ONE], snapshots=False)

    assert (loaded.snapshot, loaded.snapshot_version, loaded.tail, loaded.version) == (b"3|state", 3, records(2, 4), 5)
    assert (whole.snapshot, whole.snapshot_version, whole.tail, whole.version) == (None, 0, records(5), 5)
    assert await log.snapshot(ONE) == (3, b"3|state")
    assert await log.snapshot(ORDER) is None


async def test_a_snapshot_can_be_saved_without_records_and_replaces_the_one_before(log: Log) -> None:
    await log.append(Batch((Change(ONE, 0, records(2), snapshot=b"2|old"),)))

    assert await log.append(Batch((Change(ONE, 2, snapshot=b"2|new"),))) is None

    (loaded,) = await log.load([ONE])
    assert (loaded.snapshot, loaded.tail) == (b"2|new", ())


async def test_entities_come_in_the_order_asked_for(log: Log) -> None:
    names = [f"c:GC-{number:08d}" for number in range(100)]
    await log.append(Batch(tuple(Change(name, 0, (name.encode(),)) for name in names)))

    loaded = await log.load(list(reversed(names)))

    assert [one.tail for one in loaded] == [(name.encode(),) for name in reversed(names)]


@pytest.mark.operator
async def test_every_entity_with_records_is_listed_once(log: Log) -> None:
    names = {f"c:GC-{number:08d}" for number in range(2_500)} | {f"o:SO-{number}" for number in range(500)}
    await log.append(Batch(tuple(Change(name, 0, records(1)) for name in names)))
    await log.append(Batch(tuple(Change(name, 1, records(1, 2)) for name in names)))

    listed = [entity for partition in range(PARTITIONS) async for entity in log.entities(partition)]
    stored = {entity async for entity in log.stored()}

    assert sorted(listed) == sorted(names)
    assert stored == names
    counts = [len([name for name in names if partition_of(name, PARTITIONS) == one]) for one in range(PARTITIONS)]
    assert await log.entity_counts() == counts


async def test_history_comes_in_pages_oldest_first(log: Log) -> None:
    await log.append(Batch((Change(ONE, 0, records(2_500)),)))

    pages = [await log.history(ONE, after) for after in (0, PAGE_MAX, 2 * PAGE_MAX, 2_500)]

    assert [len(page) for page in pages] == [PAGE_MAX, PAGE_MAX, 500, 0]
    assert [record for page in pages for record in page] == list(records(2_500))


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [(2, 2, (3, 4)), (4, 10, (5,)), (-5, 2, (1, 2)), (0, 0, ()), (0, -1, ()), (9, 1, ()), (0, 10**9, (1, 2, 3, 4, 5))],
)
async def test_history_is_bounded_by_what_there_is(log: Log, after: int, limit: int, expected: tuple[int, ...]) -> None:
    await log.append(Batch((Change(ONE, 0, records(5)),)))

    assert await log.history(ONE, after, limit) == [b"record %d" % number for number in expected]
    assert await log.history("c:GC-NEVER-SEEN", after, limit) == []


# --- timers -----------------------------------------------------------------------------------------------------------


async def test_a_timer_is_set_moved_left_alone_and_removed(log: Log) -> None:
    await log.append(Batch((Change(ONE, 0, records(1), due=NOON),)))
    assert await log.due(range(PARTITIONS), NOON) == [ONE]

    await log.append(Batch((Change(ONE, 1, due=NOON + 5),)))
    assert await log.due(range(PARTITIONS), NOON + 4) == []
    await log.append(Batch((Change(ONE, 1),)))
    assert await log.due(range(PARTITIONS), NOON + 5) == [ONE]
    await log.append(Batch((Change(ONE, 1, due=0),)))

    assert await log.timers(range(PARTITIONS)) == {}
    assert await log.append(Batch((Change(ONE, 1, due=0),))) is None


async def test_what_is_due_comes_earliest_first_from_the_partitions_asked_for(log: Log) -> None:
    names = [f"c:GC-{number:08d}" for number in range(50)]
    await log.append(Batch(tuple(Change(name, 0, due=NOON - number) for number, name in enumerate(names))))
    mine = [name for name in names if partition_of(name, PARTITIONS) in {1, 3}]

    assert await log.due(range(PARTITIONS), NOON) == list(reversed(names))
    assert await log.due(range(PARTITIONS), NOON, 3) == list(reversed(names))[:3]
    assert await log.due([1, 3], NOON) == list(reversed(mine))
    assert await log.due(range(PARTITIONS), NOON, 0) == []
    assert (await log.timers([1, 3])).keys() == set(mine)


async def test_no_more_timers_come_than_one_page(log: Log) -> None:
    await log.append(Batch(tuple(Change(f"c:GC-{number:08d}", 0, due=NOON) for number in range(PAGE_MAX + 500))))

    assert len(await log.due(range(PARTITIONS), NOON, 10**9)) == PAGE_MAX
    assert len(await log.timers(range(PARTITIONS))) == PAGE_MAX + 500


# --- publications -----------------------------------------------------------------------------------------------------


async def test_publications_come_in_the_order_they_were_written_in(log: Log) -> None:
    await publish(log, 3)
    await publish(log, 2)

    page = await log.outbox(PARTITION)

    assert page.entries == (b"event 0", b"event 1", b"event 2", b"event 0", b"event 1")
    assert (page.head, page.size) == (0, 5)
    assert [size for size in await log.outbox_sizes() if size] == [5]


async def test_what_was_acknowledged_does_not_come_again(log: Log) -> None:
    await publish(log, 5)

    assert await log.acknowledge(PARTITION, 0, 2)

    page = await log.outbox(PARTITION)
    assert (page.head, page.entries, page.size) == (2, (b"event 2", b"event 3", b"event 4"), 3)


async def test_only_the_first_of_two_relays_acknowledges(log: Log) -> None:
    await publish(log, 5)
    await log.acknowledge(PARTITION, 0, 2)

    assert not await log.acknowledge(PARTITION, 0, 2)
    assert not await log.acknowledge(PARTITION, 1, 1)
    assert not await log.acknowledge(PARTITION, 2, 4)

    assert (await log.outbox(PARTITION)).size == 3


async def test_nothing_can_be_acknowledged_as_well(log: Log) -> None:
    assert await log.acknowledge(PARTITION, 0, 0)
    await publish(log, 1)
    assert await log.acknowledge(PARTITION, 0, 1)
    assert await log.acknowledge(PARTITION, 1, 0)
    assert not await log.acknowledge(PARTITION, 1, -1)

    page = await log.outbox(PARTITION)
    assert (page.head, page.entries, page.size) == (1, (), 0)


@pytest.mark.parametrize(
    ("limit", "skip", "head", "entries"),
    [(2, 0, 1, (1, 2)), (2, 1, 2, (2, 3)), (0, 0, 1, ()), (9, 3, 4, (4,)), (9, 9, 10, ()), (1, -4, 1, (1,))],
)
async def test_a_part_of_the_outbox_can_be_read(
    log: Log, limit: int, skip: int, head: int, entries: tuple[int, ...]
) -> None:
    await publish(log, 5)
    await log.acknowledge(PARTITION, 0, 1)

    page = await log.outbox(PARTITION, limit, skip)

    assert (page.head, page.entries, page.size) == (head, tuple(b"event %d" % number for number in entries), 4)


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_a_message_comes_when_it_is_due_and_stays_until_it_is_settled(log: Log) -> None:
    await log.append(Batch(messages=(message(1, NOON + 5), message(2, NOON), message(3, NOON, "c:GC-00000002"))))

    assert await log.messages_due(NOON - 1) == []
    assert await log.messages_due(NOON) == [message(2, NOON), message(3, NOON, "c:GC-00000002")]
    assert await log.messages_due(NOON + 5, 1) == [message(2, NOON)]
    assert await log.messages_due(NOON + 5, 0) == []
    assert await log.messages_waiting() == 3
    await log.message_settle(message(2))

    assert [one.message_id for one in await log.messages_due(NOON + 5)] == ["sms_3", "sms_1"]
    assert await log.message_failures() == {}


async def test_a_retry_counts_the_tries_and_moves_the_time(log: Log) -> None:
    await log.append(Batch(messages=(message(),)))
    (first,) = await log.messages_due(NOON)

    await log.message_retry(first, NOON + 100)

    assert await log.messages_due(NOON + 99) == []
    (second,) = await log.messages_due(NOON + 100)
    assert second == QueuedMessage("sms_1", ONE, b"sealed 1", NOON + 100, NOON, tries=1)
    assert [one async for one in log.messages(PARTITION)] == [second]


async def test_a_settled_message_stays_settled(log: Log) -> None:
    await log.append(Batch(messages=(message(),)))
    await log.message_settle(message())

    await log.message_retry(message(), NOON)
    await log.message_settle(message(), "too late")

    assert await log.messages_waiting() == 0
    assert await log.messages_due(NOON + 10**6) == []
    assert await log.message_failures() == {}


async def test_a_message_that_was_given_up_leaves_its_reason_only(log: Log) -> None:
    await log.append(Batch(messages=(message(1), message(2))))

    await log.message_settle(message(1), "refused: 400")

    assert await log.message_failures() == {"sms_1": "refused: 400"}
    assert [one.message_id for one in await log.messages_due(NOON)] == ["sms_2"]


async def test_only_the_newest_failures_are_kept(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.memory.FAILURES_MAX", 3)
    monkeypatch.setattr("persistence.redis_log.FAILURES_MAX", 3)
    await log.append(Batch(messages=tuple(message(number) for number in range(5))))

    for number in range(5):
        await log.message_settle(message(number), "no")

    assert list(await log.message_failures()) == ["sms_2", "sms_3", "sms_4"]


async def test_all_waiting_messages_of_a_partition_can_be_looked_at(log: Log) -> None:
    await log.append(Batch(messages=tuple(message(number, NOON + number) for number in range(1_500))))

    waiting = [one async for one in log.messages(PARTITION)]

    assert sorted(waiting, key=lambda one: one.due) == [message(number, NOON + number) for number in range(1_500)]
    assert [one async for one in log.messages((PARTITION + 1) % PARTITIONS)] == []


# --- as a whole -------------------------------------------------------------------------------------------------------


async def test_a_log_that_can_be_written_says_so(log: Log) -> None:
    await log.check()


async def test_closing_twice_is_closing(log: Log) -> None:
    await log.close()
    await log.close()
