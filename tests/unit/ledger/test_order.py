"""The order's rules: its plan, its payments, its codes, and what its certificates answer."""

import msgspec
import pytest
from msgspec.structs import replace

from ledger import order
from ledger import records as r
from ledger.commands import (
    SYSTEM,
    Activate,
    Allocate,
    Authorize,
    Join,
    LapseAllocation,
    LineKey,
    Look,
    OrderCommand,
    Release,
    Report,
    Tick,
)
from ledger.errands import ErrandCommand, Grant
from ledger.order import Line, Order
from ledger.policy import DEFAULT_POLICY
from tests.unit.ledger.stage import CODE, ORDER_ID, OTHER, RECIPIENT, START, OrderOnStage, paid, placed

PUT = Allocate("1", CODE)


def staged(*commands: OrderCommand) -> OrderOnStage:
    stage = OrderOnStage()
    for command in commands:
        stage.tell(command)
    return stage


def owed_commands(stage: OrderOnStage) -> list[ErrandCommand]:
    return [errand.command for errand in order.errands(stage.state, START)]


def report(errand: str, refusal: str | None = None, planned: int | None = None) -> Report:
    return Report(errand, "1", CODE, refusal, planned, None if planned is None else "RUB", order_id=ORDER_ID)


ISSUED = report("activate", planned=100)


# --- the plan ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (placed(1, l1=100), placed(1, l1=200), False),
        (placed(2, l1=100), placed(1, l1=200), False),
        (placed(1, l1=100), placed(2, l1=200), True),
        (placed(1, l1=100), placed(1, cancelled=True), True),
        (placed(1, cancelled=True), placed(1, l1=100), False),
        (placed(1, cancelled=True), placed(2, l1=100), True),
    ],
)
def test_the_highest_version_of_the_plan_wins_and_at_one_version_its_cancellation(
    first: OrderCommand,
    second: OrderCommand,
    taken: bool,  # noqa: FBT001
) -> None:
    stage = staged(first)

    assert bool(stage.tell(second)) == taken
    assert stage.tell(second) == ()


def test_a_plan_in_another_currency_is_refused() -> None:
    assert staged(placed(1, l1=100)).refusal(placed(2, l1=100, currency="USD")) == "CurrencyMismatch"


def test_a_cancellation_without_lines_keeps_those_that_were_planned() -> None:
    stage = staged(placed(1, l1=100, l2=200), placed(2, cancelled=True))

    assert stage.state.lines == {"1": Line(100, RECIPIENT), "2": Line(200, RECIPIENT)}
    assert stage.line("1") == "Cancelled"


def test_the_data_keys_of_a_plan_are_kept_beside_the_records() -> None:
    keys = (LineKey("1", b"first"), LineKey("2", b"second"))
    command = replace(placed(1, l1=100, l2=200), keys=keys)

    decision = order.decide(Order(order_id=ORDER_ID), command, SYSTEM, START)
    again = order.decide(decision.state, command, SYSTEM, START)

    assert decision.keys == keys
    assert (again.records, again.keys) == ((), ())
    (record,) = decision.records
    assert b"first" not in msgspec.msgpack.encode(record)


def test_of_a_line_that_was_issued_a_new_version_brings_no_recipient() -> None:
    stage = staged(PUT, placed(l1=100, l2=200), paid(l1=100, l2=200), ISSUED)
    command = replace(placed(2, l1=100, l2=200), keys=(LineKey("1", b"first"), LineKey("2", b"second")))

    decision = order.decide(stage.state, command, SYSTEM, START)

    (record,) = decision.records
    assert isinstance(record.body, r.Placed)
    assert [line.recipient for line in record.body.lines] == [None, RECIPIENT]
    assert decision.keys == (LineKey("2", b"second"),)
    assert decision.state.lines["1"].recipient == RECIPIENT


# --- the payments --------------------------------------------------------------------------------------------------


def test_the_highest_payment_version_wins() -> None:
    stage = staged(paid(2, l1=50))

    assert stage.tell(paid(2, l1=90)) == ()
    assert stage.tell(paid(1, l1=90)) == ()
    assert stage.state.collected("1") == 50
    assert stage.tell(paid(3, l1=70))
    assert (stage.state.collected("1"), stage.state.collected("2")) == (70, 0)


