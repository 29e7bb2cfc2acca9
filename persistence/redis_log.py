"""The log in Redis or Valkey.

One batch is one script call (:file:`scripts/append.lua`), which the server runs alone and makes durable before it
answers. :mod:`persistence.redis_keys` says which key holds what.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Self

import msgspec
from msgspec.structs import replace

from persistence import checks
from persistence.batches import damage, page
from persistence.errors import UNDECODABLE
from persistence.idempotency import days_read, now_ms
from persistence.log import (
    FAILURES_MAX,
    PAGE_MAX,
    PARTITIONS_DEFAULT,
    Batch,
    Conflict,
    KeyName,
    Loaded,
    OutboxPage,
    QueuedMessage,
    partition_of,
)
from persistence.pepper_prints import PepperPrints
from persistence.redis_append import StoredMessage, compile_batch, conflict, encode_message
from persistence.redis_client import Client, Word, connect
from persistence.redis_errors import answered
from persistence.redis_files import rewrite_files
from persistence.redis_keys import Keys
from persistence.redis_meta import bind_peppers, bind_sealing_keys, bind_vault, found_or_join, pepper_prints
from persistence.redis_rehearsal import rehearse
from persistence.redis_scripts import Scripts
from persistence.settings import TIMEOUT_SECONDS, StorageSettings

_message_decoder: Final = msgspec.msgpack.Decoder(StoredMessage)
_encoder: Final = msgspec.msgpack.Encoder()
_failure_decoder: Final = msgspec.msgpack.Decoder(tuple[str, str, str])


class RedisLog:
    """A :class:`~persistence.log.Log` in Redis. :meth:`open` makes one on a server that it has checked.

    Args:
        client: where the ledger is; it must never retry by itself (:func:`persistence.redis_client.connect`).
        partitions: the ledger's own number.
        prefix: first part of all keys.
        replicas: replicas that have to have a write on disk before it counts.
        timeout_seconds: the client's own time-out.
        allow_unsafe: :meth:`check` does not mind a server that may lose data.
        clock: milliseconds; says which day it is, for the outcomes of idempotency keys.
    """

    def __init__(
        self,
        client: Client,
        *,
        partitions: int = PARTITIONS_DEFAULT,
        prefix: str = "gl",
        replicas: int = 0,
        timeout_seconds: float = TIMEOUT_SECONDS,
        allow_unsafe: bool = False,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.partitions = partitions
        self._client = client
        self._prefix = prefix
        self._replicas = replicas
        self._allow_unsafe = allow_unsafe
        self._clock = clock
        self._keys = Keys(prefix, partitions)
        self._scripts = Scripts(client, replicas=replicas, timeout_seconds=timeout_seconds)

    @classmethod
    async def open(cls, settings: StorageSettings, clock: Callable[[], int] = now_ms) -> Self:
        """Check the server, and join the ledger that is on it or make one.

        The number of partitions of a ledger that exists wins over the one in ``settings``.

        Raises:
            StorageUnsafeError: the server would lose data, or holds a ledger that this version cannot read.
            StorageError: see :mod:`persistence.redis_errors`.
        """
        client = connect(
            settings.redis_url, connections_max=settings.connections_max, timeout_seconds=settings.timeout_seconds
        )
        try:
            await checks.require_safe(client, settings.replicas, allow_unsafe=settings.allow_unsafe)
            scripts = Scripts(client, replicas=0, timeout_seconds=settings.timeout_seconds)
            await rehearse(client, scripts, settings.prefix, clock())
            partitions = await found_or_join(client, settings.prefix, settings.partitions, clock())
        except BaseException:
            await client.aclose()
            raise
        return cls(
            client,
            partitions=partitions,
            prefix=settings.prefix,
            replicas=settings.replicas,
            timeout_seconds=settings.timeout_seconds,
            allow_unsafe=settings.allow_unsafe,
            clock=clock,
        )

    async def bind_vault(self, fingerprint: str) -> None:
        """Tie the ledger to a pepper; the first one counts for ever.

        Raises:
            StorageUnsafeError: the ledger was made with another pepper: no CVC would ever be right.
        """
        await bind_vault(self._client, self._prefix, fingerprint)

    async def bind_peppers(self, fingerprints: Mapping[int, str], current: int) -> None:
        """See :meth:`persistence.log.Log.bind_peppers`."""
        await bind_peppers(self._client, self._prefix, fingerprints, current)

    async def pepper_prints(self) -> PepperPrints:
        """See :meth:`persistence.log.Log.pepper_prints`."""
        return await pepper_prints(self._client, self._prefix)

    async def bind_sealing_keys(self, fingerprints: Mapping[int, str]) -> None:
        """See :meth:`persistence.log.Log.bind_sealing_keys`."""
        await bind_sealing_keys(self._client, self._prefix, fingerprints)

    async def append(self, batch: Batch) -> Conflict | None:
        """See :meth:`persistence.log.Log.append`."""
        call = compile_batch(batch, self._keys, self.partitions, self._clock())
        answer = await self._scripts.write(self._scripts.append, call.keys, call.words)
        return None if answer is None else conflict(batch, answer)

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        """See :meth:`persistence.log.Log.load`."""
        if not entities:
            return []
        keys: list[str] = []
        for entity in entities:
            partition = partition_of(entity, self.partitions)
            log, snapshot = self._keys.logs[partition] + entity, self._keys.snapshots[partition] + entity
            attempts = self._keys.attempts(entity[2:]) if entity.startswith("c:") else log
            keys += (log, snapshot, attempts, self._keys.entities[partition])
        answer = await self._scripts.read(self._scripts.load, keys, (int(snapshots), *entities))
        return [_loaded(*one) for one in answer]

    async def history(self, entity: str, after: int = 0, limit: int = PAGE_MAX) -> list[bytes]:
        """See :meth:`persistence.log.Log.history`."""
        first = max(0, after)
        last = first + page(limit, PAGE_MAX) - 1
        if last < first:
            return []
        log = self._keys.logs[partition_of(entity, self.partitions)] + entity
        records: list[bytes] = await self._ask("LRANGE", log, first, last)
        return records

    async def outcomes(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See :meth:`persistence.log.Log.outcomes`."""
        if not keys:
            return {}
        days = days_read(self._clock())
        reads: list[Sequence[Word]] = [("HMGET", self._keys.outcomes(day), *keys) for day in days]
        per_day = await self._ask_all(*reads)
        # where a key stands in two days, today's value is the later one
        return {
            key: value
            for values in reversed(per_day)
            for key, value in zip(keys, values, strict=True)
            if value is not None
        }

    async def due(self, partitions: Sequence[int], now: int, limit: int = PAGE_MAX) -> list[str]:
        """See :meth:`persistence.log.Log.due`."""
        sets = [self._keys.timers[partition] for partition in partitions]
        return [entity for _, entity, _ in await self._earliest(sets, now, page(limit, PAGE_MAX))]

    async def timers(self, partitions: Sequence[int]) -> dict[str, int]:
        """See :meth:`persistence.log.Log.timers`."""
        found: dict[str, int] = {}
        for partition in partitions:
            async for pairs in self._scan("ZSCAN", self._keys.timers[partition]):
                found.update((entity.decode(), int(at)) for entity, at in pairs)
        return found

    async def outbox(self, partition: int, limit: int = PAGE_MAX, skip: int = 0) -> OutboxPage:
        """See :meth:`persistence.log.Log.outbox`."""
        waiting = self._keys.outboxes[partition]
        first, count = max(0, skip), page(limit, PAGE_MAX)
        head, size, entries = await self._ask_all(
            ("GET", self._keys.heads[partition]),
            ("LLEN", waiting),
            ("LRANGE", waiting, first, first + count - 1) if count else ("LRANGE", waiting, 1, 0),
            at_once=True,
        )
        return OutboxPage(int(head or 0) + first, tuple(entries), size)

    async def outbox_sizes(self) -> list[int]:
        """See :meth:`persistence.log.Log.outbox_sizes`."""
        sizes: list[int] = await self._scripts.read(self._scripts.sizes, self._keys.outboxes)
        return sizes

    async def acknowledge(self, partition: int, head: int, count: int) -> bool:
        """See :meth:`persistence.log.Log.acknowledge`."""
        keys = (self._keys.outboxes[partition], self._keys.heads[partition])
        return bool(await self._scripts.write(self._scripts.acknowledge, keys, (head, count)))

    async def messages_due(self, now: int, limit: int = PAGE_MAX) -> list[QueuedMessage]:
        """See :meth:`persistence.log.Log.messages_due`."""
        late = await self._earliest(self._keys.messages_due, now, page(limit, PAGE_MAX))
        if not late:
            return []
        stored = await self._ask_all(
            *(("HGET", self._keys.messages[partition], message_id) for _, message_id, partition in late)
        )
        return [
            _message(message_id, partition, due, value)
            for (due, message_id, partition), value in zip(late, stored, strict=True)
            if value is not None  # settled meanwhile
        ]

    async def message_retry(self, message: QueuedMessage, due: int) -> None:
        """See :meth:`persistence.log.Log.message_retry`."""
        partition = partition_of(message.entity, self.partitions)
        keys = (self._keys.messages[partition], self._keys.messages_due[partition])
        value = encode_message(replace(message, tries=message.tries + 1))
        await self._scripts.write(self._scripts.message_retry, keys, (message.message_id, value, due))

    async def message_settle(self, message: QueuedMessage, failure: str | None = None) -> None:
        """See :meth:`persistence.log.Log.message_settle`."""
        partition = message.kept_in(self.partitions)
        keys = (self._keys.messages[partition], self._keys.messages_due[partition], self._keys.failures[partition])
        note = b"" if failure is None else _encoder.encode((message.message_id, message.entity, failure))
        await self._scripts.write(self._scripts.message_settle, keys, (message.message_id, note, FAILURES_MAX))

    async def message_failures(self) -> dict[str, str]:
        """See :meth:`persistence.log.Log.message_failures`."""
        lists = await self._ask_all(*(("LRANGE", notes, 0, -1) for notes in self._keys.failures))
        decoded = (_failure_decoder.decode(note) for notes in lists for note in notes)
        return {message_id: reason for message_id, _, reason in decoded}

    async def messages_waiting(self) -> int:
        """See :meth:`persistence.log.Log.messages_waiting`."""
        return sum(await self._ask_all(*(("HLEN", waiting) for waiting in self._keys.messages)))

    async def messages(self, partition: int) -> AsyncIterator[QueuedMessage]:
        """See :meth:`persistence.log.Log.messages`."""
        async for fields in self._scan("HSCAN", self._keys.messages[partition]):
            times = await self._ask("ZMSCORE", self._keys.messages_due[partition], *fields)
            for (message_id, value), at in zip(fields.items(), times, strict=True):
                yield _message(message_id.decode(), partition, -1 if at is None else int(at), value)

    async def data_keys(self, names: Sequence[KeyName]) -> list[bytes | None]:
        """See :meth:`persistence.log.Log.data_keys`."""
        return await self._ask_all(*(("HGET", self._data_keys(order), name) for order, name in names))

    async def data_keys_of(self, orders: Sequence[str]) -> list[dict[str, bytes]]:
        """See :meth:`persistence.log.Log.data_keys_of`."""
        found = await self._ask_all(*(("HGETALL", self._data_keys(order)) for order in orders))
        return [{name.decode(): kept for name, kept in one.items()} for one in found]

    async def orders_with_data_keys(self) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.orders_with_data_keys`."""
        async for key in self._matching(self._keys.any_data_keys):
            order = self._keys.order_of(key)
            if order is not None:
                yield order

    async def replace_data_keys(self, order: str, changes: Sequence[tuple[str, bytes, bytes]]) -> int:
        """See :meth:`persistence.log.Log.replace_data_keys`."""
        words = [word for change in changes for word in change]
        return int(await self._scripts.write(self._scripts.data_keys, (self._data_keys(order),), ("replace", *words)))

    async def forget_data_keys(self, order: str, names: Sequence[str], tombstone: bytes) -> None:
        """See :meth:`persistence.log.Log.forget_data_keys`."""
        words = [word for name in names for word in (name, "", tombstone)]
        await self._scripts.write(self._scripts.data_keys, (self._data_keys(order),), ("forget", *words))

    async def rewrite_files(self, seconds_max: float) -> bool:
        """See :meth:`persistence.log.Log.rewrite_files`."""
        return await rewrite_files(self._client, seconds_max)

    async def entities(self, partition: int) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.entities`."""
        seen: set[bytes] = set()  # a scan may show a field twice while the hash grows
        async for fields in self._scan("HSCAN", self._keys.entities[partition]):
            for entity in fields:
                if entity not in seen:
                    seen.add(entity)
                    yield entity.decode()

    async def entity_counts(self) -> list[int]:
        """See :meth:`persistence.log.Log.entity_counts`."""
        return await self._ask_all(*(("HLEN", register) for register in self._keys.entities))

    async def stored(self) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.stored`."""
        async for key in self._matching(self._keys.any_log):
            yield self._keys.entity_of(key)

    async def snapshot(self, entity: str) -> tuple[int, bytes] | None:
        """See :meth:`persistence.log.Log.snapshot`."""
        key = self._keys.snapshots[partition_of(entity, self.partitions)] + entity
        stored: bytes | None = await self._ask("GET", key)
        if stored is None:
            return None
        version = stored.partition(b"|")[0]
        return (int(version) if version.isdigit() else 0), stored

    async def check(self) -> None:
        """See :meth:`persistence.log.Log.check`."""
        if not self._allow_unsafe:
            await checks.require_safe(self._client, self._replicas)
        await self._scripts.write(self._scripts.writable, ())

    async def close(self) -> None:
        """See :meth:`persistence.log.Log.close`."""
        await self._client.aclose()

    def _data_keys(self, order: str) -> str:
        return self._keys.data_keys[partition_of(order, self.partitions)] + order

    async def _matching(self, pattern: str) -> AsyncIterator[str]:
        cursor: int | None = None
        while cursor != 0:
            cursor, keys = await self._ask("SCAN", cursor or 0, "MATCH", pattern, "COUNT", PAGE_MAX)
            for key in keys:
                yield key.decode()

    async def _ask(self, *command: Word) -> Any:  # noqa: ANN401 - as the command answers
        return await answered(self._client.execute_command(*command))

    async def _scan(self, command: str, key: str) -> AsyncIterator[Any]:
        """Pages of a large key; each member that was there all the time is in one of them, perhaps in two."""
        cursor: int | None = None
        while cursor != 0:
            cursor, found = await self._ask(command, key, cursor or 0, "COUNT", PAGE_MAX)
            if found:
                yield found

    async def _ask_all(self, *commands: Sequence[Word], at_once: bool = False) -> list[Any]:
        """Answers to several reads in one round trip; ``at_once`` for all of them from one moment."""
        async with self._client.pipeline(transaction=at_once) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await answered(pipeline.execute())

    async def _earliest(self, sets: Sequence[str], now: int, limit: int) -> list[tuple[int, str, int]]:
        """From sorted sets by time, what is due at ``now``: time, member and index of its set, earliest first."""
        if not limit:
            return []
        late = await self._ask_all(
            *(("ZRANGEBYSCORE", one, "-inf", now, "WITHSCORES", "LIMIT", 0, limit) for one in sets)
        )
        found = [
            (int(words[at + 1]), words[at].decode(), index)
            for index, words in enumerate(late)
            for at in range(0, len(words), 2)
        ]
        return sorted(found)[:limit]


def _loaded(
    snapshot: bytes | None,
    version: int,
    length: int,
    registered: bytes | None,
    attempts: bytes | None,
    tail: list[bytes],
) -> Loaded:
    wrong: str | None
    try:
        noted = None if registered is None else int(registered)
    except ValueError:
        noted, wrong = None, "the register of entities does not say a version"
    else:
        wrong = damage(length, noted, version)
    return Loaded(snapshot, version, tuple(tail), attempts, wrong, noted)


def _message(message_id: str, partition: int, due: int, value: bytes) -> QueuedMessage:
    try:
        stored = _message_decoder.decode(value)
    except UNDECODABLE as error:
        # told as a message of nobody: it must not be in the way of the others
        wrong = f"what is stored of it cannot be read: {error}"
        return QueuedMessage(message_id, "", b"", due, max(due, 0), damage=wrong, partition=partition)
    return QueuedMessage(message_id, stored.entity, stored.sealed, due, stored.queued_at, stored.tries)
