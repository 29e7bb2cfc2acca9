"""Looks at every append, as it is made: whether it belongs there, and whether everything still holds after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ledger import certificate, order
from ledger.certificate import Certificate
from ledger.identifiers import entity_key, is_certificate
from ledger.invariants import order_violations, violations
from ledger.order import Order
from ledger.records import Record
from persistence import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistence.log import Batch


class Wrong(Struct, frozen=True):
    """Something that cannot be, and which check has found it."""

    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


class Entry(Struct, frozen=True):
    """A record as it was appended: `at` in virtual seconds."""

    at: float
    entity: str
    record: Record


class Auditor:
    """Keeps its own account of what was appended.

    Args:
        now: virtual seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.wrong: list[Wrong] = []
        self.appends = 0
        self.journal: list[Entry] = []
        self.histories: dict[str, list[Entry]] = {}
        self.states: dict[str, Certificate | Order] = {}
        self._now = now

    def find(self, check: str, what: str) -> None:
        """Something is not as it has to be."""
        self.wrong.append(Wrong(check, f"at {self._now():.6f}: {what}"))

    def certificate(self, code: str) -> Certificate:
        """The certificate as its records say."""
        state = self.states.get(f"c:{code}", Certificate(code=code))
        assert isinstance(state, Certificate)
        return state

    def order(self, order_id: str) -> Order:
        """The order as its records say."""
        state = self.states.get(f"o:{order_id}", Order(order_id=order_id))
        assert isinstance(state, Order)
        return state

    def version(self, entity: str, at: float) -> int:
        """How many records an entity had at a virtual time; those of that very moment count."""
        return sum(entry.at <= at for entry in self.histories.get(entity, ()))

    def appended(self, batch: Batch) -> None:
        """The log has taken a batch."""
        self.appends += 1
        for change in batch.changes:
            history = self.histories.setdefault(change.entity, [])
            if change.expected != len(history):
                self.find(
                    "append", f"{change.entity}: written at version {change.expected}, and it was at {len(history)}"
                )
                continue
            for stored in change.records:
                self._take(change.entity, history, codec.decode(stored))
            if change.records:
                self._check(change.entity, [entry.record for entry in history])

    def _take(self, entity: str, history: list[Entry], record: Record) -> None:
        entry = Entry(self._now(), entity, record)
        history.append(entry)
        self.journal.append(entry)
        try:
            if is_certificate(entity):
                self.states[entity] = certificate.evolve(self.certificate(entity_key(entity)), record)
            else:
                self.states[entity] = order.evolve(self.order(entity_key(entity)), record)
        except (ValueError, KeyError) as error:
            self.find("append", f"{entity}: record {record.version} cannot follow what stands before it: {error}")

    def _check(self, entity: str, history: list[Record]) -> None:
        state = self.states.get(entity)
        found = violations(state, history) if isinstance(state, Certificate) else []
        found += order_violations(state, history) if isinstance(state, Order) else []
        for one in found:
            self.find("append", f"{entity}: {one}")
