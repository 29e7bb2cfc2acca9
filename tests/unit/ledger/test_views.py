"""What callers are shown of a certificate, of what was done to it, and of an order."""

from typing import Any

import msgspec
import pytest

from ledger import views
from ledger.certificate import Certificate
from ledger.commands import (
    SYSTEM,
    Allocate,
    Authorize,
    Block,
    Capture,
    IssuedCvc,
    ReissueCvc,
    Release,
    Report,
    Reserve,
    Tick,
    Unblock,
    Void,
)
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.money import DAY_MS, rfc3339
from ledger.order import Order
from tests.unit.ledger.stage import (
    CODE,
    ORDER_ID,
    SHOP,
    START,
    SUPPORT,
    YEAR_MS,
    OnStage,
    OrderOnStage,
    active,
    paid,
    placed,
    reserved,
)


def shown(view: views.View) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(views.encode(view))
    return decoded


def au(version: int) -> str:
    return identifier(AUTHORIZATION, CODE, version)


def op(version: int) -> str:
    return identifier(OPERATION, CODE, version)


def test_a_reservation_shows_the_plan_as_soon_as_it_is_known() -> None:
    assert shown(views.reservation(reserved().state)) == {
        "certificateCode": CODE,
        "status": "Reserved",
        "orderId": ORDER_ID,
        "orderLineId": "1",
        "channel": "OnlineStore",
        "plannedDenomination": None,
        "currency": None,
        "reservedUntil": rfc3339(START + DAY_MS),
    }
    assert shown(views.reservation(reserved(planned=500).state))["plannedDenomination"] == 500
    assert shown(views.reservation(Certificate(code=CODE)))["orderId"] == ""
    assert shown(views.reservation(active().state))["reservedUntil"] is None


def test_an_authorization_a_capture_and_voids_are_shown_from_their_records() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB"))
    stage.tell(Capture(au(3), 150, final=False))
    stage.tell(Void(au(3)))
    stage.tell(Void(op(4), 50))
    state = stage.state
    sale = active()
    sale.tell(Void(op(2)), SHOP)

    answers = [views.outcome(state, record) for record in stage.records]

    assert answers[:2] == [None, None]
    common = {"certificateCode": CODE, "currency": "RUB"}
    assert [shown(answer) for answer in answers if answer] == [
        {
            **common,
            "authorizationId": au(3),
            "status": "Authorized",
            "amount": 400,
            "available": 600,
            "balance": 1_000,
            "expiresAt": rfc3339(START + 900_000),
        },
        {
            **common,
            "operationId": op(4),
            "type": "Capture",
            "authorizationId": au(3),
            "amount": 150,
            "balance": 850,
            "available": 600,
            "status": "Active",
            "version": 4,
        },
        {
            **common,
            "operationId": op(5),
            "type": "Void",
            "voids": au(3),
            "voidedType": "Authorization",
            "amount": 250,
            "balance": 850,
            "available": 850,
            "status": "Active",
            "version": 5,
        },
        {
            **common,
            "operationId": op(6),
            "type": "Void",
            "voids": op(4),
            "voidedType": "Capture",
            "amount": 50,
            "balance": 900,
            "available": 900,
            "status": "Active",
            "version": 6,
        },
    ]
    undone = views.outcome(sale.state, sale.records[-1])
    assert isinstance(undone, views.Voided)
    assert (undone.voids, undone.voided_type, undone.amount, undone.status) == (op(2), "Activation", 1_000, "Cancelled")


def test_what_is_answered_after_the_expiry_counts_what_was_written_off() -> None:
    stage = active()
    stage.now += YEAR_MS - 1
    stage.tell(Authorize(400, "RUB"))
    stage.tell(Authorize(300, "RUB"))
    stage.now += 1
    stage.tell(Tick(), SYSTEM)

    voided = stage.ask(Void(au(3), 100))
    stage.tell(Void(au(3), 100))
    captured = stage.ask(Capture(au(3), 50))

    outcomes = [views.outcome(decision.state, decision.outcome) for decision in (voided, captured)]
    shown_void, shown_capture = [shown(answer) for answer in outcomes if answer]
    for answer, decision, operation_id in ((shown_void, voided, op(6)), (shown_capture, captured, op(10))):
        state = decision.state
        assert answer["operationId"] == operation_id
        assert (answer["status"], answer["version"]) == (state.status.value, state.version)
        assert (answer["balance"], answer["available"]) == (state.balance, state.available)
    assert (shown_void["balance"], shown_void["available"], shown_void["version"]) == (600, 0, 7)
    assert (shown_capture["balance"], shown_capture["available"], shown_capture["version"]) == (300, 0, 10)


