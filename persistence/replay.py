"""One entity made anew from its first record, with everything checked on the way that its own log can tell.

What stands beside the log (timers, publications, messages, other entities) is compared afterwards
(:mod:`persistence.comparison`): a replay keeps what that needs, and lets go of the records.
"""

from collections.abc import Sequence
from typing import Any

from ledger import certificate, order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.identifiers import entity_key, is_certificate
from ledger.invariants import order_violations, violations
from ledger.order import Order
from ledger.postings import balance, held, postings
from ledger.publications import publications
from ledger.records import Record
from persistence import codec, envelope
from persistence.errors import DamagedLogError, SnapshotUnreadableError
from persistence.vault import SealBrokenError

Problem = tuple[int | None, str]
"""A version, if it is about one, and what is wrong with it, in words."""


class Replay:
    """Takes an entity's records in order; :attr:`problems` says what was wrong with them.

    Args:
        entity: whose.
        keep_events_from: the publications of records from this version on are kept in :attr:`events`; ``None``: none
        are. message_versions: versions of which :attr:`issuing` says whether they send an SMS.
    """

    def __init__(self, entity: str, keep_events_from: int | None, message_versions: frozenset[int]) -> None:
        self.entity = entity
        self.problems: list[Problem] = []
        self.position = codec.START
        self.state: Certificate | Order = _new(entity)
        self.broken = False
        """A record does not follow the one before it: what stands after it says nothing any more."""
        self.events: list[tuple[int, bytes]] = []
        """Version and bytes of publications, oldest first."""
        self.events_count = 0
        """How many publications all records make."""
        self.issuing: set[int] = set()
        """Those of the versions asked for whose records send an SMS."""
        self.grants: dict[str, set[tuple[int, str]]] = {}
        """For each line of an order: plans (minor units and currency) that were ever paid for in full."""
        self.recipients: dict[str, int] = {}
        """Names of the data keys that an order's records take, each with the version of its record."""
        self.issued: tuple[int, str] | None = None
        """Denomination and currency that a certificate was activated with."""
        self._keep_events_from = keep_events_from
        self._message_versions = message_versions
        self._history: list[Record] = []
        self._balance = self._held = 0

    @property
    def version(self) -> int:
        """How many records it has taken."""
        return self.position.version

    def take(self, stored: Sequence[bytes]) -> None:
        """Go on with the records after :attr:`version`."""
        if self.broken:
            return
        try:
            for one in stored:
                self._take(one)
        except _BrokenError as error:
            self.broken = True
            self.problems.append((self.version + 1, str(error)))

    def give_up(self, problem: str) -> None:
        """The records cannot be read at all."""
        self.broken = True
        self.problems.append((None, problem))

    def compare_snapshot(self, stored: bytes) -> None:
        """Whether a snapshot that says that it is of this :attr:`version` is what the records come to."""
        if self.broken or stored == codec.snapshot(self.state, self.position):
            return
        schema = codec.snapshot_schema(stored)
        if schema is not None and 0 < schema < codec.SNAPSHOT_SCHEMA:
            return  # of an older version of the program, which is passed over when the entity is loaded
        self.problems.append(
            (self.version, f"the snapshot is not what the records come to: {_difference(self, stored)}")
        )

    def finish(self) -> None:
        """All records were taken: judge the history as a whole."""
        if not self.broken:
            state, history = self.state, self._history
            wrong = violations(state, history) if isinstance(state, Certificate) else order_violations(state, history)
            self.problems += ((None, one) for one in wrong)
        self._history = []

    def _take(self, stored: bytes) -> None:
        try:
            end = codec.check_chain(self.entity, (stored,), self.position)
        except DamagedLogError:
            raise _BrokenError("the chain breaks here: a record was changed, dropped or moved") from None
        try:
            record = codec.decode(stored)
        except DamagedLogError as error:
            raise _BrokenError(str(error)) from error
        try:
            self.state = _evolve(self.state, record)
        except (ValueError, KeyError, TypeError) as error:
            raise _BrokenError(f"the record cannot follow what stands before it: {error}") from error
        self.position = end
        self._history.append(record)
        if isinstance(self.state, Certificate):
            self._certificate(self.state, record)
        else:
            self._order(self.state, record)

    def _certificate(self, state: Certificate, record: Record) -> None:
        entries = postings(record)
        self._balance += balance(entries)
        self._held += held(entries)
        if (self._balance, self._held) != (record.balance, record.held):
            figures = f"balance {record.balance} and held {record.held}, its postings {self._balance} and {self._held}"
            self.problems.append((record.version, f"the record says {figures}"))
        if isinstance(record.body, r.Activated):
            if self.issued is not None:
                self.problems.append((record.version, "the certificate is activated a second time"))
            self.issued = (record.body.denomination, record.body.currency)
        if record.version in self._message_versions and isinstance(record.body, r.Activated | r.CvcReissued):
            self.issuing.add(record.version)
        events = publications(state, record)
        self.events_count += len(events)
        if self._keep_events_from is not None and record.version >= self._keep_events_from:
            self.events += ((record.version, codec.encode_publication(event)) for event in events)

    def _order(self, state: Order, record: Record) -> None:
        if isinstance(record.body, r.Placed):
            self._placed(record.version, state.order_id, record.body)
        if isinstance(record.body, r.Placed | r.PaymentRecorded):
            for line_id in state.lines:
                command = state.activation(line_id)
                if command is not None:
                    self.grants.setdefault(line_id, set()).add((command.denomination, command.currency))

    def _placed(self, version: int, order_id: str, body: r.Placed) -> None:
        for line in body.lines:
            try:
                key = None if line.recipient is None else envelope.key_of(line.recipient)
            except SealBrokenError as error:
                self.problems.append((version, f"line {line.line_id}: its recipient is sealed in {error}"))
                continue
            if key is None:
                continue
            if key != envelope.key_name(order_id, body.order_version, line.line_id):
                self.problems.append(
                    (version, f"line {line.line_id}: its recipient is sealed as that of {' '.join(key)}")
                )
            else:
                self.recipients[key[1]] = version


class _BrokenError(Exception):
    """Why the records cannot be followed further."""


def _new(entity: str) -> Certificate | Order:
    return Certificate(code=entity_key(entity)) if is_certificate(entity) else Order(order_id=entity_key(entity))


def _evolve(state: Certificate | Order, record: Record) -> Certificate | Order:
    return certificate.evolve(state, record) if isinstance(state, Certificate) else order.evolve(state, record)


def _difference(replay: Replay, stored: bytes) -> str:
    """In which fields a snapshot differs from the replayed state, in words."""
    read: Any = codec.read_certificate_snapshot if isinstance(replay.state, Certificate) else codec.read_order_snapshot
    try:
        state, position = read(stored)
    except SnapshotUnreadableError as error:
        return str(error)
    fields = [name for name in state.__struct_fields__ if getattr(state, name) != getattr(replay.state, name)]
    if position.link != replay.position.link:
        fields.append("link")
    return f"it differs in {', '.join(fields)}" if fields else "its bytes differ"
