"""After a restore no line is sold a second time, whatever of its sale the backup has."""

import msgspec
import pytest

from gateway.lost import Beyond, LostCertificate
from gift_ledger.recovery.lines import LOST, Kept, LostLine, keep_lines
from ledger import order
from ledger import records as r
from ledger.certificate import Certificate, advance
from ledger.commands import RESTORE, Allocate, Place, PlannedLine, RecordPayment
from ledger.decision import Decision
from ledger.identifiers import certificate_entity, order_entity
from ledger.order import LineStatus, Order
from ledger.publications import STATE, publications
from persistence import codec
from persistence.errors import StorageError
from persistence.log import Batch, Change, Conflict, Log
from persistence.memory import MemoryLog
from persistence.reading import restored
from tests.contract.histories import NOON, ORDERS, PRICE, TILL, YEAR_MS, Writer

CODE, OTHER = "GC-00000001", "GC-00000002"
ORDER, LATER = "SO-1", "SO-2"
KINDS = {STATE: "es"}


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(4)


@pytest.fixture
def writer(log: MemoryLog) -> Writer:
    return Writer(log)


def reserved(order_id: str = ORDER, line_id: str = "1") -> r.Reserved:
    return r.Reserved(order_id, line_id, NOON + 86_400_000)


def activated(order_id: str = ORDER, line_id: str = "1") -> r.Activated:
    return r.Activated(order_id, line_id, PRICE, "RUB", NOON + YEAR_MS, b"digest", b"sealed")


def lost(code: str, *bodies: r.AnyBody, after: Certificate | None = None, move_only: bool = False) -> LostCertificate:
    """A certificate as the topics tell of it: what was done to it after the backup."""
    state = after or Certificate(code=code)
    known, beyond = state.version, Beyond(code)
    for body in bodies:
        (record,), state = advance(state, NOON, TILL, body)
        for event in publications(state, record):
            if not (move_only and event.topic == STATE):
                beyond.saw(KINDS.get(event.topic, "et"), record.version, event.value)
    return beyond.lost(known, state.version)


async def order_in(log: Log, order_id: str = ORDER) -> Order:
    (loaded,) = await log.load([order_entity(order_id)])
    state = await restored(log, order_entity(order_id), loaded)
    assert isinstance(state, Order)
    return state


def decided(state: Order, command: Place | RecordPayment | Allocate) -> Decision[Order]:
    return order.decide(state, command, ORDERS, NOON + 1)


def refusal_of_another_code(state: Order) -> str | None:
    refused = decided(state, Allocate("1", OTHER)).refused
    return None if refused is None else refused.code


def come_again(state: Order) -> Order:
    """The order after its events were read once more: it is paid."""
    place = Place(1, cancelled=False, channel="OnlineStore", currency="RUB", lines=(PlannedLine("1", PRICE),))
    state = decided(state, place).state
    return decided(state, RecordPayment(1, "RUB", PRICE, 0, settled=True, collected={"1": PRICE})).state


def kept(code: str, what: Kept, order_id: str = ORDER, line_id: str = "1") -> LostLine:
    return LostLine(order_id=order_id, order_line_id=line_id, code=code, kept=what)


async def test_a_line_that_was_issued_after_the_backup_is_not_sold_again_when_its_order_comes(log: MemoryLog) -> None:
    told = await keep_lines(log, [lost(CODE, reserved(), activated())], NOON)

    assert told == [kept(CODE, Kept.ACTIVATED)]
    state = come_again(await order_in(log))
    assert (state.settled, state.line_status("1")) == (True, LineStatus.ACTIVATED)
    assert state.lines["1"].planned == PRICE
    assert order.errands(state, NOON) == ()
    assert refusal_of_another_code(state) == "OrderLineAlreadyAllocated"


async def test_it_is_not_sold_before_its_order_comes_either(log: MemoryLog) -> None:
    await keep_lines(log, [lost(CODE, reserved(), activated())], NOON)

    assert refusal_of_another_code(await order_in(log)) == "OrderLineAlreadyAllocated"


