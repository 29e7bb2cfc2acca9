"""Each invariant says what is wrong when something is; and nothing when nothing is."""

import pytest
from immutables import Map
from msgspec.structs import replace

from ledger import order
from ledger import records as r
from ledger.certificate import Certificate
from ledger.certificate.state import Hold
from ledger.commands import RESTORE, Allocate, Authorize, Capture, OrderCommand, Report, Void
from ledger.invariants import order_violations, postings_sum_to_zero, violations
from ledger.order import Order
from ledger.order.state import Allocation, Line
from ledger.postings import Account, Posting
from ledger.records import Record, Status
from tests.unit.ledger.stage import CODE, ORDER_ID, OTHER, START, OnStage, OrderOnStage, active, paid, placed


def lived() -> OnStage:
    """A certificate with a hold, a capture and a void: 1 000 - 300 + 100, of which 200 held."""
    stage = active()
    stage.tell(Authorize(400, "RUB"))
    stage.tell(Capture(stage.hold(), 300))
    stage.tell(Void(stage.last(), 100))
    stage.tell(Authorize(200, "RUB"))
    return stage


def with_body(records: list[Record], version: int, body: r.AnyBody) -> list[Record]:
    return [replace(record, body=body) if record.version == version else record for record in records]


def test_nothing_is_wrong_with_what_the_rules_have_made() -> None:
    stage = lived()

    assert violations(stage.state, stage.records) == []
    assert violations(Certificate(code=CODE), []) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"balance": 900}, "balance is 900, entries sum to 800"),
        ({"held": 100}, "held is 100, entries sum to 200"),
        ({"holds": Map({6: Hold(200, 150, START, "till")})}, "held is 200, open holds sum to 150"),
        ({"status": Status.DEPLETED}, "Depleted with a balance of 800"),
        ({"status": Status.UNKNOWN}, "unknown with a balance of 800"),
        ({"status": Status.EXPIRED}, "Expired with 600 that was not written off"),
        ({"balance": 0}, "Active with a balance of 0"),
    ],
)
def test_a_state_that_its_history_does_not_lead_to(change: dict[str, object], problem: str) -> None:
    stage = lived()

    assert problem in violations(replace(stage.state, **change), stage.records)


@pytest.mark.parametrize(
    ("version", "body", "problem"),
    [
        (4, r.Captured(3, 401, final=True), "hold 3: 401 taken of 400"),
        (4, r.Captured(9, 1, final=True), "hold 9: 1 taken of 0"),
        (5, r.HoldVoided(3, 1), "hold 3: 401 taken of 400"),
        (5, r.HoldLapsed(3, 1), "hold 3: 401 taken of 400"),
        (5, r.CaptureVoided(4, 301), "capture 4: 301 voided of 300"),
        (5, r.CaptureVoided(2, 1), "capture 2: 1 voided of 0"),
    ],
)
def test_a_history_that_takes_or_gives_too_much(version: int, body: r.AnyBody, problem: str) -> None:
    stage = lived()

    assert problem in violations(stage.state, with_body(stage.records, version, body))


@pytest.mark.parametrize(("held", "balance"), [(801, 800), (-1, 800)])
def test_a_record_that_held_more_than_there_was(held: int, balance: int) -> None:
    stage = lived()
    records = [*stage.records[:-1], replace(stage.records[-1], held=held, balance=balance)]

    assert f"version 6: {held} held of a balance of {balance}" in violations(stage.state, records)


def test_postings_that_do_not_sum_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = active()
    monkeypatch.setattr("ledger.invariants.postings", lambda _: (Posting(Account.AVAILABLE, 7),))

    assert postings_sum_to_zero(stage.state, stage.records[:1]) == ["version 1: postings sum to 7"]


# --- orders --------------------------------------------------------------------------------------------------------


def sold(*more: OrderCommand) -> OrderOnStage:
    stage = OrderOnStage()
    issued = Report("activate", "1", CODE, None, 100, "RUB", order_id=ORDER_ID)
    for command in (placed(l1=100, l2=50), Allocate("1", CODE), paid(l1=100, l2=20), issued, *more):
        stage.tell(command)
    return stage


def test_nothing_is_wrong_with_an_order_that_the_rules_have_made() -> None:
    for stage in (OrderOnStage(), sold(), sold(placed(2, cancelled=True)), sold(paid(2), placed(2, l1=300))):
        assert order_violations(stage.state, stage.records) == []


@pytest.mark.parametrize(
    ("command", "again", "problem"),
    [
        (placed(2, l1=100, l2=50), 0, "version 5: the plan went from 2 to 2"),
        (paid(2, l1=100, l2=20), 0, "version 5: payments went from 2 to 2"),
    ],
)
def test_a_version_that_did_not_rise(command: OrderCommand, again: int, problem: str) -> None:
    stage = sold(command)
    doubled = [*stage.records, replace(stage.records[-1], version=stage.state.version + 1 + again)]

    found = order_violations(replace(stage.state, version=stage.state.version + 1), doubled)

    assert found == [problem.replace("version 5", "version 6")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"allocations": {}}, f"line 1: {CODE} was activated and is not there any more"),
        ({"allocations": {"1": Allocation(CODE)}}, f"line 1: {CODE} was activated and is not there any more"),
        (
            {"allocations": {"1": Allocation(OTHER, activated=True)}},
            f"line 1: {CODE} was activated and is not there any more",
        ),
        ({"lines": {}}, "line 1: 100 was issued, the plan says otherwise"),
        ({"lines": {"1": Line(200)}}, "line 1: 100 was issued, the plan says otherwise"),
        (
            {"allocations": {"1": Allocation(CODE, activated=True), "2": Allocation(CODE)}},
            f"{CODE} is on 2 lines",
        ),
    ],
)
def test_an_order_that_lost_what_was_issued_or_has_a_code_twice(change: dict[str, object], problem: str) -> None:
    stage = sold()

    assert order_violations(replace(stage.state, **change), stage.records) == [problem]


@pytest.mark.parametrize(
    ("payment", "collected"),
    [(paid(l1=99), 99), (paid(outstanding=1, l1=100), 0), (paid(settled=False, l1=100), 0), (paid(l2=100), 0)],
)
def test_value_that_nobody_paid_for(payment: OrderCommand, collected: int) -> None:
    stage = OrderOnStage()
    for command in (placed(l1=100), Allocate("1", CODE), payment):
        stage.tell(command)

    stage.tell(Report("activate", "1", CODE, None, 100, "RUB", order_id=ORDER_ID))

    assert order_violations(stage.state, stage.records) == [f"line 1: 100 was issued, {collected} was collected"]


def test_what_a_restore_puts_on_a_line_was_paid_for_before_the_ledger_hears_of_it() -> None:
    records, state = order.advance(
        Order(order_id=ORDER_ID), 1, RESTORE, r.LineAllocated("1", CODE), r.LineActivated("1", CODE, 100, "RUB")
    )

    assert order_violations(state, records) == []


def test_an_activation_whose_value_nobody_told_proves_nothing() -> None:
    stage = OrderOnStage()
    for command in (placed(l1=100), Allocate("1", CODE), Report("activate", "1", CODE)):
        stage.tell(command)

    assert order_violations(stage.state, stage.records) == []
    assert order_violations(Order(order_id=ORDER_ID), []) == []
