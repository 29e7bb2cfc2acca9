"""Voids: of a hold, a capture, an unused activation; and after the certificate has expired."""

import pytest

from ledger import records as r
from ledger.commands import SYSTEM, Authorize, Block, Capture, Origin, ReissueCvc, Tick, Unblock, Void
from ledger.identifiers import OPERATION, identifier
from ledger.money import DAY_MS
from ledger.records import Status
from tests.unit.ledger.stage import (
    CODE,
    OTHER_TILL,
    PAYMENTS,
    SHOP,
    SUPPORT,
    TILL,
    YEAR_MS,
    OnStage,
    active,
    reserved,
)

MONTH_MS = 30 * DAY_MS


def holding(amount: int = 400) -> tuple[OnStage, str]:
    stage = active()
    stage.tell(Authorize(amount, "RUB"))
    return stage, stage.hold()


def captured(amount: int = 400) -> tuple[OnStage, str]:
    stage, hold = holding(amount)
    stage.tell(Capture(hold))
    return stage, stage.last()


def expired_after_capture(amount: int = 400) -> tuple[OnStage, str]:
    stage, capture = captured(amount)
    stage.now += YEAR_MS
    return stage, capture


def test_a_voided_hold_lets_go_of_what_is_left() -> None:
    stage, hold = holding(400)
    stage.tell(Capture(hold, 150, final=False))

    assert stage.tell(Void(hold, reason="changed mind")) == (r.HoldVoided(3, 250, "changed mind"),)

    assert (stage.state.balance, stage.state.held) == (850, 0)
    assert stage.refusal(Void(hold)) == "OperationAlreadyVoided"


def test_a_hold_is_voided_in_parts_and_stays_open_for_the_rest() -> None:
    stage, hold = holding(400)

    stage.tell(Void(hold, 150))

    assert stage.state.held == 250
    assert stage.refusal(Void(hold, 251)) == "VoidExceedsOperation"
    assert stage.refusal(Void(hold, 0)) == "VoidExceedsOperation"
    assert stage.refusal(Capture(hold, 251)) == "CaptureExceedsAuthorization"
    stage.tell(Void(hold, 250))
    assert stage.refusal(Capture(hold)) == "AuthorizationVoided"


def test_a_capture_comes_back_in_parts_and_never_more_than_was_taken() -> None:
    stage, capture = captured(1_000)
    assert stage.state.status is Status.DEPLETED

    assert stage.tell(Void(capture, 300, "returned")) == (r.CaptureVoided(4, 300, "returned"),)

    assert (stage.state.status, stage.state.balance) == (Status.ACTIVE, 300)
    assert stage.refusal(Void(capture, 701)) == "VoidExceedsOperation"
    assert stage.refusal(Void(capture, -1)) == "VoidExceedsOperation"
    stage.tell(Void(capture))
    assert stage.state.balance == 1_000
    assert stage.refusal(Void(capture)) == "OperationAlreadyVoided"


def test_an_activation_that_was_never_used_is_undone_whole() -> None:
    stage = active()
    sale = stage.last()
    assert stage.refusal(Void(sale, 1_001), SHOP) == "VoidExceedsOperation"
    assert stage.refusal(Void(sale, 999), SHOP) == "OperationNotVoidable"

    assert stage.tell(Void(sale, 1_000, "gift not wanted"), SHOP) == (r.ActivationVoided(2, 1_000, "gift not wanted"),)

    assert (stage.state.status, stage.state.balance) == (Status.CANCELLED, 0)
    assert stage.refusal(Void(sale), SHOP) == "OperationAlreadyVoided"


def test_an_activation_on_which_only_holds_were_voided_was_never_used() -> None:
    stage, hold = holding()
    stage.tell(Void(hold))

    assert stage.tell(Void(identifier(OPERATION, CODE, 2)), SHOP) == (r.ActivationVoided(2, 1_000),)


@pytest.mark.parametrize("stage", [holding()[0], captured()[0]])
def test_an_activation_that_was_drawn_on_stays(stage: OnStage) -> None:
    assert stage.refusal(Void(identifier(OPERATION, CODE, 2)), SUPPORT) == "OperationNotVoidable"


def test_an_activation_is_not_undone_after_the_end_of_the_certificate() -> None:
    stage = active()
    sale = stage.last()
    stage.now += YEAR_MS

    assert stage.refusal(Void(sale), SUPPORT) == "CertificateExpired"


def lapsed() -> tuple[OnStage, str]:
    stage, hold = holding()
    stage.now += DAY_MS
    stage.tell(Tick(), SYSTEM)
    return stage, hold


def captured_hold() -> tuple[OnStage, str]:
    stage, hold = holding()
    stage.tell(Capture(hold))
    return stage, hold


