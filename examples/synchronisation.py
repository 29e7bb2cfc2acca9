"""What a subscriber keeps of the service's events: the latest state of each certificate, every transaction once.

Delivery is at least once, and the two topics overtake each other. So a state counts only if its version is higher than
what is known, and a transaction only if its code, version and type have not been seen.
"""

from collections.abc import Iterable, Sequence

import msgspec

from examples.messages import StateEvent, TransactionEvent
from examples.topics import STATES, TRANSACTIONS, Feed, Record


class Synchronisation:
    """One subscriber's copy of what happened, read from both topics since their beginning.

    Args:
        bootstrap: The broker, `host:port`.
    """

    def __init__(self, bootstrap: str) -> None:
        self.feed = Feed(bootstrap, (STATES, TRANSACTIONS), self.take)
        self.states: dict[str, StateEvent] = {}
        self.transactions: dict[str, list[TransactionEvent]] = {}
        self.records: list[Record] = []
        self.repeated = 0
        self._seen: set[tuple[str, int, str]] = set()

    def take(self, record: Record) -> None:
        """Take in one record; one that was taken before changes nothing."""
        self.records.append(record)
        if record.topic == STATES:
            self._take_state(msgspec.json.decode(record.value, type=StateEvent))
        else:
            self._take_transaction(msgspec.json.decode(record.value, type=TransactionEvent))

    def has_transactions(self, transaction_ids: Iterable[str]) -> bool:
        """Whether all of these have arrived."""
        return set(transaction_ids) <= {one.transaction_id for many in self.transactions.values() for one in many}

    async def wait_for(self, transaction_ids: Sequence[str], *, within_seconds: float = 15.0) -> bool:
        """Read until all of these transactions have arrived, or time is up."""
        return await self.feed.read(lambda: self.has_transactions(transaction_ids), within_seconds=within_seconds)

    async def wait_for_status(self, code: str, status: str, *, within_seconds: float = 15.0) -> bool:
        """Read until the latest state of a certificate has this status, or time is up."""
        return await self.feed.read(
            lambda: code in self.states and self.states[code].status == status, within_seconds=within_seconds
        )

    async def first_transaction(self, code: str, *, within_seconds: float = 15.0) -> TransactionEvent:
        """Read until a certificate has a transaction.

        Raises:
            TimeoutError: None came in time.
        """
        if not await self.feed.read(lambda: code in self.transactions, within_seconds=within_seconds):
            raise TimeoutError(f"no transaction of {code} came in {within_seconds} s")
        return self.transactions[code][0]

    def lines(self, order_id: str) -> dict[str, str]:
        """The status of the certificate of each line of an order, by `orderLineId`."""
        return {
            state.order_line_id: state.status
            for state in self.states.values()
            if state.order_id == order_id and state.order_line_id is not None
        }

    def _take_state(self, state: StateEvent) -> None:
        known = self.states.get(state.code)
        if known is None or state.version > known.version:
            self.states[state.code] = state
        elif state.version == known.version:
            self.repeated += 1

    def _take_transaction(self, transaction: TransactionEvent) -> None:
        name = (transaction.code, transaction.version, transaction.type)
        if name in self._seen:
            self.repeated += 1
            return
        self._seen.add(name)
        self.transactions.setdefault(transaction.code, []).append(transaction)
