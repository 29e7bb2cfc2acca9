"""Block, unblock, a new CVC."""

import pytest

from ledger import records as r
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.commands import SYSTEM, Block, Capture, CertificateCommand, Inquire, IssuedCvc, ReissueCvc, Tick, Unblock
from ledger.commands import Authorize as Hold
from ledger.records import Status
from tests.unit.ledger.stage import CVC, SITE, SUPPORT, YEAR_MS, OnStage, active, reserved

NEW = ReissueCvc(IssuedCvc(b"new digits, hashed", b"new sealed SMS"))


def expired() -> OnStage:
    stage = active()
    stage.now += YEAR_MS
    stage.tell(Tick(), SYSTEM)
    return stage


@pytest.mark.parametrize("command", [Block("stolen"), Unblock("found"), NEW])
@pytest.mark.parametrize(
    ("stage", "refusal"),
    [
        (OnStage(), "CertificateNotFound"),
        (reserved(), "CertificateNotActive"),
        (expired(), "CertificateExpired"),
    ],
)
def test_support_acts_on_what_is_alive(stage: OnStage, command: CertificateCommand, refusal: str) -> None:
    assert stage.refusal(command, SUPPORT) == refusal


def test_blocking_and_unblocking_what_is_so_already_changes_nothing() -> None:
    stage = active()
    assert stage.tell(Unblock("found"), SUPPORT) == ()
    assert stage.tell(Block("stolen"), SUPPORT) == (r.Blocked("stolen"),)
    assert stage.tell(Block("again"), SUPPORT) == ()
    assert stage.tell(Unblock("found"), SUPPORT) == (r.Unblocked("found"),)


def test_an_unblocked_certificate_is_active_or_depleted_by_its_balance() -> None:
    for amount, status in ((400, Status.ACTIVE), (1_000, Status.DEPLETED)):
        stage = active()
        stage.tell(Hold(amount, "RUB"))
        hold = stage.hold()
        stage.tell(Block("stolen"), SUPPORT)
        stage.tell(Capture(hold))

        stage.tell(Unblock("found"), SUPPORT)

        assert stage.state.status is status


def test_a_new_cvc_voids_the_old_one_and_its_count() -> None:
    stage = active()

    decision = stage.ask(NEW, SUPPORT, Attempts(wrong=7, locked_until=10**15))

    assert [record.body for record in decision.records] == [r.CvcReissued(b"new digits, hashed")]
    assert (decision.attempts, decision.message) == (NO_ATTEMPTS, b"new sealed SMS")
    stage.tell(NEW, SUPPORT)
    assert stage.refusal(Inquire(CVC), SITE) == "CertificateRefused"
    assert stage.refusal(Inquire(b"new digits, hashed"), SITE) is None


def test_no_new_cvc_for_a_blocked_certificate_nor_without_anyone_to_send_it_to() -> None:
    nobody = active(recipient=None)
    assert nobody.refusal(NEW, SUPPORT) == "RecipientUnknown"
    assert active().refusal(ReissueCvc(), SUPPORT) == "RecipientUnknown"

    nobody.tell(Block("stolen"), SUPPORT)

    assert nobody.refusal(NEW, SUPPORT) == "CertificateBlocked"