@pytest.mark.parametrize(
    ("outstanding", "flag", "settled"), [(0, True, True), (1, True, False), (0, False, False), (1, False, False)]
)
def test_an_order_is_settled_when_its_flag_and_its_sum_agree(outstanding: int, flag: bool, settled: bool) -> None:  # noqa: FBT001
    stage = staged(placed(l1=100), paid(outstanding=outstanding, settled=flag, l1=100))

    assert stage.state.settled == settled


def test_nothing_is_settled_before_the_order_is_known() -> None:
    stage = staged(paid(l1=100))
    assert stage.state.settled is False

    stage.tell(placed(l1=100))

    assert stage.state.settled


def test_a_payment_in_another_currency_is_refused_or_if_it_came_first_does_not_count() -> None:
    assert staged(placed(l1=100)).refusal(paid(currency="USD", l1=100)) == "CurrencyMismatch"
    stage = staged(paid(5, currency="USD", l1=100), paid(1, l1=40), paid(2, l1=50))
    assert stage.state.payment == stage.state.payments["USD"]

    stage.tell(placed(l1=100))

    assert stage.state.collected("1") == 50
    assert staged(paid(5, currency="USD", l1=100), placed(l1=100)).state.payment is None
    assert staged(paid(5, currency="USD", l1=100), placed(l1=100)).state.collected("1") == 0


# --- codes on lines ------------------------------------------------------------------------------------------------


def test_a_code_is_put_on_its_line_once() -> None:
    stage = staged(placed(l1=100))

    assert stage.tell(Allocate("1", CODE, probe=True)) == ()
    assert stage.tell(PUT) == (r.LineAllocated("1", CODE),)
    assert stage.tell(PUT) == ()


@pytest.mark.parametrize(
    ("stage", "command", "refusal"),
    [
        (staged(placed(cancelled=True, l1=100)), PUT, "OrderCancelled"),
        (staged(placed(cancelled=True, l1=100)), Allocate("9", CODE), "OrderCancelled"),
        (staged(placed(l1=100)), Allocate("9", CODE), "OrderLineNotFound"),
        (staged(PUT), Allocate("1", OTHER), "OrderLineAlreadyAllocated"),
        (staged(PUT), Allocate("1", OTHER, probe=True), "OrderLineAlreadyAllocated"),
        (staged(PUT), Allocate("2", CODE), "CodeAlreadySold"),
        (staged(PUT, placed(l2=100)), PUT, "OrderLineNotFound"),
    ],
)
def test_a_code_that_a_line_does_not_take(stage: OrderOnStage, command: OrderCommand, refusal: str) -> None:
    assert stage.refusal(command) == refusal


def test_the_code_of_an_activated_line_is_always_welcome() -> None:
    stage = staged(placed(l1=100), PUT, ISSUED, placed(2, cancelled=True))

    assert stage.tell(PUT) == ()


def test_a_grant_tells_the_plan_and_the_activation_that_is_due() -> None:
    assert order.grant(staged(PUT).state, "1", retained=True) == Grant(retained=True)
    assert order.grant(staged(placed(l1=100)).state, "1") == Grant(100, "RUB")
    due = Activate(ORDER_ID, "1", 100, "RUB", RECIPIENT)
    assert order.grant(staged(placed(l1=100), paid(l1=100)).state, "1") == Grant(100, "RUB", due)


def test_a_code_that_was_reserved_anew_is_put_on_its_line_anew_and_one_of_before_changes_nothing() -> None:
    stage = staged(placed(l1=100), Allocate("1", CODE, reservation=4), report("join", planned=100))

    assert stage.tell(Allocate("1", CODE, probe=True, reservation=7)) == ()
    assert stage.tell(Allocate("1", CODE, reservation=1)) == ()
    assert stage.tell(PUT) == ()
    assert stage.owed() == []
    assert stage.tell(Allocate("1", CODE, reservation=7)) == (r.LineAllocated("1", CODE, 7),)
    assert owed_commands(stage) == [Join(ORDER_ID, "1", 100, "RUB", 7)]


