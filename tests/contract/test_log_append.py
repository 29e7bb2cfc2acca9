"""An append writes a whole batch or nothing, whichever log takes it."""

import asyncio

import pytest

from persistence.log import AttemptsChange, Batch, Change, Conflict, Log, Outcome, QueuedMessage, partition_of
from tests.contract.conftest import NOON, PARTITIONS, Storage

ONE = "c:GC-00000001"
TWO = "c:GC-00000002"
DAY_MS = 86_400_000


def records(count: int, start: int = 1) -> tuple[bytes, ...]:
    return tuple(b"record %d" % number for number in range(start, start + count))


def change(entity: str = ONE, expected: int = 0, count: int = 1, due: int | None = None) -> Change:
    return Change(entity, expected, records(count, expected + 1), due)


def message(entity: str = ONE, name: str = "sms_1", due: int = NOON) -> QueuedMessage:
    return QueuedMessage(name, entity, b"sealed", due, NOON)


def whole_batch(entity: str = ONE, expected: int = 0) -> Batch:
    """One of everything."""
    return Batch(
        (change(entity, expected, due=NOON + 1),),
        ((entity, b"event"),),
        (Outcome(b"key", b"value"),),
        (AttemptsChange(entity[2:], None, b"wrong", 60_000),),
        (message(entity),),
    )


async def contents(log: Log, entity: str = ONE) -> tuple[object, ...]:
    """All that a batch can have written."""
    partition = partition_of(entity, log.partitions)
    return (
        (await log.load([entity]))[0],
        await log.outbox(partition),
        await log.outcomes([b"key", b"other"]),
        await log.timers(range(log.partitions)),
        await log.messages_due(NOON + DAY_MS),
        [one async for one in log.entities(partition)],
        await log.snapshot(entity),
    )


async def test_all_parts_of_a_batch_are_written(log: Log) -> None:
    assert await log.append(whole_batch()) is None

    (loaded,) = await log.load([ONE])
    page = await log.outbox(partition_of(ONE, PARTITIONS))
    assert (loaded.tail, loaded.version, loaded.attempts, loaded.damage) == (records(1), 1, b"wrong", None)
    assert (page.head, page.entries, page.size) == (0, (b"event",), 1)
    assert await log.outcomes([b"key", b"other"]) == {b"key": b"value"}
    assert await log.timers(range(PARTITIONS)) == {ONE: NOON + 1}
    assert await log.messages_due(NOON) == [message()]


async def test_an_append_goes_on_at_the_version_it_expects(log: Log) -> None:
    assert await log.append(Batch((change(count=3),))) is None

    assert await log.append(Batch((change(expected=3, count=2),))) is None

    (loaded,) = await log.load([ONE])
    assert loaded.tail == records(5)


async def test_an_empty_batch_is_written(log: Log) -> None:
    assert await log.append(Batch()) is None


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_another_version_than_expected_writes_nothing_at_all(log: Log, expected: int) -> None:
    await log.append(Batch((change(count=2),)))
    before = await contents(log)

    conflict = await log.append(whole_batch(expected=expected))

    assert conflict == Conflict(stale=(ONE,))
    assert await contents(log) == before


async def test_one_stale_entity_keeps_the_others_from_being_written(log: Log) -> None:
    await log.append(Batch((change(ONE),)))

    conflict = await log.append(Batch((change(TWO), change(ONE, 0))))

    assert conflict == Conflict(stale=(ONE,))
    assert (await log.load([TWO]))[0].version == 0


async def test_a_change_without_records_only_checks_the_version(log: Log) -> None:
    await log.append(Batch((change(count=2),)))

    assert await log.append(Batch((Change(ONE, 2),))) is None
    assert await log.append(Batch((Change(ONE, 1),))) == Conflict(stale=(ONE,))
    assert await log.append(Batch((Change(TWO, 0),))) is None

    assert [one async for one in log.entities(partition_of(TWO, PARTITIONS))].count(TWO) == 0


async def test_attempts_that_changed_meanwhile_write_nothing(log: Log) -> None:
    code = ONE[2:]
    await log.append(Batch(attempts=(AttemptsChange(code, None, b"one", 60_000),)))
    before = await contents(log)

    conflict = await log.append(Batch((change(),), attempts=(AttemptsChange(code, None, b"two", 60_000),)))

    assert conflict == Conflict(attempts=(code,))
    assert await contents(log) == before


