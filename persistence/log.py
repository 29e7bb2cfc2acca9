"""The protocol of the log.

A log keeps opaque bytes; :mod:`persistence.codec` says what is in them. Everything that one batch of commands changes
is given to :meth:`Log.append` at once and is written whole or not at all. Safety rests on the versions in it: an
entity that moved since it was read makes the whole append a :class:`Conflict`, whoever the other writer was.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol
from zlib import crc32

from msgspec import Struct

from persistence.pepper_prints import PepperPrints

PARTITIONS_DEFAULT: Final = 32
PAGE_MAX: Final = 1_000
"""Most records, outbox entries, timers or messages that one call returns."""
FAILURES_MAX: Final = 10_000
"""Messages given up that each partition remembers; the oldest is forgotten first."""


def partition_of(entity: str, partitions: int) -> int:
    """Partition that keeps an entity; fixed for life, as the number of partitions is."""
    return crc32(entity.encode()) % partitions


class Change(Struct, frozen=True):
    """What a batch does to one entity.

    ``expected`` is the version that the log must be at; a change without records only checks it (a read that tells
    about money does). ``due``: set the timer to this time (milliseconds), ``0`` removes it, ``None`` leaves it alone.
    ``snapshot`` is the encoded state after the last of ``records``.
    """

    entity: str
    expected: int
    records: tuple[bytes, ...] = ()
    due: int | None = None
    snapshot: bytes | None = None


class Outcome(Struct, frozen=True):
    """What an idempotency key stands for from now on. ``key`` is a digest over client and key.

    With ``first`` the key must be new, else the append is a :class:`Conflict`; without it the value replaces the one
    that the same command has stored before.
    """

    key: bytes
    value: bytes
    first: bool = True


class AttemptsChange(Struct, frozen=True):
    """New count of CVC attempts of a code, if it is still ``before`` (both encoded; ``None``: there is none).

    The count is forgotten ``ttl_ms`` after its last change.
    """

    code: str
    before: bytes | None
    after: bytes | None
    ttl_ms: int


class QueuedMessage(Struct, frozen=True):
    """A sealed SMS that waits to be sent; first tried at ``due`` (milliseconds). ``entity`` gives its partition.

    One that cannot be read says why in ``damage``: it is nobody's, and is kept in ``partition``.
    """

    message_id: str
    entity: str
    sealed: bytes
    due: int
    queued_at: int
    tries: int = 0
    damage: str | None = None
    partition: int | None = None

    def kept_in(self, partitions: int) -> int:
        """Its partition, of so many."""
        return partition_of(self.entity, partitions) if self.partition is None else self.partition


KeyName = tuple[str, str]
"""Names a data key: the entity of its order, and which of that order's keys it is (:mod:`persistence.envelope`)."""


class DataKey(Struct, frozen=True):
    """The key that personal data in the records of ``order`` (an entity) is sealed with; itself sealed.

    It is kept beside the log, where it can be forgotten; never in the place of one that is there.
    """

    order: str
    name: str
    sealed: bytes