def test_what_is_granted_and_owed_names_the_reservation() -> None:
    stage = staged(placed(l1=100), Allocate("1", CODE, reservation=4), paid(l1=100))
    due = Activate(ORDER_ID, "1", 100, "RUB", RECIPIENT, reservation=4)

    assert order.grant(stage.state, "1").activate == due
    assert owed_commands(stage) == [due]
    stage.tell(placed(2, cancelled=True))
    assert owed_commands(stage) == [Release(ORDER_ID, "1", "order cancelled", 4)]


# --- the end of a reservation --------------------------------------------------------------------------------------

LAPSE = LapseAllocation("1", CODE)


@pytest.mark.parametrize(
    ("stage", "bodies", "retained"),
    [
        (staged(), (), False),
        (staged(PUT), (r.LineReleased("1", CODE, "lapsed"),), False),
        (staged(Allocate("1", OTHER)), (), False),
        (staged(Allocate("1", CODE, reservation=4)), (r.LineReleased("1", CODE, "lapsed"),), False),
        (staged(PUT, paid(l1=1)), (), True),
        (staged(placed(l1=100), PUT, ISSUED), (), True),
        (staged(paid(l1=100)), (), False),
        (staged(paid(l1=100), placed(l1=100)), (r.LineAllocated("1", CODE),), True),
        (staged(paid(l1=100), placed(l2=100)), (), False),
        (staged(paid(l1=100), placed(cancelled=True, l1=100)), (), False),
        (staged(paid(l1=100), placed(l1=100, l2=100), Allocate("2", CODE)), (), False),
    ],
)
def test_a_reservation_ends_unless_money_was_collected_for_it(
    stage: OrderOnStage,
    bodies: tuple[r.AnyBody, ...],
    retained: bool,  # noqa: FBT001
) -> None:
    assert stage.tell(LAPSE) == bodies
    assert order.retained(stage.state, LAPSE) == retained


# --- what certificates answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "bodies"),
    [
        (ISSUED, (r.LineActivated("1", CODE, 100, "RUB"),)),
        (report("activate"), (r.LineActivated("1", CODE),)),
        (report("release", "CodeAlreadySold"), (r.LineActivated("1", CODE),)),
        (report("release"), (r.LineReleased("1", CODE, "released"),)),
        (report("join", planned=100), (r.LinePlanTold("1", 100, "RUB"),)),
        (report("join"), ()),
        (report("join", "CertificateNotFound"), (r.LineReleased("1", CODE, "not reserved"),)),
        (report("activate", "CertificateNotFound"), (r.LineReleased("1", CODE, "not reserved"),)),
        (report("activate", "Forbidden"), (r.LineStuck("1", CODE, "activate", "Forbidden"),)),
        (report("bake"), (r.LineStuck("1", CODE, "bake", ""),)),
        (Report("activate", "1", OTHER), ()),
        (Report("activate", "2", CODE), ()),
    ],
)
def test_the_line_becomes_what_its_certificate_answers(told: Report, bodies: tuple[r.AnyBody, ...]) -> None:
    assert staged(placed(l1=100), PUT).tell(told) == bodies


@pytest.mark.parametrize(
    ("told", "bodies"),
    [
        (Report("release", "1", CODE, reservation=1), ()),
        (Report("join", "1", CODE, None, 100, "RUB", reservation=1), ()),
        (Report("activate", "1", CODE, "CertificateNotFound", reservation=1), ()),
        (Report("activate", "1", CODE, None, 100, "RUB", reservation=1), (r.LineActivated("1", CODE, 100, "RUB"),)),
        (Report("release", "1", CODE, reservation=4), (r.LineReleased("1", CODE, "released"),)),
        (LapseAllocation("1", CODE, reservation=1), ()),
        (LapseAllocation("1", CODE, reservation=4), (r.LineReleased("1", CODE, "lapsed"),)),
    ],
)
def test_what_is_said_of_an_earlier_reservation_of_the_code_is_nothing_to_this_one(
    told: OrderCommand, bodies: tuple[r.AnyBody, ...]
) -> None:
    assert staged(placed(l1=100), Allocate("1", CODE, reservation=4)).tell(told) == bodies


def test_nothing_is_heard_of_a_line_once_it_is_activated() -> None:
    stage = staged(placed(l1=100), PUT, ISSUED)

    assert stage.tell(report("release")) == ()
    assert stage.tell(ISSUED) == ()