def test_a_balance_shows_what_is_there_and_what_is_available() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB"))

    assert shown(views.balance(stage.state)) == {
        "certificateCode": CODE,
        "status": "Active",
        "currency": "RUB",
        "balance": 1_000,
        "available": 600,
        "expiresAt": rfc3339(START + YEAR_MS),
    }


def test_a_certificate_shows_its_open_holds_in_their_order() -> None:
    stage = active()
    for amount in (400, 300, 200):
        stage.tell(Authorize(amount, "RUB", reference=f"POS/{amount}"))
    stage.tell(Capture(au(3), 100, final=False))
    stage.tell(Void(au(4)))

    view = shown(views.certificate(stage.state))

    assert (view["balance"], view["held"], view["available"], view["version"]) == (900, 500, 400, 7)
    assert (view["activationId"], view["activatedAt"]) == (op(2), rfc3339(START))
    assert view["holds"] == [
        {
            "authorizationId": au(version),
            "amount": left,
            "authorized": amount,
            "expiresAt": rfc3339(START + 900_000),
            "client": "till",
            "reference": f"POS/{amount}",
        }
        for version, left, amount in ((3, 300, 400), (5, 200, 200))
    ]
    assert shown(views.certificate(reserved().state))["activationId"] is None


def told(stage: OnStage) -> list[tuple[str, str, int | None]]:
    page = views.history(CODE, stage.records, "RUB", more=False)
    return [
        (one.type, one.operation_id, None if one.amount is msgspec.UNSET else one.amount) for one in page.operations
    ]


def test_the_history_names_everything_that_can_happen() -> None:
    stage = reserved(planned=500)
    stage.now += DAY_MS
    stage.tell(Report("lapse_allocation", "1", CODE, retained=True, order_id=ORDER_ID), SYSTEM)
    stage.tell(Release(ORDER_ID, "1", "cancelled"), SYSTEM)
    spent = active()
    spent.tell(Authorize(400, "RUB", ttl_ms=60_000))
    spent.tell(Authorize(300, "RUB"))
    spent.tell(Capture(au(4)))
    spent.tell(Block("stolen"), SUPPORT)
    spent.tell(Unblock("found"), SUPPORT)
    spent.tell(ReissueCvc(IssuedCvc(b"new")), SUPPORT)
    spent.now += YEAR_MS
    spent.tell(Tick(), SYSTEM)

    assert told(stage) == [
        ("Reserve", op(1), None),
        ("Join", op(2), None),
        ("Keep", op(3), None),
        ("Release", op(4), None),
    ]
    assert told(spent)[1:] == [
        ("Activate", op(2), 1_000),
        ("Authorize", au(3), 400),
        ("Authorize", au(4), 300),
        ("Capture", op(5), 300),
        ("Block", op(6), None),
        ("Unblock", op(7), None),
        ("ReissueCvc", op(8), None),
        ("Lapse", op(9), 400),
        ("Expire", op(10), 700),
    ]


def test_after_a_release_the_code_has_no_status() -> None:
    stage = reserved()
    stage.tell(Release(ORDER_ID, "1", "cancelled"), SYSTEM)

    entries = shown(views.history(CODE, stage.records, "RUB", more=False))["operations"]

    assert [(entry["type"], entry.get("status")) for entry in entries] == [("Reserve", "Reserved"), ("Release", None)]
    assert "status" not in entries[-1]