async def test_attempts_are_replaced_and_removed_from_what_they_were(log: Log) -> None:
    code = ONE[2:]

    assert await log.append(Batch(attempts=(AttemptsChange(code, None, b"one", 60_000),))) is None
    assert await log.append(Batch(attempts=(AttemptsChange(code, b"one", b"two", 60_000),))) is None
    assert (await log.load([ONE]))[0].attempts == b"two"
    assert await log.append(Batch(attempts=(AttemptsChange(code, b"two", None, 60_000),))) is None
    assert (await log.load([ONE]))[0].attempts is None


async def test_an_empty_count_of_attempts_is_not_the_absence_of_one(log: Log) -> None:
    code = ONE[2:]
    await log.append(Batch(attempts=(AttemptsChange(code, None, b"", 60_000),)))

    conflict = await log.append(Batch(attempts=(AttemptsChange(code, None, b"one", 60_000),)))

    assert conflict == Conflict(attempts=(code,))


async def test_attempts_are_forgotten_some_time_after_their_last_change(storage: Storage, log: Log) -> None:
    code = ONE[2:]
    await log.append(Batch(attempts=(AttemptsChange(code, None, b"one", 300),)))
    await log.append(Batch(attempts=(AttemptsChange(code, b"one", b"two", 300),)))

    async def forgotten() -> bool:
        return (await log.load([ONE]))[0].attempts is None

    await storage.pass_time_until(forgotten)

    assert await log.append(Batch(attempts=(AttemptsChange(code, None, b"one", 60_000),))) is None


async def test_a_key_that_is_known_writes_nothing_and_comes_with_its_value(log: Log) -> None:
    await log.append(Batch(outcomes=(Outcome(b"key", b"first"),)))
    before = await contents(log)

    conflict = await log.append(Batch((change(),), outcomes=(Outcome(b"other", b"x"), Outcome(b"key", b"second"))))

    assert conflict == Conflict(seen={b"key": b"first"})
    assert await contents(log) == before


async def test_an_outcome_that_is_not_the_first_replaces_the_one_before(log: Log) -> None:
    await log.append(Batch(outcomes=(Outcome(b"key", b"begun"),)))

    assert await log.append(Batch(outcomes=(Outcome(b"key", b"done", first=False),))) is None

    assert await log.outcomes([b"key"]) == {b"key": b"done"}


async def test_everything_that_is_in_the_way_is_told_at_once(log: Log) -> None:
    code = TWO[2:]
    await log.append(
        Batch((change(ONE),), outcomes=(Outcome(b"key", b"v"),), attempts=(AttemptsChange(code, None, b"1", 60_000),))
    )

    conflict = await log.append(
        Batch(
            (change(TWO), change(ONE)),
            outcomes=(Outcome(b"new", b""), Outcome(b"key", b"w")),
            attempts=(AttemptsChange(code, b"0", b"2", 60_000),),
        )
    )

    assert conflict == Conflict(stale=(ONE,), attempts=(code,), seen={b"key": b"v"})


@pytest.mark.parametrize("day", [-1, 1])
async def test_a_key_of_the_day_before_or_of_a_clock_that_is_ahead_is_honoured(storage: Storage, day: int) -> None:
    log = storage.log()
    await log.append(Batch(outcomes=(Outcome(b"key", b"first"),)))

    storage.clock.now -= day * DAY_MS

    assert await log.outcomes([b"key"]) == {b"key": b"first"}
    assert await log.append(Batch(outcomes=(Outcome(b"key", b"second"),))) == Conflict(seen={b"key": b"first"})


async def test_a_key_is_honoured_for_24_hours_and_forgotten_after_48(storage: Storage) -> None:
    log = storage.log()
    midnight = NOON + DAY_MS // 2
    storage.clock.now = midnight - 1  # the last moment of its day: the worst case
    await log.append(Batch(outcomes=(Outcome(b"key", b"first"),)))

    storage.clock.now += DAY_MS
    assert await log.append(Batch(outcomes=(Outcome(b"key", b"second"),))) == Conflict(seen={b"key": b"first"})
    storage.clock.now += 1
    assert await log.outcomes([b"key"]) == {}
    assert await log.append(Batch(outcomes=(Outcome(b"key", b"second"),))) is None


async def test_an_outcome_replaced_on_the_next_day_counts_from_then(storage: Storage) -> None:
    log = storage.log()
    await log.append(Batch(outcomes=(Outcome(b"key", b"begun"),)))
    storage.clock.now += DAY_MS

    await log.append(Batch(outcomes=(Outcome(b"key", b"done", first=False),)))

    assert await log.outcomes([b"key"]) == {b"key": b"done"}
    assert await log.append(Batch(outcomes=(Outcome(b"key", b"again"),))) == Conflict(seen={b"key": b"done"})