def void_of_a_void() -> tuple[OnStage, str]:
    stage, capture = captured()
    stage.tell(Void(capture))
    return stage, stage.last()


def reservation() -> tuple[OnStage, str]:
    stage = active()
    return stage, identifier(OPERATION, CODE, 1)


@pytest.mark.parametrize(
    ("made", "refusal"),
    [
        (lapsed(), "OperationNotVoidable"),
        (captured_hold(), "OperationNotVoidable"),
        (void_of_a_void(), "OperationNotVoidable"),
        (reservation(), "OperationNotVoidable"),
        ((active(), identifier(OPERATION, CODE, 99)), "OperationNotFound"),
        ((active(), identifier(OPERATION, "GC-OTHER-01", 2)), "OperationNotFound"),
        ((reserved(), "nonsense"), "OperationNotFound"),
    ],
)
def test_what_cannot_be_voided(made: tuple[OnStage, str], refusal: str) -> None:
    stage, name = made

    assert stage.refusal(Void(name), SUPPORT) == refusal


@pytest.mark.parametrize(
    ("origin", "refusal"), [(TILL, None), (OTHER_TILL, "Forbidden"), (PAYMENTS, None), (SUPPORT, None)]
)
def test_a_till_voids_its_own_operations_and_payments_and_support_any(origin: Origin, refusal: str | None) -> None:
    for stage, name in (holding(), captured()):
        assert stage.refusal(Void(name), origin) == refusal
    assert active().refusal(Void(active().last()), OTHER_TILL) == "Forbidden"


def test_a_block_keeps_all_but_support_from_voiding() -> None:
    for stage, name in (holding(), captured()):
        stage.tell(Block("stolen"), SUPPORT)

        assert stage.refusal(Void(name), OTHER_TILL) == "Forbidden"
        assert stage.refusal(Void(name, 5_000)) == "CertificateBlocked"
        assert stage.refusal(Void(name), PAYMENTS) == "CertificateBlocked"
        stage.tell(Void(name), SUPPORT)
        assert (stage.state.status, stage.state.available) == (Status.BLOCKED, 1_000)


def test_money_that_comes_back_after_the_expiry_can_be_spent_for_a_month() -> None:
    stage, capture = expired_after_capture(400)

    bodies = stage.tell(Void(capture, 300))

    assert bodies == (r.Expired(600), r.CaptureVoided(4, 300, None, stage.now + MONTH_MS))
    assert (stage.state.status, stage.state.balance, stage.state.expires_at) == (
        Status.ACTIVE,
        300,
        stage.now + MONTH_MS,
    )
    assert stage.tell(Void(capture)) == (r.CaptureVoided(4, 100),)
    assert stage.tell(Authorize(400, "RUB"))
    stage.now += MONTH_MS
    assert stage.tell(Tick(), SYSTEM) == (r.HoldLapsed(8, 400), r.Expired(400))
    assert stage.refusal(Authorize(1, "RUB")) == "CertificateExpired"


def test_a_month_after_the_expiry_no_capture_comes_back() -> None:
    stage, capture = expired_after_capture()
    stage.now += MONTH_MS - 1
    assert stage.refusal(Void(capture, 5_000)) == "VoidExceedsOperation"

    stage.now += 1

    assert stage.refusal(Void(capture, 5_000)) == "CertificateExpired"


def test_an_expiry_does_not_lift_a_block() -> None:
    stage, capture = captured()
    stage.tell(Block("stolen"), SUPPORT)
    stage.now += YEAR_MS
    stage.tell(Tick(), SYSTEM)
    assert stage.records[-1].body == r.Expired(600)
    assert stage.refusal(Void(capture)) == "CertificateBlocked"

    stage.tell(Void(capture), SUPPORT)

    assert (stage.state.status, stage.state.balance) == (Status.BLOCKED, 400)
    stage.tell(Unblock("found"), SUPPORT)
    assert stage.state.status is Status.ACTIVE
    assert stage.refusal(ReissueCvc(), SUPPORT) == "RecipientUnknown"


def test_what_a_hold_gives_back_after_the_expiry_is_written_off() -> None:
    stage = active()
    stage.now += YEAR_MS - 1
    stage.tell(Authorize(400, "RUB"))
    hold = stage.hold()
    stage.now += 1

    decision = stage.ask(Void(hold))

    assert [record.body for record in decision.records] == [r.Expired(600), r.HoldVoided(3, 400), r.Expired(400)]
    assert [record.key for record in decision.records] == [b"", TILL.key, b""]
    assert decision.outcome.body == r.HoldVoided(3, 400)
    assert (decision.state.status, decision.state.balance) == (Status.EXPIRED, 0)