def test_an_entry_of_the_history_shows_what_applies_and_leaves_out_the_rest() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB", reference="POS-7/991"))
    stage.tell(Capture(au(3), 100))
    stage.tell(Void(op(4), 50, "returned"))

    page = shown(views.history(CODE, stage.records, "RUB", more=True))

    assert page["next"] == 5
    common = {"occurredAt": rfc3339(START), "client": "till", "channel": "Pos", "status": "Active", "currency": "RUB"}
    assert page["operations"][1:] == [
        common
        | {"operationId": op(2), "type": "Activate", "version": 2, "balance": 1_000, "held": 0, "available": 1_000}
        | {"amount": 1_000, "orderId": ORDER_ID, "orderLineId": "1", "expiresAt": rfc3339(START + YEAR_MS)}
        | {"client": "shop", "channel": "OnlineStore"},
        common
        | {"operationId": au(3), "type": "Authorize", "version": 3, "balance": 1_000, "held": 400, "available": 600}
        | {"amount": 400, "authorizationId": au(3), "reference": "POS-7/991", "expiresAt": rfc3339(START + 900_000)},
        common
        | {"operationId": op(4), "type": "Capture", "version": 4, "balance": 900, "held": 0, "available": 900}
        | {"amount": 100, "authorizationId": au(3), "reference": "POS-7/991"},
        common
        | {"operationId": op(5), "type": "Void", "version": 5, "balance": 950, "held": 0, "available": 950}
        | {"amount": 50, "voids": op(4), "voidedType": "Capture", "reason": "returned"},
    ]


@pytest.mark.parametrize(("records", "more"), [(0, True), (2, False)])
def test_the_last_page_of_a_history_has_no_next(records: int, more: bool) -> None:  # noqa: FBT001
    assert views.history(CODE, active().records[:records], None, more=more).next is None


def test_no_view_shows_a_cvc_or_a_recipient() -> None:
    stage = active()
    everything = views.encode(views.history(CODE, stage.records, "RUB", more=False)) + views.encode(
        views.certificate(stage.state)
    )

    for secret in (b"cvc", b"recipient", b"sealed"):
        assert secret not in everything.lower()


def test_an_order_shows_its_lines_and_those_that_only_a_sale_or_a_payment_has_named() -> None:
    stage = OrderOnStage()
    stage.tell(paid(2, outstanding=30, l1=70, l3=5))
    stage.tell(Allocate("2", CODE))
    unknown = shown(views.order(stage.state))
    stage.tell(placed(l1=100, l2=200))

    known = shown(views.order(stage.state))

    assert (unknown["status"], unknown["orderVersion"], unknown["currency"]) == ("Unknown", 0, None)
    assert [line["orderLineId"] for line in unknown["certificateLines"]] == ["2", "1", "3"]
    assert known == {
        "orderId": ORDER_ID,
        "status": "Placed",
        "orderVersion": 1,
        "paymentVersion": 2,
        "channel": "OnlineStore",
        "currency": "RUB",
        "capturedAmount": 75,
        "outstandingAmount": 30,
        "isOrderSettled": False,
        "certificateLines": [
            line("1", 100, 70, None, "Planned"),
            line("2", 200, 0, CODE, "Reserved"),
            line("3", None, 5, None, "Cancelled"),
        ],
    }
    stage.tell(placed(2, cancelled=True))
    assert shown(views.order(stage.state))["status"] == "Cancelled"


def line(name: str, planned: int | None, collected: int, code: str | None, status: str) -> dict[str, object]:
    return {
        "orderLineId": name,
        "plannedDenomination": planned,
        "collectedAmount": collected,
        "certificateCode": code,
        "status": status,
    }


def test_an_order_that_nothing_was_paid_on_shows_so() -> None:
    stage = OrderOnStage()
    stage.tell(placed(l1=100))

    view = views.order(stage.state)

    assert (view.payment_version, view.captured_amount, view.outstanding_amount) == (0, 0, None)


def test_a_code_that_was_given_back_does_not_exist_nor_does_an_order_that_nobody_named() -> None:
    stage = reserved()
    assert views.exists(stage.state)
    stage.tell(Release(ORDER_ID, "1", "cancelled"), SYSTEM)
    assert not views.exists(stage.state)
    stage.tell(Reserve("SO-2", "1"), SHOP)
    assert views.exists(stage.state)
    assert not views.exists(Order(order_id=ORDER_ID))
    assert views.exists(Order(order_id=ORDER_ID, version=1))
