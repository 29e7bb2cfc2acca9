"""What a subscriber keeps of the service's events: the latest state of each certificate, every transaction once.

Delivery is at least once, and the two topics overtake each other. So a state counts only if its version is higher than
what is known, and a transaction only if its code, version and type have not been seen. A state without a value, a
tombstone, says that the code was given back.
"""

from collections.abc import Iterable, Sequence

import msgspec

from examples.messages import StateEvent, TransactionEvent
from examples.patience import PATIENCE_SECONDS
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
        self.heard: dict[str, list[int]] = {}
        """The versions of each certificate's states, each once, in the order in which they came."""
        self.released: set[str] = set()
        """Codes that were reserved and given back."""
        self.repeated = 0
        self._seen: set[tuple[str, int, str]] = set()

    def take(self, record: Record) -> None:
        """Take in one record; one that was taken before changes nothing."""
        self.records.append(record)
        if record.value is None:
            self._forget(record.key.decode())
        elif record.topic == STATES:
            self._take_state(msgspec.json.decode(record.value, type=StateEvent))
        else:
            self._take_transaction(msgspec.json.decode(record.value, type=TransactionEvent))

    def has_transactions(self, transaction_ids: Iterable[str]) -> bool:
        """Whether all of these have arrived."""
        return set(transaction_ids) <= {one.transaction_id for many in self.transactions.values() for one in many}

    async def wait_for(self, transaction_ids: Sequence[str], *, within_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until all of these transactions have arrived, or time is up."""
        return await self.feed.read(lambda: self.has_transactions(transaction_ids), within_seconds=within_seconds)

    async def wait_for_status(self, code: str, status: str, *, within_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until the latest state of a certificate has this status, or time is up."""
        return await self.feed.read(
            lambda: code in self.states and self.states[code].status == status, within_seconds=within_seconds
        )

    async def wait_for_release(self, code: str, *, within_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until a code was given back, or time is up."""
        return await self.feed.read(lambda: code in self.released, within_seconds=within_seconds)

    async def wait_for_versions(
        self, code: str, versions: set[int], *, within_seconds: float = PATIENCE_SECONDS
    ) -> bool:
        """Read until these versions of a certificate's state have arrived, or time is up."""
        return await self.feed.read(lambda: versions <= set(self.heard.get(code, [])), within_seconds=within_seconds)

    async def first_transaction(self, code: str, *, within_seconds: float = PATIENCE_SECONDS) -> TransactionEvent:
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
        heard = self.heard.setdefault(state.code, [])
        if state.version in heard:
            self.repeated += 1
            return
        if state.version > max(heard, default=0):
            self.states[state.code] = state
            self.released.discard(state.code)
        heard.append(state.version)

    def _forget(self, code: str) -> None:
        # What was heard is kept, so that an old state which comes once more does not bring the code back.
        self.states.pop(code, None)
        self.released.add(code)

    def _take_transaction(self, transaction: TransactionEvent) -> None:
        name = (transaction.code, transaction.version, transaction.type)
        if name in self._seen:
            self.repeated += 1
            return
        self._seen.add(name)
        self.transactions.setdefault(transaction.code, []).append(transaction)
