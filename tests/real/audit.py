"""Whether everything that clients were told is so: in the history, in the balances, and in the events on Kafka."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from examples.topics import STATES, TRANSACTIONS, Feed, Record

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.real.market import Market
    from tests.real.traffic import Told

EVENTS_SECONDS_MAX: Final = 20.0
ACKNOWLEDGED: Final = {"Authorize", "Capture", "Void"}
SILENT: Final = {"Authorize", "Lapse"}
"""Changes of holds, which no event tells of."""


def moves_money(operation: dict[str, Any]) -> bool:
    """Whether an entry of the history is published as a transaction."""
    return operation["type"] in {"Activate", "Capture", "Expire"} or (
        operation["type"] == "Void" and operation["voidedType"] != "Authorization"
    )


def changes_state(operation: dict[str, Any]) -> bool:
    """Whether an entry of the history is published as a state."""
    return operation["type"] not in SILENT and operation.get("voidedType") != "Authorization"


class Events:
    """All events about some certificates, read from the beginning.

    Args:
        bootstrap: The broker.
        prefix: Of the topics.
        codes: Of the certificates.
    """

    def __init__(self, bootstrap: str, prefix: str, codes: Collection[str]) -> None:
        self.codes = frozenset(codes)
        self._states, self._transactions = prefix + STATES, prefix + TRANSACTIONS
        self._bootstrap = bootstrap
        self.versions: dict[tuple[str, str], list[int]] = defaultdict(list)
        """By topic and code: the version of each event, the first time that it came."""
        self.events: dict[str, dict[str, Any]] = {}

    async def read(self, states: int, transactions: int) -> None:
        """Read until there are so many different events, or time is up."""
        counts = {self._states: 0, self._transactions: 0}

        def take(record: Record) -> None:
            if record.key.decode() not in self.codes:
                return
            assert record.value is not None, "no code was given back"
            event = msgspec.json.decode(record.value)
            assert event["code"] in self.codes
            if event["eventId"] in self.events:
                assert self.events[event["eventId"]] == event, "an event came again with something else in it"
                return
            self.events[event["eventId"]] = event
            counts[record.topic] += 1
            self.versions[record.topic, event["code"]].append(event["version"])

        async with Feed(self._bootstrap, (self._states, self._transactions), take) as feed:
            await feed.read(
                lambda: counts[self._states] >= states and counts[self._transactions] >= transactions,
                within_seconds=EVENTS_SECONDS_MAX,
            )

    def of(self, topic: str, code: str) -> list[int]:
        """Versions of a certificate's events on `states` or `transactions`, in the order in which they came."""
        return self.versions[self._states if topic == "states" else self._transactions, code]


async def audit(market: Market, told: list[Told], events: Events) -> None:
    """Check all certificates that the events are about."""
    histories = {code: await market.history(code) for code in events.codes}
    by_code: dict[str, set[tuple[str, str, int]]] = defaultdict(set)
    for one in told:
        entry = (one.kind, one.identifier, one.amount)
        assert entry not in by_code[one.code], f"two calls were given the same operation: {one}"
        by_code[one.code].add(entry)
    for code, history in histories.items():
        acknowledged = [entry for entry in history if entry["type"] in ACKNOWLEDGED]
        done = [(entry["type"], entry["operationId"], entry["amount"]) for entry in acknowledged]
        assert len(set(done)) == len(done), f"{code}: something stands twice in the history"
        assert set(done) == by_code[code], f"{code}: history and answers differ"
        assert [entry["version"] for entry in history] == list(range(1, len(history) + 1))
        _balance(history, await market.certificate(code))
    states = sum(changes_state(entry) for history in histories.values() for entry in history)
    moves = sum(moves_money(entry) for history in histories.values() for entry in history)
    await events.read(states, moves)
    for code, history in histories.items():
        published = [entry["version"] for entry in history if changes_state(entry)]
        assert events.of("states", code) == published, f"{code}: states"
        moved = [entry["version"] for entry in history if moves_money(entry)]
        assert events.of("transactions", code) == moved, f"{code}: transactions"


def _balance(history: list[dict[str, Any]], state: dict[str, Any]) -> None:
    signs = {"Activate": 1, "Capture": -1, "Void": 1}
    balance = sum(signs[entry["type"]] * entry["amount"] for entry in history if moves_money(entry))
    assert state["balance"] == balance, state
    assert state["available"] == balance - state["held"] >= 0, state
    assert state["held"] == sum(hold["amount"] for hold in state["holds"]), state
