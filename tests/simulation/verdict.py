"""The account at the end of a run: the log explains what callers were told, and they explain the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger import certificate, order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.identifiers import MESSAGE, entity_key, identifier
from persistence import codec
from tests.simulation.account import FOREVER
from tests.simulation.answers import Answers
from tests.simulation.auditor import Wrong
from tests.simulation.books import Books
from tests.simulation.cluster import BRIDGE
from tests.simulation.published import unpublished
from tests.simulation.store import result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from persistence.memory import MemoryLog
    from tests.simulation.auditor import Entry
    from tests.simulation.broker import Broker
    from tests.simulation.simulation import Simulation


FOREVER_MS = 10**15


def verdict(simulation: Simulation) -> list[Wrong]:
    """Everything that cannot be."""
    auditor, broker, faults = simulation.auditor, simulation.broker, simulation.faults
    calls = [called for trader in simulation.traders for called in trader.history]
    # of a frame that comes twice one may be turned away, and the other not
    books = Books(calls, broker, strict=not simulation.network.doubled)
    for entry in auditor.journal:
        books.enter(entry)
    found = {
        "books": books.wrong,
        "answers": Answers(books, calls, simulation.clock, faults.clocks_apart_ms).wrong(),
        "log": _lost(simulation.log, auditor.histories),
        "sales": _disagreements(books),
        "timers": _asleep(simulation),
        "messages": _unsent(simulation.log, auditor.histories),
        "events": unpublished(broker, auditor.histories),
        "dead letters": _left_out(broker, simulation.orders.junk),
    }
    return [Wrong(check, what) for check, wrong in found.items() for what in wrong]


def _lost(log: MemoryLog, histories: Mapping[str, Sequence[Entry]]) -> list[str]:
    """What was acknowledged has to be there, and nothing else."""
    found = []
    for entity, history in histories.items():
        stored = [codec.decode(one) for one in result(log.history(entity))]
        if stored != [entry.record for entry in history]:
            found.append(f"{entity}: {len(history)} records were acknowledged, {len(stored)} others are there")
    return found


def _disagreements(books: Books) -> list[str]:
    """Certificates and orders have to agree, and all that is paid for to be active."""
    found = []
    for order_id, account in books.orders.items():
        last = account.last
        for line, planned in last.owed().items():
            code = last.codes.get(line)
            if code is not None and books.certificate(code).last.plain is None:
                found.append(f"{order_id}/{line}: {planned} is paid for, and {code} is not active")
        for line, code in last.codes.items():
            sold = books.certificate(code).last.sold
            if sold != (order_id, line):
                found.append(f"{order_id}/{line} has {code}, which is sold to {sold}")
    for code, pages in books.certificates.items():
        sold = pages.last.sold
        if sold is not None and books.order(sold[0]).last.codes.get(sold[1]) != code:
            found.append(f"{code} is sold to {sold}, which has {books.order(sold[0]).last.codes}")
    return found


def _asleep(simulation: Simulation) -> list[str]:
    """What time brings about has to have its timer, or nobody sees to it."""
    timers = result(simulation.log.timers(range(simulation.log.partitions)))
    policy = simulation.policy
    # one that has rung without need is set again a little later than now
    soon = simulation.clock(simulation.loop.time()) + policy.errand_retry_ms + simulation.faults.clocks_apart_ms
    found = []
    for entity, state in simulation.auditor.states.items():
        due = certificate.next_due(state, policy) if isinstance(state, Certificate) else order.next_due(state, policy)
        if due is not None and timers.get(entity, FOREVER) > max(due, soon):
            found.append(f"{entity} has to be woken at {due}, its timer is at {timers.get(entity)}")
    return found


def _unsent(log: MemoryLog, histories: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Each CVC that was issued waits to be sent, once: here nobody sends."""
    waiting = [message.message_id for message in result(log.messages_due(FOREVER_MS))]
    issued = [
        identifier(MESSAGE, entity_key(entity), entry.record.version)
        for entity, history in histories.items()
        for entry in history
        if isinstance(entry.record.body, r.Activated | r.CvcReissued)
    ]
    return (
        [] if sorted(waiting) == sorted(issued) else [f"messages {sorted(waiting)} wait, {sorted(issued)} were issued"]
    )


def put_aside(broker: Broker) -> set[str]:
    """Where the events were that have been put aside, each once however often it was: `topic/partition/offset`."""
    return {
        "/".join(dict(letter.headers)[f"dlq_{name}"].decode() for name in ("topic", "partition", "offset"))
        for letter in broker.topic(BRIDGE.dead_letters)
    }


def _left_out(broker: Broker, junk: Sequence[str]) -> list[str]:
    """What can never be applied has to be put aside, and nothing else."""
    aside = put_aside(broker)
    found = [f"{source} was not put aside" for source in junk if source not in aside]
    return found + [f"{source} was put aside" for source in sorted(aside) if source not in junk]
