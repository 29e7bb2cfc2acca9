"""The log in memory: for tests and for trying things out. It is gone with its process.

It answers exactly as :class:`~persistence.redis_log.RedisLog` does: one suite of contract tests holds for both.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from persistence.batches import check_batch, damage, page, require_same_keys
from persistence.errors import StorageUnsafeError
from persistence.idempotency import day_of, days_read, now_ms
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


class MemoryLog:
    """A :class:`~persistence.log.Log` of dictionaries.

    Args:
        partitions: how many.
        clock: milliseconds; decides how long attempts and outcomes are kept.
    """

    def __init__(self, partitions: int = PARTITIONS_DEFAULT, clock: Callable[[], int] = now_ms) -> None:
        self.partitions = partitions
        self._clock = clock
        self._records: list[dict[str, list[bytes]]] = [{} for _ in range(partitions)]
        self._registered: list[dict[str, int]] = [{} for _ in range(partitions)]
        self._snapshots: dict[str, tuple[int, bytes]] = {}
        self._timers: list[dict[str, int]] = [{} for _ in range(partitions)]
        self._outboxes: list[deque[bytes]] = [deque() for _ in range(partitions)]
        self._heads = [0] * partitions
        self._outcomes: dict[int, dict[bytes, bytes]] = {}
        self._attempts: dict[str, tuple[bytes, int]] = {}
        self._messages: list[dict[str, QueuedMessage]] = [{} for _ in range(partitions)]
        self._failures: list[dict[str, str]] = [{} for _ in range(partitions)]
        self._data_keys: dict[str, dict[str, bytes]] = {}
        self._vault: str | None = None
        self._sealing_keys: dict[int, str] = {}
        self._peppers = PepperPrints()

    async def append(self, batch: Batch) -> Conflict | None:
        """See :meth:`persistence.log.Log.append`."""
        check_batch(batch)
        conflict = self._conflict(batch)
        if conflict is not None:
            return conflict
        for change in batch.changes:
            partition = partition_of(change.entity, self.partitions)
            if change.records:
                self._records[partition].setdefault(change.entity, []).extend(change.records)
                self._registered[partition][change.entity] = change.expected + len(change.records)
            if change.snapshot is not None:
                self._snapshots[change.entity] = (change.expected + len(change.records), change.snapshot)
            if change.due == 0:
                self._timers[partition].pop(change.entity, None)
            elif change.due is not None:
                self._timers[partition][change.entity] = change.due
        for entity, publication in batch.outbox:
            self._outboxes[partition_of(entity, self.partitions)].append(publication)
        for message in batch.messages:
            self._messages[message.kept_in(self.partitions)][message.message_id] = message
        for key in batch.data_keys:
            self._data_keys.setdefault(key.order, {}).setdefault(key.name, key.sealed)
        self._note(batch)
        return None

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        """See :meth:`persistence.log.Log.load`."""
        return [self._load(entity, snapshots=snapshots) for entity in entities]

    async def history(self, entity: str, after: int = 0, limit: int = PAGE_MAX) -> list[bytes]:
        """See :meth:`persistence.log.Log.history`."""
        return self._of(entity)[max(0, after) :][: page(limit, PAGE_MAX)]

    async def outcomes(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See :meth:`persistence.log.Log.outcomes`."""
        return self._seen(keys)

    async def due(self, partitions: Sequence[int], now: int, limit: int = PAGE_MAX) -> list[str]:
        """See :meth:`persistence.log.Log.due`."""
        late = [(at, entity) for partition in partitions for entity, at in self._timers[partition].items() if at <= now]
        return [entity for _, entity in sorted(late)[: page(limit, PAGE_MAX)]]

    async def timers(self, partitions: Sequence[int]) -> dict[str, int]:
        """See :meth:`persistence.log.Log.timers`."""
        return {entity: at for partition in partitions for entity, at in self._timers[partition].items()}

    async def outbox(self, partition: int, limit: int = PAGE_MAX, skip: int = 0) -> OutboxPage:
        """See :meth:`persistence.log.Log.outbox`."""
        waiting = self._outboxes[partition]
        first = max(0, skip)
        entries = tuple(islice(waiting, first, first + page(limit, PAGE_MAX)))
        return OutboxPage(self._heads[partition] + first, entries, len(waiting))

    async def outbox_sizes(self) -> list[int]:
        """See :meth:`persistence.log.Log.outbox_sizes`."""
        return [len(waiting) for waiting in self._outboxes]

    async def acknowledge(self, partition: int, head: int, count: int) -> bool:
        """See :meth:`persistence.log.Log.acknowledge`."""
        waiting = self._outboxes[partition]
        if self._heads[partition] != head or not 0 <= count <= len(waiting):
            return False
        for _ in range(count):
            waiting.popleft()
        self._heads[partition] += count
        return True

    async def messages_due(self, now: int, limit: int = PAGE_MAX) -> list[QueuedMessage]:
        """See :meth:`persistence.log.Log.messages_due`."""
        late = [message for waiting in self._messages for message in waiting.values() if message.due <= now]
        late.sort(key=lambda message: (message.due, message.message_id))
        return late[: page(limit, PAGE_MAX)]

    async def message_retry(self, message: QueuedMessage, due: int) -> None:
        """See :meth:`persistence.log.Log.message_retry`."""
        waiting = self._messages[partition_of(message.entity, self.partitions)]
        if message.message_id in waiting:
            waiting[message.message_id] = replace(message, due=due, tries=message.tries + 1)

    async def message_settle(self, message: QueuedMessage, failure: str | None = None) -> None:
        """See :meth:`persistence.log.Log.message_settle`."""
        partition = message.kept_in(self.partitions)
        if self._messages[partition].pop(message.message_id, None) is None or failure is None:
            return
        failures = self._failures[partition]
        failures[message.message_id] = failure
        if len(failures) > FAILURES_MAX:
            del failures[next(iter(failures))]

    async def message_failures(self) -> dict[str, str]:
        """See :meth:`persistence.log.Log.message_failures`."""
        return {message_id: reason for failures in self._failures for message_id, reason in failures.items()}

    async def messages_waiting(self) -> int:
        """See :meth:`persistence.log.Log.messages_waiting`."""
        return sum(len(waiting) for waiting in self._messages)

    async def messages(self, partition: int) -> AsyncIterator[QueuedMessage]:
        """See :meth:`persistence.log.Log.messages`."""
        for message in list(self._messages[partition].values()):
            yield message

    async def data_keys(self, names: Sequence[KeyName]) -> list[bytes | None]:
        """See :meth:`persistence.log.Log.data_keys`."""
        return [self._data_keys.get(order, {}).get(name) for order, name in names]

    async def data_keys_of(self, orders: Sequence[str]) -> list[dict[str, bytes]]:
        """See :meth:`persistence.log.Log.data_keys_of`."""
        return [dict(self._data_keys.get(order, {})) for order in orders]

    async def orders_with_data_keys(self) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.orders_with_data_keys`."""
        for order in list(self._data_keys):
            yield order

    async def replace_data_keys(self, order: str, changes: Sequence[tuple[str, bytes, bytes]]) -> int:
        """See :meth:`persistence.log.Log.replace_data_keys`."""
        keys = self._data_keys.get(order, {})
        same = {name: after for name, before, after in changes if keys.get(name) == before}
        keys.update(same)
        return len(same)

    async def forget_data_keys(self, order: str, names: Sequence[str], tombstone: bytes) -> None:
        """See :meth:`persistence.log.Log.forget_data_keys`."""
        self._data_keys.setdefault(order, {}).update(dict.fromkeys(names, tombstone))

    async def rewrite_files(self, seconds_max: float) -> bool:  # noqa: ARG002 - the protocol's own signature
        """See :meth:`persistence.log.Log.rewrite_files`. There are none."""
        return True

    async def entities(self, partition: int) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.entities`."""
        for entity in list(self._registered[partition]):
            yield entity

    async def entity_counts(self) -> list[int]:
        """See :meth:`persistence.log.Log.entity_counts`."""
        return [len(registered) for registered in self._registered]

    async def stored(self) -> AsyncIterator[str]:
        """See :meth:`persistence.log.Log.stored`."""
        for entity in [entity for logs in self._records for entity in logs]:
            yield entity

    async def snapshot(self, entity: str) -> tuple[int, bytes] | None:
        """See :meth:`persistence.log.Log.snapshot`."""
        return self._snapshots.get(entity)

    async def check(self) -> None:
        """See :meth:`persistence.log.Log.check`. It is what it is: there is nothing to be found out."""

    async def bind_vault(self, fingerprint: str) -> None:
        """See :meth:`persistence.redis_log.RedisLog.bind_vault`."""
        if self._vault not in {None, fingerprint}:
            raise StorageUnsafeError(f"the ledger was made with the pepper {self._vault}, not {fingerprint}")
        self._vault = fingerprint

    async def bind_peppers(self, fingerprints: Mapping[int, str], current: int) -> None:
        """See :meth:`persistence.log.Log.bind_peppers`."""
        self._peppers = self._peppers.with_ours(fingerprints, current)

    async def pepper_prints(self) -> PepperPrints:
        """See :meth:`persistence.log.Log.pepper_prints`."""
        return self._peppers

    async def bind_sealing_keys(self, fingerprints: Mapping[int, str]) -> None:
        """See :meth:`persistence.log.Log.bind_sealing_keys`."""
        require_same_keys(self._sealing_keys, fingerprints)
        self._sealing_keys.update(fingerprints)

    async def close(self) -> None:
        """See :meth:`persistence.log.Log.close`. What was written stays readable."""

    def _of(self, entity: str) -> list[bytes]:
        return self._records[partition_of(entity, self.partitions)].get(entity, [])

    def _load(self, entity: str, *, snapshots: bool) -> Loaded:
        version, snapshot = self._snapshots.get(entity, (0, None)) if snapshots else (0, None)
        attempts = self._attempts_now(entity[2:]) if entity.startswith("c:") else None
        records = self._of(entity)
        registered = self._registered[partition_of(entity, self.partitions)].get(entity)
        wrong = damage(len(records), registered, version)
        return Loaded(snapshot, version, tuple(records[version:]), attempts, wrong, registered)

    def _attempts_now(self, code: str) -> bytes | None:
        value, forgotten_at = self._attempts.get(code, (None, 0))
        return value if forgotten_at > self._clock() else None

    def _seen(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        days = [self._outcomes.get(day, {}) for day in days_read(self._clock())]
        return {key: day[key] for day in reversed(days) for key in keys if key in day}

    def _conflict(self, batch: Batch) -> Conflict | None:
        stale = tuple(change.entity for change in batch.changes if len(self._of(change.entity)) != change.expected)
        attempts = tuple(one.code for one in batch.attempts if self._attempts_now(one.code) != one.before)
        seen = self._seen([outcome.key for outcome in batch.outcomes if outcome.first])
        return Conflict(stale, attempts, seen) if stale or attempts or seen else None

    def _note(self, batch: Batch) -> None:
        now = self._clock()
        for one in batch.attempts:
            if one.after is None:
                self._attempts.pop(one.code, None)
            else:
                self._attempts[one.code] = (one.after, now + one.ttl_ms)
        if batch.outcomes:
            today = self._outcomes.setdefault(day_of(now), {})
            today.update((outcome.key, outcome.value) for outcome in batch.outcomes)
            for day in self._outcomes.keys() - set(days_read(now)):
                del self._outcomes[day]