@pytest.mark.parametrize("then", [placed(2, l1=200), placed(2, l2=200), placed(2, cancelled=True, l2=1)])
def test_a_line_shows_what_was_issued_however_late_the_order_hears_of_it(then: OrderCommand) -> None:
    stage = staged(placed(l1=100), PUT, paid(l1=100), then)

    stage.tell(ISSUED)

    assert stage.line() == "Activated"
    assert stage.state.lines["1"].planned == 100
    assert stage.owed() == []
    stage.tell(placed(3, l1=300, l2=100))
    assert (stage.state.lines["1"].planned, stage.state.lines["2"].planned) == (100, 100)


# --- what is owed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "owed"),
    [
        ([PUT, paid(l1=100)], []),
        ([PUT, placed(l1=100)], [Join(ORDER_ID, "1", 100, "RUB")]),
        ([PUT, placed(l1=100), report("join", planned=100)], []),
        ([PUT, placed(l1=100), report("join", planned=100), placed(2, l1=200)], [Join(ORDER_ID, "1", 200, "RUB")]),
        ([PUT, placed(l1=100), paid(l1=100)], [Activate(ORDER_ID, "1", 100, "RUB", RECIPIENT)]),
        ([PUT, placed(l1=100), paid(l1=100), ISSUED], []),
        ([PUT, placed(l1=100), paid(l1=99), report("join", planned=100)], []),
        ([PUT, placed(l1=100), report("join", planned=100), paid(outstanding=1, l1=100)], []),
        ([PUT, placed(l2=100)], [Release(ORDER_ID, "1", "line not in the order")]),
        ([PUT, placed(l1=100), placed(2, cancelled=True)], [Release(ORDER_ID, "1", "order cancelled")]),
        ([PUT, placed(l1=100), report("activate", "Forbidden")], []),
        ([PUT, placed(cancelled=True), placed(2, l1=100)], [Join(ORDER_ID, "1", 100, "RUB")]),
    ],
)
def test_what_an_order_owes_its_certificates(commands: list[OrderCommand], owed: list[object]) -> None:
    stage = staged(*commands)

    assert owed_commands(stage) == owed
    assert order.next_due(stage.state, DEFAULT_POLICY) == (START + 2_000 if owed else None)
    assert stage.tell(Tick()) == ()
    assert stage.tell(Look()) == ()


# --- where a line stands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ([placed(l1=100)], "Planned"),
        ([paid(l1=100)], "Planned"),
        ([placed(l1=100), PUT], "Reserved"),
        ([placed(l1=100), PUT, ISSUED], "Activated"),
        ([placed(l1=100), paid(l1=99)], "CoverageShort"),
        ([placed(l1=100), PUT, paid(l1=99)], "CoverageShort"),
        ([placed(l1=100), PUT, paid(l1=99), paid(2, l1=100)], "Reserved"),
        ([placed(l1=100), PUT, report("activate", "Forbidden")], "Stuck"),
        ([placed(cancelled=True, l1=100)], "Cancelled"),
        ([placed(l2=100), paid(l1=100)], "Cancelled"),
        ([placed(l1=100), PUT, ISSUED, placed(2, cancelled=True)], "Activated"),
    ],
)
def test_where_a_line_stands(commands: list[OrderCommand], status: str) -> None:
    assert staged(*commands).line() == status


def test_a_command_for_certificates_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="not an order's"):
        order.decide(Order(order_id=ORDER_ID), Authorize(1, "RUB"), SYSTEM, START)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "body", "problem"),
    [(5, r.LineAllocated("1", CODE), "cannot follow"), (1, r.Held(1, START), "not an order's record")],
)
def test_a_record_that_cannot_be_true_is_not_believed(version: int, body: r.AnyBody, problem: str) -> None:
    (record,), _ = order.advance(
        Order(order_id=ORDER_ID, version=version - 1), START, SYSTEM, r.LineAllocated("1", "x")
    )
    damaged = type(record)(**{name: getattr(record, name) for name in record.__struct_fields__} | {"body": body})

    with pytest.raises(ValueError, match=problem):
        order.evolve(Order(order_id=ORDER_ID), damaged)
