"""What a proof says of orders beside certificates, and of a log that is written while it is read."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

import pytest
from msgspec.structs import replace

from ledger import records as r
from ledger.commands import PlannedLine
from ledger.identifiers import MESSAGE, identifier
from ledger.policy import DEFAULT_POLICY, Policy
from persistence import codec
from persistence.log import Batch, Change, Loaded, Log, OutboxPage, QueuedMessage, partition_of
from persistence.memory import MemoryLog
from persistence.verification import VerificationReport, verify
from tests.contract.histories import NOON, PRICE, YEAR_MS, Writer, acknowledge_all

ONE, TWO = "GC-00000001", "GC-00000002"
HOUR_MS = 3_600_000


async def proof(log: Log, *entities: str, now: int = NOON + 1, policy: Policy = DEFAULT_POLICY) -> VerificationReport:
    return await verify(log, entities or None, lambda _: None, clock=lambda: now, policy=policy)


def problems(report: VerificationReport) -> list[tuple[str, int | None, str]]:
    return [(one.entity, one.version, one.problem) for one in report.findings]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(4)


@pytest.fixture
def writer(log: MemoryLog) -> Writer:
    return Writer(log)


def activated(order_id: str = "SO-1", line_id: str = "1", price: int = PRICE) -> r.Activated:
    return r.Activated(order_id, line_id, price, "RUB", NOON + YEAR_MS, b"digest")


def placed(*prices: int, version: int = 1) -> r.Placed:
    lines = tuple(PlannedLine(str(number), price) for number, price in enumerate(prices, 1))
    return r.Placed(version, False, "OnlineStore", "RUB", lines)


def paid(*collected: int, version: int = 1) -> r.PaymentRecorded:
    by_line = {str(number): amount for number, amount in enumerate(collected, 1)}
    return r.PaymentRecorded(version, "RUB", sum(collected), 0, True, by_line)


# --- orders and certificates ------------------------------------------------------------------------------------------


async def test_a_line_that_is_activated_has_a_certificate_that_is(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve("SO-1", [ONE])
    await writer.order("SO-1", paid(PRICE), r.LineActivated("1", ONE))

    report = await proof(log)

    assert problems(report) == [("o:SO-1", 5, f"line 1: {ONE} is activated here, and the certificate is not")]


async def test_a_certificate_was_issued_with_what_was_planned_and_paid(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve("SO-1", [ONE])
    await writer.order("SO-1", paid(PRICE))
    await writer.certificate(ONE, activated(price=PRICE + 1))

    for entities in ((), (f"c:{ONE}",)):
        report = await proof(log, *entities)
        assert len(report.findings) == 1
        assert f"{ONE} was issued with {PRICE + 1} RUB, which was never both planned and paid" in problems(report)[0][2]


async def test_a_certificate_is_not_issued_before_its_order_is_settled(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve("SO-1", [ONE])
    await writer.certificate(ONE, activated())

    assert "never both planned and paid" in problems(await proof(log))[0][2]


async def test_a_plan_that_changed_after_the_activation_was_asked_for_is_no_problem(
    log: MemoryLog, writer: Writer
) -> None:
    await writer.reserve("SO-1", [ONE])
    await writer.order("SO-1", paid(PRICE))
    await writer.order("SO-1", placed(PRICE - 1, version=2))
    await writer.certificate(ONE, activated())
    await writer.order("SO-1", r.LineActivated("1", ONE, PRICE, "RUB"))

    assert problems(await proof(log)) == []


async def test_an_issued_certificate_is_known_to_its_order(log: MemoryLog, writer: Writer) -> None:
    await writer.order("SO-1", placed(PRICE), paid(PRICE))
    await writer.certificate(ONE, r.Reserved("SO-1", "1", NOON + 1), activated())
    await writer.certificate(TWO, r.Reserved("SO-NEVER", "1", NOON + 1), activated("SO-NEVER"))

    report = await proof(log)

    assert problems(report) == [
        (f"c:{ONE}", 2, "it was issued for SO-1, line 1, which knows nothing of it"),
        (f"c:{TWO}", 2, "it was issued for SO-NEVER, line 1, which knows nothing of it"),
    ]


async def test_nothing_is_said_of_a_certificate_whose_order_cannot_be_read(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    partition = partition_of("o:SO-1", log.partitions)
    log._records[partition]["o:SO-1"][0] = b"nonsense"

    assert {one.entity for one in (await proof(log)).findings} == {"o:SO-1"}
    assert problems(await proof(log, f"c:{ONE}")) == []


async def test_a_certificate_that_never_was_on_its_line_is_told_after_a_while(log: MemoryLog, writer: Writer) -> None:
    told = r.LinePlanTold("1", PRICE, "RUB")
    await writer.order("SO-1", placed(PRICE), r.LineAllocated("1", ONE), told)

    assert problems(await proof(log)) == []
    late = problems(await proof(log, now=NOON + HOUR_MS))

    assert late == [("o:SO-1", 3, f"line 1: {ONE} is on the line, and the certificate is not reserved for it")]


async def test_what_an_order_still_owes_and_what_is_stuck_is_no_problem(log: MemoryLog, writer: Writer) -> None:
    await writer.order("SO-1", placed(PRICE, PRICE), r.LineAllocated("1", ONE), r.LineAllocated("2", TWO))
    await writer.order("SO-1", r.LineStuck("2", TWO, "join", "x"))

    assert problems(await proof(log, now=NOON + HOUR_MS // 2)) == []


async def test_a_code_stands_on_one_line(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve("SO-1", [ONE])
    await writer.order("SO-1", placed(PRICE, PRICE, version=2), r.LineAllocated("2", ONE))

    assert any(f"{ONE} is on 2 lines" in problem for _, _, problem in problems(await proof(log)))


async def test_a_certificate_is_activated_once(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    await writer.certificate(ONE, activated())

    assert (f"c:{ONE}", 4, "the certificate is activated a second time") in problems(await proof(log))


async def test_figures_that_contradict_the_records_before_are_found(log: MemoryLog, writer: Writer) -> None:
    """A chain that somebody made anew over a false figure."""
    await writer.sell("SO-1", ONE)
    records = log._records[partition_of(f"c:{ONE}", 4)][f"c:{ONE}"]
    decoded, _ = codec.records(ONE, records)
    position = codec.Position(2, records[1][: codec.LINK_BYTES])
    false, _ = codec.encode(position, replace(decoded[2], balance=PRICE + 1))
    records[2] = false

    found = problems(await proof(log))

    assert (f"c:{ONE}", 3) in [(entity, version) for entity, version, _ in found]
    assert any("contradicts" in problem for _, _, problem in found)


async def test_invariants_of_the_ledger_are_checked(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    await writer.certificate(ONE, r.Held(PRICE, NOON + 900_000), r.Captured(4, PRICE, final=True, released=0))
    await writer.certificate(ONE, r.CaptureVoided(5, PRICE), r.CaptureVoided(5, PRICE))

    assert (f"c:{ONE}", None, f"capture 5: {2 * PRICE} voided of {PRICE}") in problems(await proof(log))


async def test_a_snapshot_of_an_older_schema_is_passed_over(
    log: MemoryLog, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.sell("SO-1", ONE, snapshot=True)

    monkeypatch.setattr(codec, "SNAPSHOT_SCHEMA", codec.SNAPSHOT_SCHEMA + 1)

    assert problems(await proof(log)) == []


async def test_a_snapshot_of_a_schema_to_come_is_told(
    log: MemoryLog, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "SNAPSHOT_SCHEMA", codec.SNAPSHOT_SCHEMA + 1)
    await writer.sell("SO-1", ONE, snapshot=True)
    monkeypatch.undo()

    found = problems(await proof(log))

    assert [entity for entity, _, _ in found] == [f"c:{ONE}", "o:SO-1"]
    assert all(f"schema {codec.SNAPSHOT_SCHEMA + 1}, not {codec.SNAPSHOT_SCHEMA}" in problem for _, _, problem in found)


async def test_a_message_of_an_order_is_told(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    message = QueuedMessage(identifier(MESSAGE, "SO-1", 1), "o:SO-1", b"", NOON, NOON)
    await log.append(Batch(messages=(message,)))

    assert [(one, "no record sends it" in problem) for one, _, problem in problems(await proof(log))] == [
        ("o:SO-1", True)
    ]


async def test_a_publication_with_a_strange_id_is_told_also_when_only_its_certificate_is_verified(
    log: MemoryLog, writer: Writer
) -> None:
    await writer.sell("SO-1", ONE)
    page = await log.outbox(partition_of(f"c:{ONE}", 4))
    event = codec.decode_publication(page.entries[0])
    strange = codec.encode_publication(replace(event, event_id="es_1_x"))
    await log.append(Batch(outbox=((f"c:{ONE}", strange),)))

    for entities in ((), (f"c:{ONE}",), ("o:SO-1",)):
        found = [one for one, _, problem in problems(await proof(log, *entities)) if "whose id es_1_x" in problem]
        assert found == ([] if entities == ("o:SO-1",) else [f"c:{ONE}"])


# --- beside a service that goes on ------------------------------------------------------------------------------------


class BusyLog(MemoryLog):
    """A log in which something happens before every read."""

    def __init__(self) -> None:
        super().__init__(4)
        self.before: Callable[[str], Awaitable[None]] | None = None
        self._busy = False

    async def _happen(self, read: str) -> None:
        if self.before is not None and not self._busy:
            self._busy = True
            await self.before(read)
            self._busy = False

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        await self._happen("load")
        return await super().load(entities, snapshots=snapshots)

    async def outbox(self, partition: int, limit: int = 1_000, skip: int = 0) -> OutboxPage:
        await self._happen("outbox")
        return await super().outbox(partition, limit, skip)

    async def timers(self, partitions: Sequence[int]) -> dict[str, int]:
        await self._happen("timers")
        return await super().timers(partitions)

    async def history(self, entity: str, after: int = 0, limit: int = 1_000) -> list[bytes]:
        await self._happen("history")
        return await super().history(entity, after, limit)


async def test_what_is_written_and_acknowledged_meanwhile_is_no_finding() -> None:
    log = BusyLog()
    writer = Writer(log)
    for number in range(6):
        await writer.sell(f"SO-{number}", f"GC-0000000{number}", snapshot=number % 2 == 0)
    turns = 0

    async def happen(_read: str) -> None:
        nonlocal turns
        turns += 1
        code = f"GC-0000000{turns % 6}"
        if turns % 7 == 0:
            await writer.sell(f"SO-NEW-{turns}", f"GC-NEW-{turns:05d}")
        elif turns % 5 == 0:
            await acknowledge_all(log)
        elif turns % 11 == 0 and writer.certificates[code][0].balance:
            await writer.certificate(code, r.Expired(writer.certificates[code][0].balance))
        elif writer.certificates[code][0].available > 10:
            await writer.spend(code, 10, snapshot=turns % 3 == 0)

    log.before = happen
    report = await proof(log)

    assert problems(report) == []
    assert turns > 40


async def test_a_timer_that_rang_is_put_off_by_the_retry_that_is_set(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    day_ms = 24 * HOUR_MS
    later = NOON + YEAR_MS + 1  # the certificate is to expire, and its timer has rung
    log._timers[partition_of(f"c:{ONE}", 4)][f"c:{ONE}"] = later + day_ms

    patient = await proof(log, f"c:{ONE}", now=later, policy=Policy(errand_retry_ms=day_ms))
    hasty = await proof(log, f"c:{ONE}", now=later)

    assert problems(patient) == []
    assert [problem.split(" to ")[0] for _, _, problem in problems(hasty)] == ["its timer is set"]


async def test_a_finding_is_sure_although_others_are_written_to(writer: Writer) -> None:
    log = BusyLog()
    writer = Writer(log)
    await writer.sell("SO-1", ONE)
    await writer.sell("SO-2", TWO)
    partition = partition_of(f"c:{ONE}", 4)
    log._timers[partition].pop(f"c:{ONE}")

    async def happen(_read: str) -> None:
        await writer.spend(TWO, 1)

    log.before = happen
    report = await proof(log)

    assert [(entity, problem.split(",")[0]) for entity, _, problem in problems(report)] == [
        (f"c:{ONE}", "no timer will wake it")
    ]


async def test_what_never_holds_still_is_left_undecided() -> None:
    log = BusyLog()
    writer = Writer(log)
    await writer.sell("SO-1", ONE)
    partition = partition_of(f"c:{ONE}", 4)

    async def happen(read: str) -> None:
        if read == "timers":
            await writer.spend(ONE, 1)
            log._timers[partition].pop(f"c:{ONE}")

    log.before = happen
    report = await proof(log)

    assert problems(report) == []
    assert report.undecided == (f"c:{ONE}",)


@pytest.mark.parametrize("acknowledged", [0, 1, 400, 1_000, 1_500, 2_600])
async def test_an_outbox_of_many_pages_is_read_while_it_shrinks(acknowledged: int) -> None:
    log = BusyLog()
    writer = Writer(log)
    await writer.sell("SO-1", ONE)
    await writer.spend(ONE, 1, 1_500)
    partition = partition_of(f"c:{ONE}", 4)
    reads = 0

    async def happen(read: str) -> None:
        nonlocal reads
        reads += read == "outbox"
        page = await log.outbox(partition, 0)
        if reads % 3 == 0:
            await log.acknowledge(partition, page.head, min(acknowledged, page.size))

    log.before = happen

    assert problems(await proof(log)) == []
    log.before = None
    log._outboxes[partition].append(b"nonsense")
    assert any("not a publication" in problem for _, _, problem in problems(await proof(log)))


async def test_long_histories_are_read_in_pages(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    await writer.spend(ONE, 1, 1_300, snapshot=True)
    await writer.spend(ONE, 1, 700)

    assert problems(await proof(log)) == []
    log._records[partition_of(f"c:{ONE}", 4)][f"c:{ONE}"][1_999] = b"nonsense"

    assert (f"c:{ONE}", 2_000, "the chain breaks here: a record was changed, dropped or moved") in problems(
        await proof(log)
    )


async def test_more_entities_than_one_group_are_verified(log: MemoryLog, writer: Writer) -> None:
    for number in range(150):
        await writer.sell(f"SO-{number}", f"GC-{number:08d}")

    report = await proof(log)

    assert (report.findings, report.certificates, report.orders) == ((), 150, 150)
    assert report.balances == {"RUB": 150 * PRICE}


async def test_an_order_that_is_broken_says_nothing_about_certificates(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    stored, _ = codec.encode(codec.START, codec.decode(log._records[partition_of("o:SO-1", 4)]["o:SO-1"][0]))
    await log.append(Batch((Change("o:SO-2", 0, (stored, b"nonsense")),)))

    assert {one.entity for one in (await proof(log)).findings} == {"o:SO-2"}


async def test_a_well_chained_record_of_a_later_kind_is_told(log: MemoryLog, writer: Writer) -> None:
    await writer.sell("SO-1", ONE)
    records = log._records[partition_of(f"c:{ONE}", 4)][f"c:{ONE}"]
    body = b"\x93\x01\x02\x03"
    records[-1] = blake2b(records[-2][: codec.LINK_BYTES] + body, digest_size=codec.LINK_BYTES).digest() + body

    found = problems(await proof(log))

    assert [(entity, version) for entity, version, _ in found] == [(f"c:{ONE}", 3)]
    assert "not a record" in found[0][2]
