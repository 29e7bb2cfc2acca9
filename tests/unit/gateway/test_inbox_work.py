import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from gateway import inbox_work
from gateway.dead_letters import DeadLetterWriter, Received
from gateway.inbox_work import InboxWork, Reader
from gateway.inputs import read_order, read_payment
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin, Place, RecordPayment
from ledger.refusals import Refusal, Refused
from persistence import secrets_file, vault
from persistence.vault import Vault
from tests.unit.gateway.kafka_fakes import FakeBroker, FakeKeeper

TOPIC = "All_Payments"


class SlowLedger:
    """Answers one command after the other, as the test lets it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.outcomes: list[Answer | ActorError | Exception] = []
        self.gate = asyncio.Semaphore(0)
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        assert isinstance(command, RecordPayment)
        assert origin.client == "payments"
        self.asked.append((entity, command.payment_version))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.acquire()
        finally:
            self.at_once -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else Answer()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def let(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


class Stage:
    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.ledger = SlowLedger()
        writer = DeadLetterWriter("DeadLetter", cast("Any", FakeKeeper(self.broker)), lambda: 1_795_500_000_000)
        reader = Reader(read_payment, Origin(client="payments"))
        self.work = InboxWork(self.ledger, Vault.generate(), writer, {TOPIC: reader})
        self.finished: list[int] = []
        self._offset = 0

    def take(self, order_id: str, version: int = 1, value: bytes | None = b"") -> None:
        event = {
            "orderId": order_id,
            "paymentVersion": version,
            "currency": "RUB",
            "capturedAmount": 1,
            "outstandingAmount": 0,
            "isOrderSettled": True,
            "certificateAllocations": [],
        }
        content = json.dumps(event).encode() if value == b"" else value
        offset, self._offset = self._offset, self._offset + 1
        record = Received(TOPIC, 0, offset, order_id.encode(), content, (("ce_id", b"e-1"), ("dlq_reason", b"old")))
        self.work.take(record, lambda: self.finished.append(offset))

    async def rest(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(inbox_work, "RETRY_SECONDS_MIN", 0.0)
    return Stage()


async def test_records_of_one_order_are_applied_one_after_the_other(stage: Stage) -> None:
    for version in (1, 2, 3):
        stage.take("SO-1", version)
    await stage.rest()
    assert stage.ledger.asked == [("o:SO-1", 1)]

    stage.ledger.let(3)
    await stage.work.settle(5)

    assert stage.ledger.asked == [("o:SO-1", 1), ("o:SO-1", 2), ("o:SO-1", 3)]
    assert stage.ledger.most_at_once == 1
    assert stage.finished == [0, 1, 2]


async def test_different_orders_are_applied_at_once(stage: Stage) -> None:
    for number in range(50):
        stage.take(f"SO-{number}")
    await stage.rest()

    assert (stage.ledger.at_once, stage.work.in_flight) == (50, 50)

    stage.ledger.let(50)
    await stage.work.settle(5)
    assert stage.work.counts["applied"] == 50
    assert stage.work.in_flight == 0


async def test_a_ledger_without_an_answer_is_asked_again_before_the_next_event_of_the_order(stage: Stage) -> None:
    stage.ledger.outcomes = [OverloadedError("busy"), OutcomeUnknownError("lost"), Answer(), Answer()]
    stage.take("SO-1", 1)
    stage.take("SO-1", 2)

    stage.ledger.let(4)
    await stage.work.settle(5)

    assert [version for _, version in stage.ledger.asked] == [1, 1, 1, 2]
    assert stage.work.counts["retries"] == 2
    assert stage.finished == [0, 1]


async def test_an_event_that_waited_while_the_key_changed_is_sealed_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vault, "LOOK_SECONDS", 0.0)
    keeper = Vault.create(tmp_path / "secrets.json")
    taken: list[Place] = []

    class Ledger:
        async def ask(self, _entity: str, command: AnyCommand, _origin: Origin) -> Answer:
            assert isinstance(command, Place)
            taken.append(command)
            if len(taken) == 1:
                secrets_file.change(tmp_path / "secrets.json", lambda held: held.prepared().switched(1))
                raise OutcomeUnknownError("no answer")
            return Answer()

    reader = Reader(read_order, Origin(client="orders"))
    work = InboxWork(Ledger(), keeper, cast("Any", None), {"All_SalesOrder": reader})
    line = {"orderLineId": "1", "plannedDenomination": 1, "intendedRecipient": {"phone": "+79990000001"}}
    event = {"orderId": "SO-1", "channel": "OnlineStore", "currency": "RUB", "certificateLines": [line]}
    work.take(Received("All_SalesOrder", 0, 0, b"SO-1", json.dumps(event).encode()), lambda: None)
    await work.settle(60)

    assert [command.keys[0].sealed[0] for command in taken] == [1, 2]
    assert work.counts["applied"] == 1


async def test_a_refusal_is_a_dead_letter_with_the_original_and_the_reason(stage: Stage) -> None:
    stage.ledger.outcomes = [Answer(refused=Refused(Refusal.CURRENCY_MISMATCH, "RUB is not EUR"))]
    stage.take("SO-1")
    stage.ledger.let(1)
    await stage.work.settle(5)

    ((key, value, headers),) = stage.broker.all("DeadLetter")
    assert key == b"SO-1"
    assert json.loads(value or b"")["orderId"] == "SO-1"
    assert headers == [
        ("ce_id", b"e-1"),
        ("dlq_reason", b"CurrencyMismatch"),
        ("dlq_detail", b"RUB is not EUR"),
        ("dlq_topic", b"All_Payments"),
        ("dlq_partition", b"0"),
        ("dlq_offset", b"0"),
        ("dlq_time", b"2026-11-24T06:00:00.000Z"),
    ]
    assert stage.finished == [0]


async def test_a_record_is_finished_only_once_its_dead_letter_is_acknowledged(stage: Stage) -> None:
    stage.broker.gate.clear()
    stage.take("SO-1", value=b"half")
    await stage.rest()
    assert stage.finished == []

    stage.broker.gate.set()
    await stage.work.settle(5)

    assert stage.finished == [0]
    assert stage.work.counts["deadLetters"] == 1


async def test_a_tombstone_tells_nothing(stage: Stage) -> None:
    stage.take("SO-1", value=None)

    assert stage.finished == [0]
    assert stage.work.counts["tombstones"] == 1
    assert stage.broker.all("DeadLetter") == []


async def test_what_does_not_settle_in_time_is_abandoned_and_not_finished(stage: Stage) -> None:
    stage.take("SO-1", 1)
    stage.take("SO-1", 2)
    await stage.rest()

    await stage.work.settle(0)

    assert (stage.finished, stage.work.in_flight, stage.ledger.at_once) == ([], 0, 0)
    stage.take("SO-1", 1)
    stage.ledger.let(1)
    await stage.work.settle(5)
    assert stage.finished == [2]


async def test_a_defect_is_told_to_whoever_runs_the_inbox(stage: Stage) -> None:
    stage.ledger.outcomes = [ZeroDivisionError()]
    stage.take("SO-1")
    stage.ledger.let(1)

    await stage.work.moved(5)

    assert isinstance(stage.work.failure, ZeroDivisionError)
    assert stage.finished == []
    await stage.work.settle(0)


async def test_waiting_for_a_record_to_be_finished_is_bounded(stage: Stage) -> None:
    await stage.work.moved(0)

    assert stage.finished == []
