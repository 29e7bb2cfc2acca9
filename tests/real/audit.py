"""Whether everything that clients were told is so: in the history, in the balances, and in the events on Kafka."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct, field

from examples.topics import STATES, TRANSACTIONS, Feed, Record

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.real.market import Market
    from tests.real.traffic import Told

EVENTS_SECONDS_MAX: Final = 60.0
"""A minute of events that have waited for Kafka is read, and the relay may still be at it."""
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
        seconds_max: How long reading them may take.
    """

    def __init__(
        self, bootstrap: str, prefix: str, codes: Collection[str], seconds_max: float = EVENTS_SECONDS_MAX
    ) -> None:
        self.codes = frozenset(codes)
        self._states, self._transactions = prefix + STATES, prefix + TRANSACTIONS
        self._bootstrap = bootstrap
        self._seconds_max = seconds_max
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
                within_seconds=self._seconds_max,
            )

    def of(self, topic: str, code: str) -> list[int]:
        """Versions of a certificate's events on `states` or `transactions`, in the order in which they came."""
        return self.versions[self._states if topic == "states" else self._transactions, code]


class Findings(Struct):
    """What is not as clients were told; empty lists if all is well. Each entry says what and where, in words."""

    lost: list[str] = field(default_factory=list)
    """Operations that a client was told of, and that are not in the history."""
    doubled: list[str] = field(default_factory=list)
    """Operations that stand in the history, and that nobody was told of: something was carried out once more."""
    missing: list[str] = field(default_factory=list)
    """Events that the history asks for, and that are not on Kafka."""
    wrong: list[str] = field(default_factory=list)
    """Whatever else contradicts itself: balances, versions, the order of events."""

    @property
    def all(self) -> list[str]:
        """Everything that was found."""
        return [*self.lost, *self.doubled, *self.missing, *self.wrong]


async def audit(market: Market, told: list[Told], events: Events) -> None:
    """Check all certificates that the events are about: nothing may be found."""
    findings = await examine(market, told, events)
    assert not findings.all, "\n".join(findings.all)


async def examine(market: Market, told: list[Told], events: Events) -> Findings:
    """Hold what clients were told against histories, balances and events of the certificates that these are about.

    Every client has repeated what it asked until it was told an outcome, so that history and answers have to be equal.
    """
    findings = Findings()
    histories = {code: await market.history(code) for code in sorted(events.codes)}
    by_code: dict[str, Counter[tuple[str, str, int]]] = defaultdict(Counter)
    for one in told:
        by_code[one.code][one.kind, one.identifier, one.amount] += 1
    for code, history in histories.items():
        acknowledged = [entry for entry in history if entry["type"] in ACKNOWLEDGED]
        done = Counter((entry["type"], entry["operationId"], entry["amount"]) for entry in acknowledged)
        findings.lost += [f"{code}: {one} is not in the history" for one in (by_code[code] - done).elements()]
        findings.doubled += [f"{code}: nobody was told of {one}" for one in (done - by_code[code]).elements()]
        if [entry["version"] for entry in history] != list(range(1, len(history) + 1)):
            findings.wrong.append(f"{code}: versions are not one after the other")
        findings.wrong += _unbalanced(history, await market.certificate(code))
    states = sum(changes_state(entry) for history in histories.values() for entry in history)
    moves = sum(moves_money(entry) for history in histories.values() for entry in history)
    await events.read(states, moves)
    for code, history in histories.items():
        published = [entry["version"] for entry in history if changes_state(entry)]
        moved = [entry["version"] for entry in history if moves_money(entry)]
        for topic, wanted in (("states", published), ("transactions", moved)):
            came = events.of(topic, code)
            absent = sorted(set(wanted) - set(came))
            findings.missing += [f"{code}: {topic} lack version {version}" for version in absent]
            if came != [version for version in wanted if version not in absent]:
                findings.wrong.append(f"{code}: {topic} came as {came}, the history has {wanted}")
    return findings


def _unbalanced(history: list[dict[str, Any]], state: dict[str, Any]) -> list[str]:
    signs = {"Activate": 1, "Capture": -1, "Void": 1}
    balance = sum(signs[entry["type"]] * entry["amount"] for entry in history if moves_money(entry))
    held = sum(hold["amount"] for hold in state["holds"])
    if (state["balance"], state["held"]) == (balance, held) and state["available"] == balance - held >= 0:
        return []
    return [f"balance {balance} and holds {held} follow from the history, but: {state}"]
