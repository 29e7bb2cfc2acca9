"""What subscribers are told, and what they are not."""

from typing import Any

import msgspec

from ledger.certificate import decide
from ledger.commands import (
    SYSTEM,
    Authorize,
    Block,
    Capture,
    CertificateCommand,
    IssuedCvc,
    Origin,
    ReissueCvc,
    Release,
    Report,
    Tick,
    Void,
)
from ledger.identifiers import AUTHORIZATION, OPERATION, STATE_EVENT, TRANSACTION_EVENT, identifier
from ledger.money import DAY_MS, rfc3339
from ledger.publications import Publication, published
from tests.unit.ledger.stage import (
    CODE,
    ORDER_ID,
    SHOP,
    START,
    SUPPORT,
    TILL,
    YEAR_MS,
    OnStage,
    activate,
    active,
    reserved,
)


def tell(stage: OnStage, command: CertificateCommand, origin: Origin = TILL) -> list[Publication]:
    before = stage.state
    decision = decide(before, command, origin, stage.now)
    stage.tell(command, origin)
    return published(before, decision)


def value(publication: Publication) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(publication.value)
    return decoded


def kinds(publications: list[Publication]) -> list[tuple[str, str, int]]:
    """Topic, type or status, and version of each."""
    values = [(one.topic.removeprefix("GiftCertificate"), value(one)) for one in publications]
    return [(topic, one.get("type") or one["status"], one["version"]) for topic, one in values]


def op(version: int) -> str:
    return identifier(OPERATION, CODE, version)


def au(version: int) -> str:
    return identifier(AUTHORIZATION, CODE, version)


def test_an_activation_tells_the_transaction_and_the_state() -> None:
    stage = reserved()

    transaction, state = tell(stage, activate(), SYSTEM)

    assert (transaction.key, transaction.at, state.key) == (CODE, START, CODE)
    assert value(transaction) == {
        "eventId": identifier(TRANSACTION_EVENT, CODE, 2),
        "transactionId": op(2),
        "type": "Activate",
        "code": CODE,
        "amount": 1_000,
        "currency": "RUB",
        "balanceBefore": 0,
        "balanceAfter": 1_000,
        "version": 2,
        "authorizationId": None,
        "voidedTransactionId": None,
        "orderId": ORDER_ID,
        "orderLineId": "1",
        "channel": "OnlineStore",
        "client": "shop",
        "reference": None,
        "occurredAt": rfc3339(START),
    }
    assert value(state) == {
        "eventId": identifier(STATE_EVENT, CODE, 2),
        "code": CODE,
        "status": "Active",
        "currency": "RUB",
        "denomination": 1_000,
        "balance": 1_000,
        "held": 0,
        "available": 1_000,
        "version": 2,
        "channel": "OnlineStore",
        "orderId": ORDER_ID,
        "orderLineId": "1",
        "activatedAt": rfc3339(START),
        "expiresAt": rfc3339(START + YEAR_MS),
        "occurredAt": rfc3339(START),
    }
    assert b"cvc" not in (transaction.value + state.value).lower()


def test_a_capture_and_its_void_name_the_authorization_and_each_other() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB", reference="POS-7/991"))

    capture = value(tell(stage, Capture(au(3), 300))[0])
    void = value(tell(stage, Void(op(4), 100))[0])

    names = ("type", "amount", "balanceBefore", "balanceAfter", "authorizationId", "voidedTransactionId", "reference")
    assert [capture[name] for name in names] == ["Capture", 300, 1_000, 700, au(3), None, "POS-7/991"]
    assert [void[name] for name in names] == ["Void", 100, 700, 800, au(3), op(4), None]
    assert (capture["client"], capture["channel"], capture["transactionId"]) == ("till", "Pos", op(4))


def test_an_undone_sale_names_the_activation() -> None:
    transaction, state = tell(active(), Void(op(2)), SHOP)

    names = ("type", "amount", "balanceBefore", "balanceAfter", "authorizationId", "voidedTransactionId")
    assert [value(transaction)[name] for name in names] == ["Void", 1_000, 1_000, 0, None, op(2)]
    assert value(state)["status"] == "Cancelled"


def test_nobody_is_told_of_holds() -> None:
    stage = active()
    assert tell(stage, Authorize(400, "RUB")) == []
    assert tell(stage, Void(au(3))) == []
    assert tell(stage, Authorize(400, "RUB")) == []
    stage.now += DAY_MS
    assert tell(stage, Tick(), SYSTEM) == []


def test_a_kept_reservation_tells_the_state() -> None:
    kept = reserved(planned=500)
    kept.now += DAY_MS

    events = tell(kept, Report("lapse_allocation", "1", CODE, retained=True, order_id=ORDER_ID), SYSTEM)

    assert kinds(events) == [("State", "Reserved", kept.state.version)]


def test_a_new_cvc_tells_the_state_and_nothing_of_the_cvc() -> None:
    digest, message = b"new digits, hashed", b"new sealed SMS"

    (event,) = tell(active(), ReissueCvc(IssuedCvc(digest, message)), SUPPORT)

    assert kinds([event]) == [("State", "Active", 3)]
    assert b"cvc" not in event.value.lower()
    assert digest not in event.value
    assert message not in event.value


def test_what_moves_no_money_tells_the_state_alone() -> None:
    assert kinds(tell(active(), Block("stolen"), SUPPORT)) == [("State", "Blocked", 3)]
    stage = active()
    stage.tell(Authorize(1_000, "RUB"))
    stage.tell(Capture(au(3)))
    stage.now += YEAR_MS
    assert kinds(tell(stage, Tick(), SYSTEM)) == [("State", "Expired", 5)]


def test_a_code_that_was_given_back_is_forgotten_by_a_compacted_topic() -> None:
    (tombstone,) = tell(reserved(), Release(ORDER_ID, "1", "cancelled"), SYSTEM)

    assert (tombstone.topic, tombstone.key, tombstone.value) == ("GiftCertificateState", CODE, b"")


def test_each_record_of_a_decision_is_told_with_the_state_that_it_left() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB"))
    stage.tell(Capture(au(3)))
    stage.now += YEAR_MS

    events = tell(stage, Void(op(4)))

    assert kinds(events) == [
        ("Transaction", "Expire", 5),
        ("State", "Expired", 5),
        ("Transaction", "Void", 6),
        ("State", "Active", 6),
    ]
    assert [value(event)["expiresAt"] for event in (events[1], events[3])] == [
        rfc3339(START + YEAR_MS),
        rfc3339(stage.now + 30 * DAY_MS),
    ]
