"""Events of other systems: every value is either an input that can be applied, or a dead letter with a reason."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dead_letters import Received
from gateway.inbox_work import InboxWork, Reader
from gateway.inputs import InputError, read_order, read_payment
from gateway.lost import Beyond, lost_event
from gateway.reconciliation import _code_of
from ledger.answers import Answer
from ledger.commands import SYSTEM, AnyCommand, Origin, Place, RecordPayment
from persistence.envelope import unseal
from persistence.vault import RECIPIENT, Vault
from tests.fuzz.breaking import DEEP, OF_JSON, broken, broken_json
from tests.fuzz.judge import judge

if TYPE_CHECKING:
    from gateway.inputs import Input, Read

VAULT = Vault.generate()
ORDER = {
    "orderId": "SO-1001",
    "orderVersion": 1,
    "status": "Placed",
    "channel": "OnlineStore",
    "currency": "RUB",
    "certificateLines": [
        {
            "orderLineId": "1",
            "plannedDenomination": 150_000,
            "intendedRecipient": {"name": "Анна", "phone": "+79990000001", "locale": "ru"},
        },
        {"orderLineId": "2", "plannedDenomination": 70_000, "intendedRecipient": None},
    ],
    "occurredAt": "2026-11-23T07:00:00.000Z",
    "somethingNew": [1, {"a": None}],
}
PAYMENT = {
    "orderId": "SO-1001",
    "paymentVersion": 2,
    "currency": "RUB",
    "capturedAmount": 200_000,
    "outstandingAmount": 100_000,
    "isOrderSettled": False,
    "certificateAllocations": [
        {"orderLineId": "1", "collectedAmount": 150_000},
        {"orderLineId": "2", "collectedAmount": 50_000},
    ],
    "occurredAt": "2026-11-23T07:00:00.000Z",
}
READS = {"All_SalesOrder": read_order, "All_Payments": read_payment}
PATIENCE_SECONDS = 60.0
LONG = 1_000_000
"""Bytes, as many as a broker takes."""


def read_by(read: Read, value: bytes) -> None:
    found: Input = read(value, "All_SalesOrder/0/7", VAULT)
    assert found.entity.startswith("o:")
    assert isinstance(found.command, Place | RecordPayment)
    if isinstance(found.command, Place):
        data_keys = {key.line_id: key.sealed for key in found.command.keys}
        for line in found.command.lines:
            assert line.recipient is None or unseal(VAULT, line.recipient, RECIPIENT, data_keys[line.line_id])


@pytest.mark.parametrize("topic", READS)
@given(broken_json(ORDER, PAYMENT))
def test_values(topic: str, value: bytes) -> None:
    judge(lambda given: read_by(READS[topic], given), value, InputError)


@pytest.mark.parametrize("topic", READS)
@pytest.mark.parametrize(
    "value",
    [
        b'{"unknown":' + b"[" * LONG,
        b'{"orderId":' + b"[" * LONG,
        b'{"certificateLines":[' + b"{}," * (LONG // 3) + b"{}]}",
        b'{"certificateAllocations":[' + b"{}," * (LONG // 3) + b"{}]}",
        b'{"unknown":"' + b"\\u0041" * (LONG // 6) + b'"}',
        b'{"orderId":"' + b"a" * LONG + b'"}',
        b'{"capturedAmount":' + b"9" * LONG + b"}",
        b'{"unknown":0.' + b"9" * LONG + b"}",
        b'{"unknown":1e' + b"9" * LONG + b"}",
        b"{" + b'"a":0,' * (LONG // 6) + b'"a":0}',
        b" " * LONG,
    ],
    ids=lambda value: repr(value[:24]),
)
def test_values_that_are_as_long_as_can_be(topic: str, value: bytes) -> None:
    judge(lambda given: read_by(READS[topic], given), value, InputError)


class Taken:
    """A ledger that takes everything, and a topic of dead letters."""

    def __init__(self) -> None:
        self.applied = 0
        self.reasons: list[str] = []

    async def ask(self, _entity: str, _command: AnyCommand, _origin: Origin) -> Answer:
        self.applied += 1
        return Answer()

    async def put(self, _record: Received, reason: str, detail: str) -> None:
        assert detail
        self.reasons.append(reason)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(READS)),
            st.none() | broken(b"SO-1001", nasty=OF_JSON),
            st.none() | broken_json(ORDER, PAYMENT),
        ),
        max_size=5,
    )
)
def test_each_record_is_finished_once_whatever_is_in_it(records: list[tuple[str, bytes | None, bytes | None]]) -> None:
    taken = Taken()
    dead_letters: Any = taken

    async def work() -> list[int]:
        readers = {topic: Reader(read, SYSTEM) for topic, read in READS.items()}
        inbox = InboxWork(taken, VAULT, dead_letters, readers)
        finished: list[int] = []
        for offset, (topic, key, value) in enumerate(records):
            record = Received(topic, 0, offset, key, value, ())
            inbox.take(record, partial(finished.append, offset))
        await inbox.settle(PATIENCE_SECONDS)
        assert inbox.failure is None
        return finished

    assert sorted(asyncio.run(work())) == list(range(len(records)))
    assert taken.applied + len(taken.reasons) == sum(value is not None for _, _, value in records)
    assert set(taken.reasons) <= {"NotJson", "WrongShape"}


STATE = {
    "code": "GC-7K2M-9QXA",
    "status": "Active",
    "amount": 1,
    "balance": 2,
    "occurredAt": "2026-11-23T07:00:00.000Z",
}


@given(broken_json(STATE))
def test_own_events_that_are_read_back(value: bytes) -> None:
    """`reconcile` and `restore` read our own topics, in which others may have written."""
    judge(lambda given: lost_event("GC-7K2M-9QXA", "es", 7, given), value)


@given(broken_json(STATE), broken_json(STATE))
def test_own_events_of_which_the_last_ones_count(state: bytes, move: bytes) -> None:
    def read(given: bytes) -> object:
        beyond = Beyond("GC-7K2M-9QXA")
        beyond.saw("es", 7, given)
        beyond.saw("et", 8, move)
        return beyond.lost(0, 8)

    judge(read, state)


class Read_:  # noqa: N801 - stands for aiokafka's record
    """A record that was read back."""

    def __init__(self, key: bytes) -> None:
        self.key = key


@given(broken(b"GC-7K2M-9QXA", nasty=(b"\xff", "ß".encode(), b"\n", b"gc-")))
def test_keys_that_are_read_back(key: bytes) -> None:
    judge(lambda given: _code_of(Read_(given)), key)


@pytest.mark.parametrize("value", [b'{"unknown":"\xff","code":"\xff"}', b'{"status":"\xff"}', b'{"a":' * DEEP])
def test_an_own_event_that_cannot_be_read_is_told_without_what_it_said(value: bytes) -> None:
    lost = lost_event("GC-7K2M-9QXA", "es", 7, value)

    assert (lost.code, lost.version, lost.type) == ("GC-7K2M-9QXA", 7, None)