class Batch(Struct, frozen=True):
    """All that one round of a shard writes.

    ``outbox``: pairs of the certificate's entity and an encoded publication, in the order in which they are to be
    published. Each entity stands in ``changes`` at most once.
    """

    changes: tuple[Change, ...] = ()
    outbox: tuple[tuple[str, bytes], ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    attempts: tuple[AttemptsChange, ...] = ()
    messages: tuple[QueuedMessage, ...] = ()
    data_keys: tuple[DataKey, ...] = ()


class Conflict(Struct, frozen=True):
    """Why nothing was written: entities (and codes, in ``attempts``) that moved; keys that are known, with values."""

    stale: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()
    seen: dict[bytes, bytes] = {}


class Loaded(Struct, frozen=True):
    """An entity as it is stored: the snapshot at ``snapshot_version``, and the records after it.

    A snapshot that does not say of which version it is comes with version 0 and all records. ``damage`` says in words
    what cannot be: the log is shorter than its snapshot, or than the register of entities knows. ``registered`` is the
    version that the register says.
    """

    snapshot: bytes | None
    snapshot_version: int
    tail: tuple[bytes, ...]
    attempts: bytes | None = None
    damage: str | None = None
    registered: int | None = None

    @property
    def version(self) -> int:
        """Version of the log."""
        return self.snapshot_version + len(self.tail)


class OutboxPage(Struct, frozen=True):
    """The oldest entries of an outbox. ``head`` is the sequence number of the first; ``size`` how many wait in all."""

    head: int
    entries: tuple[bytes, ...]
    size: int


class Log(Protocol):
    """Durable storage of the ledger. Every method may raise :class:`~persistence.errors.StorageError`."""

    partitions: int

    async def append(self, batch: Batch) -> Conflict | None:
        """Write a batch, whole or not at all.

        Returns:
            ``None`` once the batch is durable; else what is in its way, and nothing was written.

        Raises:
            StorageUnavailableError: no answer came; whether it was written is unknown.
            StorageRefusedError: the server refuses to write; nothing was written.
        """
        ...

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        """Read entities in one round trip, in the order asked for; an unknown one has version 0.

        Without ``snapshots`` the whole history comes as the tail.
        """
        ...

    async def history(self, entity: str, after: int = 0, limit: int = PAGE_MAX) -> list[bytes]:
        """Records ``after + 1`` to ``after + limit``, oldest first."""
        ...

    async def outcomes(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Values of those idempotency keys that are known."""
        ...

    async def due(self, partitions: Sequence[int], now: int, limit: int = PAGE_MAX) -> list[str]:
        """Entities whose timers are due (their timers stay until a :class:`Change` moves or removes them)."""
        ...

    async def timers(self, partitions: Sequence[int]) -> dict[str, int]:
        """All timers, for inspection: entity and time in milliseconds."""
        ...

    async def outbox(self, partition: int, limit: int = PAGE_MAX, skip: int = 0) -> OutboxPage:
        """The oldest publications of a partition that are not acknowledged, without the first ``skip`` of them."""
        ...

    async def outbox_sizes(self) -> list[int]:
        """How many publications wait, for each partition: one round trip for all of them."""
        ...

    async def acknowledge(self, partition: int, head: int, count: int) -> bool:
        """Forget the first ``count`` publications if ``head`` is still the first one's sequence number.

        Returns:
            False if it is not: somebody else has acknowledged, and nothing was changed.
        """
        ...

    async def messages_due(self, now: int, limit: int = PAGE_MAX) -> list[QueuedMessage]:
        """Messages whose time has come, oldest first; they stay until they are retried or settled.

        One that cannot be read is among them, with its ``damage``.
        """
        ...

    async def message_retry(self, message: QueuedMessage, due: int) -> None:
        """Count a try and have the message again at ``due``. A message that was settled stays settled."""
        ...

    async def message_settle(self, message: QueuedMessage, failure: str | None = None) -> None:
        """Forget a message that was accepted; or with ``failure`` note that it was given up.

        Its id, entity and reason are kept for operators, the content is not.
        """
        ...

    async def message_failures(self) -> dict[str, str]:
        """Messages that were given up: id and reason."""
        ...

    async def messages_waiting(self) -> int:
        """How many messages wait to be sent."""
        ...

    def messages(self, partition: int) -> AsyncIterator[QueuedMessage]:
        """All messages of a partition that wait, in no order; ``due`` is -1 for one that has no time."""
        ...

    async def data_keys(self, names: Sequence[KeyName]) -> list[bytes | None]:
        """Data keys as they are kept, in the order asked for; a tombstone for one that was forgotten."""
        ...

    async def data_keys_of(self, orders: Sequence[str]) -> list[dict[str, bytes]]:
        """All data keys of orders (entities), by name, tombstones too."""
        ...

    def orders_with_data_keys(self) -> AsyncIterator[str]:
        """All orders that have data keys or tombstones, in no order, perhaps more than once."""
        ...

    async def replace_data_keys(self, order: str, changes: Sequence[tuple[str, bytes, bytes]]) -> int:
        """Put other bytes in the place of data keys, each given as name, before and after.

        Returns:
            How many were still as they were before, and are replaced; one that was forgotten stays so.
        """
        ...

    async def forget_data_keys(self, order: str, names: Sequence[str], tombstone: bytes) -> None:
        """Put a tombstone in the place of data keys, whether there are any or not. Durable when it returns."""
        ...

    async def bind_peppers(self, fingerprints: Mapping[int, str], current: int) -> None:
        """Note the prints of peppers after the first one, by number, and that those up to ``current`` are in use.

        Raises:
            StorageUnsafeError: the ledger knows another pepper of a number, or uses one that is not among them; nothing
                was noted.
        """
        ...

    async def pepper_prints(self) -> PepperPrints:
        """What the ledger knows of the peppers after its first one."""
        ...

    async def bind_sealing_keys(self, fingerprints: Mapping[int, str]) -> None:
        """Note the fingerprints of sealing keys, by id; the first one of each id counts for ever.

        Raises:
            StorageUnsafeError: the ledger knows another key by one of the ids; nothing was noted.
        """
        ...

    async def rewrite_files(self, seconds_max: float) -> bool:
        """Have the files of the storage written anew, without what was replaced or deleted before this was called.

        Returns:
            Whether that was done in this time.
        """
        ...

    def entities(self, partition: int) -> AsyncIterator[str]:
        """All entities of a partition that are registered, in no order, each once."""
        ...

    async def entity_counts(self) -> list[int]:
        """How many entities are registered, for each partition: one round trip for all of them."""
        ...

    def stored(self) -> AsyncIterator[str]:
        """All entities that have records, registered or not, in no order, perhaps more than once; for verification."""
        ...

    async def snapshot(self, entity: str) -> tuple[int, bytes] | None:
        """The stored snapshot with its version, for inspection."""
        ...

    async def check(self) -> None:
        """Whether the log can be written now, durably.

        Raises:
            StorageUnsafeError: it would lose data; the message says which setting to change.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...
