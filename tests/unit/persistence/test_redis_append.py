"""A batch becomes one call: what has to hold, what is looked at, what is written."""

from itertools import islice

from persistence.log import AttemptsChange, Batch, Change, Conflict, Outcome, QueuedMessage, partition_of
from persistence.redis_append import WORDS_MAX, Call, compile_batch, conflict
from persistence.redis_client import Word
from persistence.redis_keys import Keys

NOON = 1_795_521_600_000
KEYS = Keys("gl", 4)


def commands(call: Call) -> list[list[Word]]:
    """The writes, in the order in which the script does them."""
    words = iter(call.words)
    written: list[list[Word]] = []
    for key in call.keys:
        _expected, count = next(words), int(next(words))
        if count:
            written.append(["RPUSH", key, *islice(words, count)])
    list(islice(words, 2 * int(next(words))))
    fields = int(next(words))
    list(islice(words, 3 + fields if fields else 0))
    list(islice(words, 2 * int(next(words))))
    return written + [list(islice(words, int(count))) for count in words]


def compiled(batch: Batch) -> Call:
    return compile_batch(batch, KEYS, 4, NOON)


def test_an_empty_batch_asks_for_nothing() -> None:
    call = compiled(Batch())

    assert (call.keys, call.words) == ([], [0, 0, 0])


def test_a_change_is_one_command_for_each_of_its_parts() -> None:
    partition = partition_of("o:1", 4)

    call = compiled(Batch((Change("o:1", 2, (b"a", b"b"), NOON, b"4|state"),)))

    assert call.keys == [KEYS.logs[partition] + "o:1"]
    assert call.words[0] == 2
    assert commands(call) == [
        ["RPUSH", KEYS.logs[partition] + "o:1", b"a", b"b"],
        ["SET", KEYS.snapshots[partition] + "o:1", b"4|state"],
        ["HSET", KEYS.entities[partition], "o:1", 4],
        ["ZADD", KEYS.timers[partition], NOON, "o:1"],
    ]


def test_a_change_that_only_checks_writes_nothing() -> None:
    call = compiled(Batch((Change("o:1", 7),)))

    assert call.words[0] == 7
    assert commands(call) == []


def test_what_goes_to_one_key_is_one_command() -> None:
    names = [name for name in (f"o:{number}" for number in range(100)) if partition_of(name, 4) == 1]

    written = commands(compiled(Batch(tuple(Change(name, 0, due=0) for name in names))))

    assert written == [["ZREM", KEYS.timers[1], *names]]


def test_no_command_has_more_words_than_luas_stack_holds_and_pairs_stay_together() -> None:
    outcomes = tuple(Outcome(b"k%d" % number, b"v%d" % number) for number in range(WORDS_MAX))

    written = [one for one in commands(compiled(Batch(outcomes=outcomes))) if one[0] == "HSET"]

    assert [len(one) for one in written] == [WORDS_MAX + 2, WORDS_MAX + 2]
    assert [one[2:4] for one in written] == [[b"k0", b"v0"], [b"k500", b"v500"]]


def test_outcomes_that_are_not_the_first_are_not_asked_for() -> None:
    settled = compiled(Batch(outcomes=(Outcome(b"k", b"v", first=False),)))
    both = compiled(Batch(outcomes=(Outcome(b"k", b"v", first=False), Outcome(b"new", b"v"))))

    assert settled.words[3] == 0
    assert both.words[3] == 1
    assert both.words[7] == b"new"


def test_attempts_and_messages_are_written_with_their_times() -> None:
    partition = partition_of("c:GC-1", 4)
    message = QueuedMessage("sms_1", "c:GC-1", b"sealed", NOON, NOON)
    changes = (AttemptsChange("GC-1", None, b"1", 500), AttemptsChange("GC-2", b"2", None, 500))

    written = commands(compiled(Batch(attempts=changes, messages=(message,))))

    assert ["SET", "gl:attempts:GC-1", b"1", "PX", 500] in written
    assert ["DEL", "gl:attempts:GC-2"] in written
    assert ["ZADD", KEYS.messages_due[partition], NOON, "sms_1"] in written


def test_the_scripts_indexes_become_names() -> None:
    batch = Batch(
        (Change("o:1", 0), Change("o:2", 0)),
        outcomes=(Outcome(b"settles", b"", first=False), Outcome(b"one", b""), Outcome(b"two", b"")),
        attempts=(AttemptsChange("GC-1", None, b"1", 1), AttemptsChange("GC-2", None, b"1", 1)),
    )

    found = conflict(batch, [[2], [1], [2, b"value", 1, b"older", 1, b"newer"]])

    assert found == Conflict(("o:2",), ("GC-1",), {b"two": b"value", b"one": b"newer"})
