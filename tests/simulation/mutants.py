"""Faults put into the code on purpose. The simulator has to find each: else it would not find one of our own."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from msgspec.structs import replace

from actors.errors import ActorError, OverloadedError
from actors.residents import Residents
from actors.round import Round
from actors.timekeeper import Timekeeper
from gateway.inbox_work import InboxWork
from gateway.kafka_lanes import Lane, Lanes
from gateway.kafka_producer import KAFKA_FAILURES
from gateway.relay import OutboxRelay
from ledger import certificate
from ledger import commands as c
from ledger import records as r
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.decision import Decision
from ledger.order.state import advance
from persistence import codec
from persistence.errors import StorageUnavailableError
from persistence.log import PAGE_MAX, Batch, Change, Conflict
from persistence.memory import MemoryLog
from tests.simulation.store import StoreClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.dead_letters import Received
    from gateway.kafka_lanes import Outgoing
    from ledger.commands import Origin
    from ledger.order import Order

EVERY = 40
"""A write in so many is lost, where some are."""

_append = MemoryLog.append
_conflict = MemoryLog._conflict
_decide = certificate.decide
_ask_to_append = StoreClient.append
_publish = Lanes.publish
_deliver = Lane._deliver
_take = InboxWork.take


def _versions_are_not_compared(log: MemoryLog, batch: Batch) -> Conflict | None:
    conflict = _conflict(log, batch)
    if conflict is None or not (conflict.attempts or conflict.seen):
        return None
    return replace(conflict, stale=())


def _keys_are_not_compared(log: MemoryLog, batch: Batch) -> Conflict | None:
    conflict = _conflict(log, batch)
    if conflict is None or not (conflict.attempts or conflict.stale):
        return None
    return replace(conflict, seen={})


def _loses_some() -> Callable[..., Any]:
    numbers = count(1)

    async def append(log: MemoryLog, batch: Batch) -> Conflict | None:
        if any(change.records for change in batch.changes) and next(numbers) % EVERY == 0:
            return None
        return await _append(log, batch)

    return append


async def _answers_first(client: StoreClient, batch: Batch) -> Conflict | None:
    task = asyncio.ensure_future(_ask_to_append(client, batch))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return None


async def _takes_silence_for_consent(client: StoreClient, batch: Batch) -> Conflict | None:
    try:
        return await _ask_to_append(client, batch)
    except StorageUnavailableError:
        return None


async def _trusts_its_memory(client: StoreClient, batch: Batch) -> Conflict | None:
    if batch == Batch(tuple(Change(change.entity, change.expected) for change in batch.changes)):
        return None
    return await _ask_to_append(client, batch)


async def _ring_in_vain(_timekeeper: Timekeeper, _entity: str) -> bool:
    return True


async def _acknowledge_first(relay: OutboxRelay, partition: int, lanes: Lanes) -> bool:
    page = await relay._log.outbox(partition, PAGE_MAX)
    await relay._log.acknowledge(partition, page.head, len(page.entries))
    await lanes.publish([relay._envelopes.outgoing(codec.decode_publication(entry)) for entry in page.entries])
    return bool(page.entries)


async def _skip_the_last(lanes: Lanes, records: Sequence[Outgoing]) -> None:
    await _publish(lanes, records[:-1] if len(records) > 1 else records)


async def _take_kafkas_silence_for_consent(lane: Lane, producer: Any) -> int:  # noqa: ANN401 - as aiokafka's
    try:
        return await _deliver(lane, producer)
    except KAFKA_FAILURES:
        return lane._tried


def _finish_first(work: InboxWork, record: Received, finished: Callable[[], None]) -> None:
    finished()
    _take(work, record, lambda: None)


async def _ask_once(work: InboxWork, entity: str, command: c.AnyCommand, record: Received) -> Answer:
    try:
        return await work._ledger.ask(entity, command, work._readers[record.topic].origin)
    except ActorError:
        return Answer()


def _pay_as_it_comes(state: Order, command: c.RecordPayment, origin: Origin, now: int) -> Decision[Order]:
    body = r.PaymentRecorded(
        command.payment_version,
        command.currency,
        command.captured,
        command.outstanding,
        command.settled,
        command.collected,
        command.source,
    )
    records, after = advance(state, now, origin, body)
    return Decision(state=after, records=records)


def _names_no_key(
    state: Certificate,
    command: Any,  # noqa: ANN401 - as the rule's own
    origin: Origin,
    *rest: Any,  # noqa: ANN401 - as the rule's own
) -> Decision[Certificate]:
    return _decide(state, command, replace(origin, key_id=""), *rest)


@contextmanager
def _paid_in_order_of_arrival() -> Iterator[None]:
    with patch.dict("ledger.order.decide._RULES", {c.RecordPayment: _pay_as_it_comes}):
        yield


MUTANTS: dict[str, Callable[[], Any]] = {
    "the log compares no versions": lambda: patch.object(MemoryLog, "_conflict", _versions_are_not_compared),
    "the log compares no keys": lambda: patch.object(MemoryLog, "_conflict", _keys_are_not_compared),
    "the log loses what it acknowledged": lambda: patch.object(MemoryLog, "append", _loses_some()),
    "answers leave before the append": lambda: patch.object(StoreClient, "append", _answers_first),
    "a lost answer counts as written": lambda: patch.object(StoreClient, "append", _takes_silence_for_consent),
    "a lost answer counts as not written": lambda: patch("actors.shard.OutcomeUnknownError", OverloadedError),
    "reads are answered from memory": lambda: patch.object(StoreClient, "append", _trusts_its_memory),
    "timers are not set": lambda: patch.object(Round, "_timer", lambda *_: None),
    "timers are not rung": lambda: patch.object(Timekeeper, "_ring", _ring_in_vain),
    "the outbox is acknowledged before Kafka has it": lambda: patch.object(
        OutboxRelay, "_carry_page", _acknowledge_first
    ),
    "the relay skips an event": lambda: patch.object(Lanes, "publish", _skip_the_last),
    "Kafka's silence counts as delivered": lambda: patch.object(Lane, "_deliver", _take_kafkas_silence_for_consent),
    "the inbox asks the ledger only once": lambda: patch.object(InboxWork, "_answer", _ask_once),
    "the inbox commits before the ledger has it": lambda: patch.object(InboxWork, "take", _finish_first),
    "payments count in order of arrival": _paid_in_order_of_arrival,
    "records name no key": lambda: patch("actors.round.certificate.decide", _names_no_key),
    "what is stale stays in memory": lambda: patch.object(Residents, "drop", lambda *_: None),
    "holds are not counted": lambda: patch.object(Certificate, "available", property(lambda self: self.balance)),
}
"""What each is called, and how it is put in."""
