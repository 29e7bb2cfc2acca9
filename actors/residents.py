"""The entities that a shard holds in memory."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

import msgspec

from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate import Certificate
from ledger.identifiers import entity_key, is_certificate
from ledger.order import Order
from persistence import codec
from persistence.codec import Position
from persistence.errors import UNDECODABLE, DamagedLogError
from persistence.log import Loaded

State = Certificate | Order

_attempts_decoder: Final = msgspec.msgpack.Decoder(Attempts)


class Resident:
    """An entity in memory, as it is in the log.

    ``due`` is the time (milliseconds) of its timer as far as it was set from here, ``unsaved`` the number of records
    since the last snapshot, ``attempts_stored`` the bytes that the log holds for ``attempts``.
    """

    __slots__ = ("attempts", "attempts_stored", "due", "position", "state", "touched", "unsaved")

    def __init__(self, state: State, position: Position, unsaved: int) -> None:
        self.state: State = state
        self.position = position
        self.unsaved = unsaved
        self.due: int | None = None
        self.attempts: Attempts = NO_ATTEMPTS
        self.attempts_stored: bytes | None = None
        self.touched = 0


def restored(entity: str, loaded: Loaded) -> Resident:
    """An entity as the log holds it.

    Raises:
        SnapshotUnreadableError: load it again without snapshots.
        DamagedLogError: what is stored cannot be what was written.
    """
    restore = codec.restore_certificate if is_certificate(entity) else codec.restore_order
    state, position = restore(entity_key(entity), loaded)
    resident = Resident(state, position, len(loaded.tail))
    resident.attempts = attempts_of(loaded.attempts)
    resident.attempts_stored = loaded.attempts
    return resident


class Residents:
    """Entities by name, the one that was touched last at the end."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Resident] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, entity: str) -> bool:
        return entity in self._held

    def __getitem__(self, entity: str) -> Resident:
        return self._held[entity]

    def get(self, entity: str) -> Resident | None:
        """The entity, if it is in memory."""
        return self._held.get(entity)

    def put(self, entity: str, resident: Resident, now: int) -> None:
        """Take an entity in."""
        resident.touched = now
        self._held[entity] = resident

    def touch(self, entity: str, now: int) -> None:
        """Note that the entity was used."""
        self._held.move_to_end(entity)
        self._held[entity].touched = now

    def drop(self, entity: str) -> None:
        """Forget an entity; it is read again when it is touched."""
        self._held.pop(entity, None)

    def cold(
        self, residents_max: int, touched_before: int, at_work: Collection[str], count_max: int
    ) -> list[tuple[str, Resident]]:
        """Those to be passivated, coldest first: too many, or not touched since ``touched_before`` (milliseconds).

        Never one that is ``at_work``: a round is deciding on it, or waits for the log to take what it decided.
        """
        surplus = len(self._held) - residents_max
        found: list[tuple[str, Resident]] = []
        for position, (entity, resident) in enumerate(self._held.items()):
            if len(found) == count_max or (position >= surplus and resident.touched >= touched_before):
                break
            if entity not in at_work:
                found.append((entity, resident))
        return found


def attempts_of(stored: bytes | None) -> Attempts:
    """The count of CVC attempts that the log holds.

    Raises:
        DamagedLogError: these bytes are none.
    """
    try:
        return NO_ATTEMPTS if stored is None else _attempts_decoder.decode(stored)
    except UNDECODABLE as error:
        raise DamagedLogError(f"stored bytes are no count of CVC attempts: {error}") from error