async def test_a_key_written_late_by_a_clock_behind_does_not_hide_a_newer_value(storage: Storage) -> None:
    log = storage.log()
    await log.append(Batch(outcomes=(Outcome(b"key", b"newer", first=False),)))
    storage.clock.now -= DAY_MS
    await log.append(Batch(outcomes=(Outcome(b"key", b"older", first=False),)))
    storage.clock.now += DAY_MS

    assert await log.outcomes([b"key"]) == {b"key": b"newer"}
    assert await log.append(Batch(outcomes=(Outcome(b"key", b"x"),))) == Conflict(seen={b"key": b"newer"})


async def test_outcomes_of_many_days_do_not_stay(storage: Storage) -> None:
    log = storage.log()
    await log.append(Batch(outcomes=(Outcome(b"key", b"value"),)))
    for _ in range(10):
        storage.clock.now += DAY_MS
        await log.append(Batch(outcomes=(Outcome(b"other %d" % storage.clock.now, b"value"),)))

    if storage.on_server:
        keys = await storage.client().execute_command("KEYS", "gl:idem:*")
        assert len(keys) <= 5
    assert await log.outcomes([b"key"]) == {}


async def test_an_entity_twice_in_a_batch_is_a_defect_of_the_caller(log: Log) -> None:
    with pytest.raises(ValueError, match="twice"):
        await log.append(Batch((change(ONE), change(ONE, 1))))


async def test_a_snapshot_of_another_version_is_a_defect_of_the_caller(log: Log) -> None:
    with pytest.raises(ValueError, match="version 2"):
        await log.append(Batch((Change(ONE, 0, records(2), snapshot=b"1|state"),)))


async def test_attempts_that_are_kept_for_no_time_are_a_defect_of_the_caller(log: Log) -> None:
    with pytest.raises(ValueError, match="no time"):
        await log.append(Batch(attempts=(AttemptsChange(ONE[2:], None, b"one", 0),)))


@pytest.mark.parametrize("entities", [1, 3_000])
async def test_batches_beyond_what_one_command_takes_are_written_whole(log: Log, entities: int) -> None:
    """Lua's stack holds 8 000 words: 9 000 records in one log, or 3 000 logs at once."""
    each = 9_000 // entities
    names = [f"c:GC-{number:08d}" for number in range(entities)]
    keys = [b"key %d" % number for number in range(9_000)]
    batch = Batch(
        tuple(change(name, 0, each, due=NOON) for name in names),
        tuple((names[number % entities], b"event %d" % number) for number in range(9_000)),
        tuple(Outcome(key, key) for key in keys),
        tuple(AttemptsChange(name[2:], None, b"1", 60_000) for name in names),
        tuple(message(name, f"sms_{name}") for name in names),
    )

    assert await log.append(batch) is None
    conflict = await log.append(batch)

    assert conflict is not None
    assert conflict.stale == tuple(names)
    assert conflict.attempts == tuple(name[2:] for name in names)
    assert conflict.seen == {key: key for key in keys}
    loaded = await log.load(names)
    assert all(one.tail == records(each) for one in loaded)
    assert sum(await log.outbox_sizes()) == 9_000
    assert len(await log.timers(range(PARTITIONS))) == entities
    assert await log.messages_waiting() == entities


async def test_of_several_writers_exactly_one_wins_each_version(storage: Storage) -> None:
    logs = [storage.log() for _ in range(4)]
    wins = [0] * len(logs)

    async def fight(number: int) -> None:
        version = 0
        while version < 40:
            mine = b"%d by %d" % (version + 1, number)
            conflict = await logs[number].append(Batch((Change(ONE, version, (mine,)), Change(TWO, version, (mine,)))))
            if conflict is None:
                wins[number] += 1
                version += 1
            else:
                assert set(conflict.stale) == {ONE, TWO}
                version = (await logs[number].load([ONE]))[0].version

    await asyncio.gather(*(fight(number) for number in range(len(logs))))

    one, two = await logs[0].load([ONE, TWO])
    assert one.tail == two.tail
    assert [int(record.split()[0]) for record in one.tail] == list(range(1, len(one.tail) + 1))
    assert sum(wins) == len(one.tail)


async def test_of_two_requests_with_one_key_exactly_one_is_written(storage: Storage) -> None:
    first, second = storage.log(), storage.log()

    conflicts = await asyncio.gather(
        first.append(Batch((change(ONE),), outcomes=(Outcome(b"key", b"one"),))),
        second.append(Batch((change(TWO),), outcomes=(Outcome(b"key", b"two"),))),
    )

    assert conflicts.count(None) == 1
    versions = [loaded.version for loaded in await first.load([ONE, TWO])]
    assert sorted(versions) == [0, 1]
