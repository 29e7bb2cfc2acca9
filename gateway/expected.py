"""What the log says subscribers have been told of each certificate, and room for what Kafka says of it."""

from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import blake2b
from typing import Final

from ledger.identifiers import (
    STATE_EVENT,
    TRANSACTION_EVENT,
    entity_key,
    is_certificate,
    version_of,
)
from ledger.publications import STATE, Publication
from persistence import codec
from persistence.comparison import outbox_entries
from persistence.errors import DamagedLogError
from persistence.log import Log
from persistence.reading import groups, replayed
from persistence.replay import Replay

NOTHING: Final = 0
"""Version of what was not seen; the first record has version 1."""


class Expected:
    """One certificate: what its records make, and which of it was seen on Kafka. About 1 KB."""

    __slots__ = (
        "broken",
        "differing",
        "farthest",
        "last_state",
        "last_state_digest",
        "late",
        "moves",
        "moves_demanded",
        "moves_digests",
        "moves_seen",
        "state",
        "state_digest",
        "state_is_tombstone",
        "strange",
        "top",
        "top_state",
        "version",
        "waits",
    )

    def __init__(self) -> None:
        self.version = NOTHING
        """Of the log."""
        self.broken = False
        """Its records cannot be followed, so nobody knows what they make."""
        self.waits = False
        """Some of its events are in the outbox; the newest state is among them."""
        self.moves = array("Q")
        """Versions of the transactions, ascending; beside each the digest of its value, and whether it was seen."""
        self.moves_digests = array("Q")
        self.moves_seen = bytearray()
        self.moves_demanded = 0
        """How many of them were acknowledged."""
        self.state = NOTHING
        """Version of the newest state."""
        self.state_digest = 0
        self.state_is_tombstone = False
        # what Kafka has
        self.farthest = -1
        """The last transaction that came, by its place in ``moves``."""
        self.late: list[int] = []
        self.differing: list[tuple[str, int]] = []
        self.strange: list[tuple[str, int]] = []
        self.last_state = self.top_state = self.top = NOTHING
        """Version of the last state on its topic; of the newest there; of the newest event."""
        self.last_state_digest = 0

    def expect(self, event: Publication, version: int) -> None:
        """A record of the log makes this event."""
        if event.topic == STATE:
            self.state, self.state_digest, self.state_is_tombstone = version, digest(event.value), not event.value
        else:
            self.moves.append(version)
            self.moves_digests.append(digest(event.value))
            self.moves_seen.append(0)
            self.moves_demanded += 1

    def waiting(self, event: Publication, version: int) -> None:
        """This event waits in the outbox: it may be on Kafka, or not yet."""
        self.waits = True
        if event.topic != STATE:
            self.moves_demanded = min(self.moves_demanded, bisect_left(self.moves, version))

    def saw_state(self, version: int, value: bytes) -> None:
        """The topic of states has this, behind all that was seen before."""
        self.last_state, self.last_state_digest = version, digest(value)
        self.top_state = max(self.top_state, version)
        self.top = max(self.top, version)
        if version == self.state and self.last_state_digest != self.state_digest:
            self._differs(STATE_EVENT, version)

    def saw_move(self, version: int, value: bytes) -> None:
        """The topic of transactions has this, perhaps once more."""
        self.top = max(self.top, version)
        at = bisect_left(self.moves, version)
        if at == len(self.moves) or self.moves[at] != version:
            if version <= self.version:
                self.strange.append((TRANSACTION_EVENT, version))
            return
        if digest(value) != self.moves_digests[at]:
            self._differs(TRANSACTION_EVENT, version)
        if not self.moves_seen[at]:
            self.moves_seen[at] = 1
            if at < self.farthest:
                self.late.append(version)
        self.farthest = max(self.farthest, at)

    def moves_missing(self) -> list[int]:
        """Versions of transactions that were acknowledged, and are not there."""
        return [self.moves[at] for at in range(self.moves_demanded) if not self.moves_seen[at]]

    def _differs(self, kind: str, version: int) -> None:
        if (kind, version) not in self.differing:
            self.differing.append((kind, version))


async def expected(log: Log, partitions: Iterable[int], on_entity: Callable[[], None]) -> dict[str, Expected]:
    """By code, all certificates of some partitions.

    The logs are read before the outboxes: what a record made then and does not wait now was acknowledged.

    Raises:
        StorageError: the log could not be read.
    """
    found: dict[str, Expected] = {}
    for partition in partitions:
        async for entities in _listed(log, partition, on_entity):
            for replay in await replayed(log, [Replay(entity, 1, frozenset()) for entity in entities]):
                found[entity_key(replay.entity)] = _made_by(replay)
        for event in waiting_events(await outbox_entries(log, partition)):
            entry, version = found.get(event.key), event_version(event)
            if entry is not None and version is not None:
                entry.waiting(event, version)
    return found


async def _listed(log: Log, partition: int, on_entity: Callable[[], None]) -> AsyncIterator[list[str]]:
    """The certificates of a partition, as many at once as one round trip reads."""
    named = [entity async for entity in log.entities(partition)]
    for group in groups(named):
        yield [entity for entity in group if is_certificate(entity)]
        for _ in group:
            on_entity()


def _made_by(replay: Replay) -> Expected:
    entry = Expected()
    entry.version, entry.broken = replay.version, replay.broken
    for version, stored in replay.events:
        entry.expect(codec.decode_publication(stored), version)
    return entry


def waiting_events(entries: Iterable[bytes]) -> list[Publication]:
    """The events of an outbox; those that cannot be read are for ``verify`` to tell."""
    found = []
    for entry in entries:
        try:
            found.append(codec.decode_publication(entry))
        except DamagedLogError:
            continue
    return found


def event_version(event: Publication) -> int | None:
    """Version of the record that made an event, if its id is one of the certificate's."""
    return version_of(event.event_id, event.key, STATE_EVENT, TRANSACTION_EVENT)


def digest(value: bytes) -> int:
    """64 bits that tell one value of a certificate from another."""
    return int.from_bytes(blake2b(value, digest_size=8).digest())
