"""From a batch to the one script call that writes it, and from the script's answer to a conflict.

This stands in the way of every authorization: plain loops over plain lists.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from persistence.batches import check_batch
from persistence.idempotency import KEPT_DAYS, days_read, seconds_kept
from persistence.log import Batch, Conflict, QueuedMessage, partition_of
from persistence.redis_client import Word
from persistence.redis_keys import Keys

WORDS_MAX: Final = 1_000
"""Arguments of one command inside a script at most (even: pairs stay together); Lua's stack is bounded."""


Members = dict[int, list[Word]]
"""Words by partition."""


class StoredMessage(Struct, frozen=True, array_like=True):
    """A waiting message as it is stored under its id; its time stands in the sorted set beside it."""

    entity: str
    sealed: bytes
    queued_at: int
    tries: int


_encoder: Final = msgspec.msgpack.Encoder()


def encode_message(message: QueuedMessage) -> bytes:
    """Bytes that are stored for a message."""
    return _encoder.encode(StoredMessage(message.entity, message.sealed, message.queued_at, message.tries))


class Call(Struct):
    """Arguments of the append script: ``keys`` to be counted, and all its other words."""

    keys: list[str]
    words: list[Word]


def compile_batch(batch: Batch, keys: Keys, partitions: int, now: int) -> Call:
    """The call that writes ``batch``; ``now`` (milliseconds) decides on which day its outcomes are kept.

    Raises:
        ValueError: no correct caller makes such a batch.
    """
    check_batch(batch)
    probes: list[Word] = []
    writes: list[Word] = []
    logs = _changes(batch, keys, partitions, probes, writes)
    _outbox(batch, keys, partitions, probes, writes)
    _messages(batch, keys, partitions, probes, writes)
    if batch.data_keys:
        _data_keys(batch, keys, partitions, probes, writes)
    outcomes = _outcomes(batch, keys, now, probes, writes)
    attempts = _attempts(batch, keys, writes)
    words: list[Word] = []
    for change in batch.changes:
        words += (change.expected, len(change.records), *change.records)
    words += (len(probes) // 2, *probes, *outcomes, *attempts)
    words += writes
    return Call(logs, words)


def conflict(batch: Batch, answer: Sequence[Any]) -> Conflict:
    """What stood in the way of ``batch``, from the script's indexes (from 1)."""
    stale, moved, seen = answer
    asked = [outcome.key for outcome in batch.outcomes if outcome.first]
    return Conflict(
        stale=tuple(batch.changes[index - 1].entity for index in stale),
        attempts=tuple(batch.attempts[index - 1].code for index in moved),
        # a key that stands in two days has the value of the later one, which comes last
        seen={asked[seen[at] - 1]: seen[at + 1] for at in range(0, len(seen), 2)},
    )


def _changes(batch: Batch, keys: Keys, partitions: int, probes: list[Word], writes: list[Word]) -> list[str]:
    logs = []
    registered: Members = defaultdict(list)
    timers: Members = defaultdict(list)
    stopped: Members = defaultdict(list)
    for change in batch.changes:
        entity = change.entity
        partition = partition_of(entity, partitions)
        log = keys.logs[partition] + entity
        logs.append(log)
        if change.records:
            registered[partition] += (entity, change.expected + len(change.records))
        if change.snapshot is not None:
            writes += (3, "SET", keys.snapshots[partition] + entity, change.snapshot)
        if change.due:
            timers[partition] += (change.due, entity)
        elif change.due == 0:
            stopped[partition].append(entity)
    _per_partition(registered, keys.entities, "HLEN", "HSET", probes, writes)
    _per_partition(timers, keys.timers, "ZCARD", "ZADD", probes, writes)
    _per_partition(stopped, keys.timers, "ZCARD", "ZREM", probes, writes)
    return logs


def _outbox(batch: Batch, keys: Keys, partitions: int, probes: list[Word], writes: list[Word]) -> None:
    waiting: Members = defaultdict(list)
    for entity, publication in batch.outbox:
        waiting[partition_of(entity, partitions)].append(publication)
    _per_partition(waiting, keys.outboxes, "LLEN", "RPUSH", probes, writes)


def _messages(batch: Batch, keys: Keys, partitions: int, probes: list[Word], writes: list[Word]) -> None:
    for message in batch.messages:
        partition = partition_of(message.entity, partitions)
        probes += ("HLEN", keys.messages[partition], "ZCARD", keys.messages_due[partition])
        writes += (4, "HSET", keys.messages[partition], message.message_id, encode_message(message))
        writes += (4, "ZADD", keys.messages_due[partition], message.due, message.message_id)


def _data_keys(batch: Batch, keys: Keys, partitions: int, probes: list[Word], writes: list[Word]) -> None:
    for order in dict.fromkeys(key.order for key in batch.data_keys):
        probes += ("HLEN", keys.data_keys[partition_of(order, partitions)] + order)
    for key in batch.data_keys:
        # never over one that is there: it may be a tombstone
        writes += (4, "HSETNX", keys.data_keys[partition_of(key.order, partitions)] + key.order, key.name, key.sealed)


def _outcomes(batch: Batch, keys: Keys, now: int, probes: list[Word], writes: list[Word]) -> tuple[Word, ...]:
    """Words that say which keys have to be new."""
    if not batch.outcomes:
        return (0,)
    today, yesterday, tomorrow = days_read(now)
    hash_today = keys.outcomes(today)
    probes += ("HLEN", hash_today)
    pairs: list[Word] = []
    for outcome in batch.outcomes:
        pairs += (outcome.key, outcome.value)
    _command(writes, pairs, "HSET", hash_today)
    # relative to the server's clock, so that neither a wrong clock here nor one in a test forgets outcomes at once
    writes += (4, "EXPIRE", hash_today, seconds_kept(now), "NX")
    # a day of outcomes may be large: it is freed in the server's background before it would expire in the foreground
    writes += (2, "UNLINK", keys.outcomes(today - KEPT_DAYS + 1))
    new = [outcome.key for outcome in batch.outcomes if outcome.first]
    return (len(new), keys.outcomes(tomorrow), keys.outcomes(yesterday), hash_today, *new) if new else (0,)


def _attempts(batch: Batch, keys: Keys, writes: list[Word]) -> list[Word]:
    words: list[Word] = [len(batch.attempts)]
    for one in batch.attempts:
        key = keys.attempts(one.code)
        words += (key, b"-" if one.before is None else b"=" + one.before)
        if one.after is None:
            writes += (2, "DEL", key)
        else:
            writes += (5, "SET", key, one.after, "PX", one.ttl_ms)
    return words


def _per_partition(
    members: Members, names: Sequence[str], probe: str, command: str, probes: list[Word], writes: list[Word]
) -> None:
    """Write what was gathered by partition, each with one command, and look first whether the key takes it."""
    for partition, words in members.items():
        probes += (probe, names[partition])
        _command(writes, words, command, names[partition])


def _command(writes: list[Word], arguments: Sequence[Word], *head: Word) -> None:
    """Add a command with many arguments, as several if they are too many for one."""
    if len(arguments) <= WORDS_MAX:
        writes += (len(head) + len(arguments), *head, *arguments)
        return
    for start in range(0, len(arguments), WORDS_MAX):
        some = arguments[start : start + WORDS_MAX]
        writes += (len(head) + len(some), *head, *some)
