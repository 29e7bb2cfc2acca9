"""Whether subscribers have heard of everything, in order, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ledger import records as r
from ledger.identifiers import STATE_EVENT, TRANSACTION_EVENT, entity_key, identifier, is_certificate
from tests.simulation.cluster import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulation.auditor import Entry
    from tests.simulation.broker import Broker, Kept

Told = tuple[str, tuple[Any, ...] | None]
"""The id of an event, and what counts in it; `None` for a tombstone."""

HOLDS = r.Held | r.HoldVoided | r.HoldLapsed


def unpublished(broker: Broker, histories: Mapping[str, Sequence[Entry]]) -> list[str]:
    """What is wrong with the two topics, in words."""
    wrong = []
    for topic, expected_of in ((BRIDGE.states, _states), (BRIDGE.transactions, _transactions)):
        heard: dict[str, dict[str, tuple[Any, ...] | None]] = {}
        for record in broker.topic(topic):
            code, event_id, told = _read(record)
            known = heard.setdefault(code, {})
            if known.setdefault(event_id, told) != told:
                wrong.append(f"{topic}: {event_id} of {code} came a second time, and said something else")
        for entity, history in histories.items():
            if not is_certificate(entity):
                continue
            code = entity_key(entity)
            expected = expected_of(code, history)
            # a dict keeps the order in which its keys came for the first time
            found = list(heard.pop(code, {}).items())
            if found != expected:
                wrong.append(f"{topic}: of {code} came {found}, should have come {expected}")
        wrong += [f"{topic}: {code} is unknown, and was published" for code in heard]
    return wrong


def _states(code: str, history: Sequence[Entry]) -> list[Told]:
    expected: list[Told] = []
    for entry in history:
        record = entry.record
        if isinstance(record.body, HOLDS):
            continue
        told = (record.version, record.status.value, record.balance, record.held)
        gone = isinstance(record.body, r.Released)
        expected.append((identifier(STATE_EVENT, code, record.version), None if gone else told))
    return expected


def _transactions(code: str, history: Sequence[Entry]) -> list[Told]:
    expected: list[Told] = []
    balance = 0
    for entry in history:
        record = entry.record
        before, balance = balance, record.balance
        if before != balance:
            told = (record.version, before, balance, abs(balance - before))
            expected.append((identifier(TRANSACTION_EVENT, code, record.version), told))
    return expected


def _read(record: Kept) -> tuple[str, str, tuple[Any, ...] | None]:
    event_id = dict(record.headers)["ce_id"].decode()
    code = (record.key or b"").decode()
    if record.value is None:
        return code, event_id, None
    event = msgspec.json.decode(record.value)
    names = (
        ("version", "balanceBefore", "balanceAfter", "amount")
        if record.topic == BRIDGE.transactions
        else ("version", "status", "balance", "held")
    )
    return code, event_id, tuple(event[name] for name in names)