async def test_the_issue_may_be_known_from_its_transaction_alone(log: MemoryLog) -> None:
    told = await keep_lines(log, [lost(CODE, reserved(), activated(), move_only=True)], NOON)

    assert told == [kept(CODE, Kept.ACTIVATED)]
    assert come_again(await order_in(log)).lines["1"].planned == PRICE


async def test_of_a_line_that_was_reserved_nobody_knows_whether_it_was_issued(log: MemoryLog) -> None:
    told = await keep_lines(log, [lost(CODE, reserved())], NOON)

    assert told == [kept(CODE, Kept.STUCK)]
    state = come_again(await order_in(log))
    assert (state.line_status("1"), state.allocations["1"].stuck) == (LineStatus.STUCK, LOST)
    assert order.errands(state, NOON) == ()
    assert refusal_of_another_code(state) == "OrderLineAlreadyAllocated"


async def test_a_line_that_the_backup_has_reserved_is_issued(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    before = writer.certificates[CODE][0]

    told = await keep_lines(log, [lost(CODE, activated(), after=before)], NOON)

    assert told == [kept(CODE, Kept.ACTIVATED)]
    state = come_again(await order_in(log))
    assert state.line_status("1") is LineStatus.ACTIVATED
    assert [one.body for one in await records(log)][-1] == r.LineActivated("1", CODE, PRICE, "RUB")
    assert [one.client for one in await records(log)][-1] == RESTORE.client
    assert "o:SO-1" not in await log.timers(range(log.partitions))


async def test_what_the_backup_knows_is_not_told_again(log: MemoryLog, writer: Writer) -> None:
    await writer.sell(ORDER, CODE)
    before = writer.certificates[CODE][0]
    spent = lost(CODE, r.Held(100, NOON + 900_000), r.Captured(before.version + 1, 100, final=True), after=before)
    version = (await order_in(log)).version

    assert await keep_lines(log, [spent], NOON) == [kept(CODE, Kept.ACTIVATED)]
    assert (await order_in(log)).version == version


async def test_an_order_that_had_yet_to_hear_of_the_issue_hears_of_it(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    before = await writer.certificate(CODE, activated())
    spent = (r.Held(100, NOON + 900_000), r.Captured(before.version + 1, 100, final=True))
    one = lost(CODE, *spent, after=before, move_only=True)
    assert one.sale is not None
    assert one.sale.denomination is None

    assert await keep_lines(log, [one], NOON) == [kept(CODE, Kept.ACTIVATED)]
    assert [one.body for one in await records(log)][-1] == r.LineActivated("1", CODE, PRICE, "RUB")


async def test_a_code_that_was_given_back_after_the_backup_frees_its_line(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    released = lost(CODE, r.Released("lapsed"), after=writer.certificates[CODE][0])

    assert await keep_lines(log, [released], NOON) == []
    assert refusal_of_another_code(await order_in(log)) is None


async def test_a_line_that_another_code_was_sold_on_has_that_one(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    released = lost(CODE, r.Released("lapsed"), after=writer.certificates[CODE][0])
    sold = lost(OTHER, reserved(), activated())

    assert await keep_lines(log, [released, sold], NOON) == [kept(OTHER, Kept.ACTIVATED)]
    assert (await order_in(log)).allocations["1"].code == OTHER


async def test_so_it_has_if_the_other_one_is_not_known_to_be_given_back(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])

    assert await keep_lines(log, [lost(OTHER, reserved(), activated())], NOON) == [kept(OTHER, Kept.ACTIVATED)]
    assert (await order_in(log)).allocations["1"].code == OTHER


async def test_of_two_codes_on_one_line_the_issued_one_stays(log: MemoryLog) -> None:
    both = [lost(CODE, reserved(), activated()), lost(OTHER, reserved())]

    assert await keep_lines(log, both, NOON) == [kept(CODE, Kept.ACTIVATED), kept(OTHER, Kept.CONTRADICTED)]
    assert (await order_in(log)).allocations["1"].code == CODE


async def test_a_code_that_was_sold_to_another_order_leaves_the_first_one(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    again = lost(CODE, r.Released("lapsed"), reserved(LATER), activated(LATER), after=writer.certificates[CODE][0])

    assert await keep_lines(log, [again], NOON) == [kept(CODE, Kept.ACTIVATED, LATER)]
    assert (await order_in(log)).allocations == {}
    assert (await order_in(log, LATER)).issued("1")


async def test_a_code_that_was_sold_on_another_line_leaves_the_first_one(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE, OTHER])
    before = {code: writer.certificates[code][0] for code in (CODE, OTHER)}
    swapped = [
        lost(code, r.Released("lapsed"), reserved(ORDER, line), activated(ORDER, line), after=before[code])
        for code, line in ((CODE, "2"), (OTHER, "1"))
    ]

    assert await keep_lines(log, swapped, NOON) == [
        kept(OTHER, Kept.ACTIVATED),
        kept(CODE, Kept.ACTIVATED, line_id="2"),
    ]
    state = await order_in(log)
    assert {line: held.code for line, held in state.allocations.items()} == {"1": OTHER, "2": CODE}


async def test_where_the_backup_has_issued_another_code_nothing_is_written(log: MemoryLog, writer: Writer) -> None:
    await writer.sell(ORDER, CODE)
    version = (await order_in(log)).version

    assert await keep_lines(log, [lost(OTHER, reserved(), activated())], NOON) == [kept(OTHER, Kept.CONTRADICTED)]
    assert (await order_in(log)).version == version


async def test_a_code_that_the_backup_has_issued_on_another_line_stays_there(log: MemoryLog, writer: Writer) -> None:
    await writer.order(ORDER, r.LineAllocated("2", CODE), r.LineActivated("2", CODE, PRICE, "RUB"))

    assert await keep_lines(log, [lost(CODE, reserved(), activated())], NOON) == [kept(CODE, Kept.CONTRADICTED)]
    assert set((await order_in(log)).allocations) == {"2"}


async def test_an_order_that_cannot_be_read_is_left_alone(log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    await log.append(Batch((Change(order_entity(ORDER), 0, (b"no record of ours at all",)),)))

    assert await keep_lines(log, [lost(CODE, reserved(), activated())], NOON) == [kept(CODE, Kept.UNREADABLE)]
    assert ORDER in caplog.text


async def test_a_certificate_that_cannot_be_read_is_known_from_kafka(log: MemoryLog) -> None:
    await log.append(Batch((Change(certificate_entity(CODE), 0, (b"no record of ours at all",)),)))

    assert await keep_lines(log, [lost(CODE, reserved(), activated())], NOON) == [kept(CODE, Kept.ACTIVATED)]


async def test_an_event_that_cannot_be_read_frees_no_line(log: MemoryLog, writer: Writer) -> None:
    await writer.reserve(ORDER, [CODE])
    beyond = Beyond(CODE)
    beyond.saw("es", 9, b'{"orderId": 7}')

    assert await keep_lines(log, [beyond.lost(2, 9)], NOON) == []
    assert (await order_in(log)).allocations["1"].code == CODE


async def test_told_twice_nothing_more_is_written(log: MemoryLog) -> None:
    one = [lost(CODE, reserved(), activated()), lost(OTHER, reserved(line_id="2"))]
    await keep_lines(log, one, NOON)
    version = (await order_in(log)).version

    await keep_lines(log, one, NOON)

    assert (await order_in(log)).version == version


async def test_somebody_who_writes_meanwhile_is_noticed(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def moved(_batch: Batch) -> Conflict:
        return Conflict(stale=("o:SO-1",))

    monkeypatch.setattr(log, "append", moved)

    with pytest.raises(StorageError, match="once more"):
        await keep_lines(log, [lost(CODE, reserved(), activated())], NOON)


def test_what_is_told_of_a_lost_certificate_says_what_its_owner_has() -> None:
    one = lost(CODE, reserved(), activated(), r.Held(100, NOON + 1), r.Captured(3, 100, final=True))

    assert msgspec.to_builtins(one)["sale"] == {
        "orderId": ORDER,
        "orderLineId": "1",
        "activated": True,
        "denomination": PRICE,
        "currency": "RUB",
        "balance": PRICE - 100,
    }


async def records(log: Log, order_id: str = ORDER) -> list[r.Record]:
    return [codec.decode(stored) for stored in await log.history(order_entity(order_id))]
