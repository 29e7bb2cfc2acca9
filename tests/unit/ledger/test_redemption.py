"""Authorization, capture and inquiry: what they do, and which refusal comes first."""

import pytest

from ledger import records as r
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.commands import SYSTEM, Authorize, Block, Capture, CertificateCommand, Inquire, Join, Tick, Void
from ledger.money import HOUR_MS
from ledger.policy import DEFAULT_POLICY
from ledger.records import Status
from tests.unit.ledger.stage import (
    CODE,
    CVC,
    ORDER_ID,
    OTHER_TILL,
    PAYMENTS,
    SHOP,
    SITE,
    START,
    SUPPORT,
    TILL,
    YEAR_MS,
    OnStage,
    active,
    reserved,
)

QUARTER_MS = 900_000


def cancelled() -> OnStage:
    stage = active()
    stage.tell(Void(stage.last()), SUPPORT)
    return stage


def blocked() -> OnStage:
    stage = active()
    stage.tell(Block("stolen"), SUPPORT)
    return stage


def expired() -> OnStage:
    stage = active()
    stage.now += YEAR_MS
    stage.tell(Tick(), SYSTEM)
    return stage


def depleted() -> OnStage:
    stage = holding(1_000)
    stage.tell(Capture(stage.hold()))
    return stage


def holding(amount: int = 400) -> OnStage:
    stage = active()
    stage.tell(Authorize(amount, "RUB", reference="POS-7/991"))
    return stage


def test_a_hold_takes_from_what_is_available_and_not_from_the_balance() -> None:
    stage = holding(400)

    assert stage.records[-1].body == r.Held(400, START + QUARTER_MS, "POS-7/991")
    assert (stage.records[-1].key, stage.records[-1].fingerprint) == (TILL.key, TILL.fingerprint)
    assert (stage.state.balance, stage.state.held, stage.state.available) == (1_000, 400, 600)


def test_a_hold_lives_as_long_as_was_asked() -> None:
    stage = active()

    assert stage.tell(Authorize(1, "RUB", ttl_ms=HOUR_MS)) == (r.Held(1, START + HOUR_MS),)


@pytest.mark.parametrize(
    ("amount", "partial", "authorized"),
    [(600, False, 600), (601, False, None), (601, True, 600), (599, True, 599), (0, False, None), (-1, True, None)],
)
def test_no_hold_takes_more_than_is_available(amount: int, partial: bool, authorized: int | None) -> None:  # noqa: FBT001
    stage = holding(400)

    decision = stage.ask(Authorize(amount, "RUB", allow_partial=partial))

    if authorized is None:
        assert decision.refused is not None
        assert decision.refused.code == "InsufficientFunds"
        assert decision.refused.figures == {"available": 600}
        assert decision.state == stage.state
    else:
        assert decision.state.held == 400 + authorized


def test_a_partial_approval_of_nothing_is_none() -> None:
    assert depleted().refusal(Authorize(1, "RUB", allow_partial=True)) == "InsufficientFunds"


@pytest.mark.parametrize(
    ("stage", "refusal"),
    [
        (OnStage(), "CertificateNotFound"),
        (reserved(), "CertificateNotActive"),
        (cancelled(), "CertificateNotActive"),
        (blocked(), "CertificateBlocked"),
        (expired(), "CertificateExpired"),
    ],
)
def test_what_is_not_open_is_refused_by_its_name_to_tills_whether_they_authorize_or_inquire(
    stage: OnStage, refusal: str
) -> None:
    assert stage.refusal(Authorize(2_000, "USD")) == refusal
    assert stage.refusal(Inquire()) == refusal


def test_the_currency_comes_before_the_amount() -> None:
    assert active().refusal(Authorize(2_000, "USD")) == "CurrencyMismatch"


@pytest.mark.parametrize("cvc", [None, b"wrong", CVC])
@pytest.mark.parametrize("stage", [OnStage(), reserved(), cancelled(), blocked(), expired()])
@pytest.mark.parametrize("command", [Authorize, Inquire])
def test_where_the_cvc_is_required_nothing_but_the_refusal_is_told(
    stage: OnStage, cvc: bytes | None, command: type[CertificateCommand]
) -> None:
    asked = Inquire(cvc) if command is Inquire else Authorize(1, "RUB", cvc)

    decision = stage.ask(asked, SITE)

    assert decision.refused == OnStage().ask(Inquire(), SITE).refused
    assert decision.refused is not None
    assert decision.refused.code == "CertificateRefused"
    assert decision.attempts == (None if cvc is None else Attempts(wrong=1))


def test_the_right_cvc_opens_an_active_and_a_depleted_certificate() -> None:
    assert active().tell(Authorize(1, "RUB", CVC), SITE)
    assert depleted().tell(Inquire(CVC), SITE) == ()
    assert depleted().refusal(Authorize(1, "RUB", CVC), SITE) == "InsufficientFunds"


@pytest.mark.parametrize(
    ("stage", "refusal"),
    [
        (OnStage(), "CertificateNotFound"),
        (reserved(), "CertificateNotActive"),
        (active(), "CvcMismatch"),
        (blocked(), "CvcMismatch"),
    ],
)
def test_a_cvc_that_a_till_gives_is_checked_and_counted(stage: OnStage, refusal: str) -> None:
    decision = stage.ask(Inquire(b"wrong"))

    assert decision.refused is not None
    assert decision.refused.code == refusal
    assert decision.attempts == Attempts(wrong=1)


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (Inquire(CVC), None),
        (Authorize(1, "RUB", CVC), None),
        (Authorize(1, "USD", CVC), "CurrencyMismatch"),
        (Authorize(2_000, "RUB", CVC), "InsufficientFunds"),
    ],
)
def test_a_right_cvc_ends_the_count_whatever_comes_after(command: CertificateCommand, refusal: str | None) -> None:
    decision = active().ask(command, attempts=Attempts(wrong=2))

    assert (decision.refused and decision.refused.code) == refusal
    assert decision.attempts == NO_ATTEMPTS
    assert active().ask(command).attempts is None


def test_a_right_cvc_on_a_blocked_certificate_ends_the_count_of_a_till() -> None:
    assert blocked().ask(Inquire(CVC), attempts=Attempts(wrong=2)).attempts == NO_ATTEMPTS


def test_while_attempts_are_locked_no_cvc_is_looked_at_but_whoever_needs_none_goes_on() -> None:
    stage = holding(400)
    locked = Attempts(wrong=3, locked_until=START + 29_001)

    for origin in (SITE, TILL):
        refused = stage.ask(Inquire(CVC), origin, attempts=locked).refused
        assert refused is not None
        assert (refused.code.value, refused.figures) == ("RateLimited", {"retryAfter": 30})
    assert stage.ask(Inquire(), attempts=locked).refused is None
    assert stage.ask(Capture(stage.hold()), attempts=locked).refused is None
    assert stage.ask(Void(stage.hold()), attempts=locked).refused is None


@pytest.mark.parametrize(
    ("amount", "final", "body", "balance", "held"),
    [
        (None, True, r.Captured(3, 400, final=True, reference="POS-7/991"), 600, 0),
        (400, False, r.Captured(3, 400, final=True, reference="POS-7/991"), 600, 0),
        (100, True, r.Captured(3, 100, final=True, released=300, reference="POS-7/991"), 900, 0),
        (100, False, r.Captured(3, 100, final=False, reference="POS-7/991"), 900, 300),
    ],
)
def test_a_capture_takes_from_the_hold_and_the_last_one_frees_the_rest(
    amount: int | None,
    final: bool,  # noqa: FBT001
    body: r.AnyBody,
    balance: int,
    held: int,
) -> None:
    stage = holding(400)

    assert stage.tell(Capture(stage.hold(), amount, final)) == (body,)
    assert (stage.state.balance, stage.state.held) == (balance, held)


def test_a_hold_is_captured_in_parts_until_nothing_is_left() -> None:
    stage = holding(400)
    hold = stage.hold()

    stage.tell(Capture(hold, 150, final=False))
    stage.tell(Capture(hold, 150, final=False))

    assert stage.refusal(Capture(hold, 101, final=False)) == "CaptureExceedsAuthorization"
    stage.tell(Capture(hold))
    assert stage.refusal(Capture(hold)) == "AuthorizationAlreadyCaptured"
    assert stage.state.balance == 600


def test_a_capture_of_the_last_money_depletes_and_a_blocked_certificate_stays_blocked() -> None:
    assert depleted().state.status is Status.DEPLETED
    stage = holding(1_000)
    hold = stage.hold()
    stage.tell(Block("stolen"), SUPPORT)

    stage.tell(Capture(hold))

    assert stage.state.status is Status.BLOCKED


def test_captures_have_one_refusal_and_the_first_that_applies() -> None:
    stage = holding(400)
    hold = stage.hold()
    assert stage.refusal(Capture("au_3_forged")) == "AuthorizationNotFound"
    assert stage.refusal(Capture(stage.last())) == "AuthorizationNotFound"
    assert stage.refusal(Capture(hold.replace("au_", "op_"))) == "AuthorizationNotFound"
    assert stage.refusal(Capture(hold, 401), OTHER_TILL) == "Forbidden"
    assert stage.refusal(Capture(hold, 401)) == "CaptureExceedsAuthorization"
    assert stage.refusal(Capture(hold, 0)) == "CaptureExceedsAuthorization"
    assert stage.refusal(Capture(hold, 400), PAYMENTS) is None

    stage.tell(Void(hold))
    assert stage.refusal(Capture(hold), OTHER_TILL) == "Forbidden"
    assert stage.refusal(Capture(hold)) == "AuthorizationVoided"


def test_a_hold_cannot_be_captured_from_the_millisecond_on_in_which_it_expires() -> None:
    stage = holding(400)
    hold = stage.hold()
    stage.now += QUARTER_MS - 1
    assert stage.refusal(Capture(hold)) is None

    stage.now += 1

    decision = stage.ask(Capture(hold))
    assert decision.refused is not None
    assert decision.refused.code == "AuthorizationExpired"
    assert decision.records == ()
    assert decision.state == stage.state
    assert stage.tell(Tick(), SYSTEM) == (r.HoldLapsed(3, 400),)
    assert stage.refusal(Capture(hold)) == "AuthorizationExpired"
    assert stage.state.available == 1_000


def test_what_time_has_brought_about_is_recorded_before_the_command_that_finds_it() -> None:
    stage = holding(1_000)
    stage.now += QUARTER_MS

    decision = stage.ask(Authorize(1_000, "RUB"))

    assert [record.body for record in decision.records] == [
        r.HoldLapsed(3, 1_000),
        r.Held(1_000, stage.now + QUARTER_MS),
    ]
    assert [record.key for record in decision.records] == [b"", TILL.key]
    assert [record.client for record in decision.records] == ["ledger", "till"]


def test_a_hold_outlives_its_certificate_and_what_a_capture_frees_is_written_off() -> None:
    stage = active()
    stage.now += YEAR_MS - 1_000
    stage.tell(Authorize(400, "RUB"))
    hold = stage.hold()
    stage.now += 1_000
    assert stage.tell(Tick(), SYSTEM) == (r.Expired(600),)

    bodies = stage.tell(Capture(hold, 300))

    assert bodies == (r.HoldVoided(3, 100, "expired"), r.Expired(100), r.Captured(3, 300, final=True))
    assert stage.records[-1].key == TILL.key
    assert (stage.state.balance, stage.state.status) == (0, Status.EXPIRED)


def test_a_clock_that_goes_back_counts_as_standing_still() -> None:
    stage = holding(400)
    stage.now -= HOUR_MS

    assert stage.tell(Authorize(1, "RUB")) == (r.Held(1, START + QUARTER_MS),)


def test_the_holder_of_a_code_that_only_joined_its_line_learns_that_it_is_not_active() -> None:
    stage = reserved()
    stage.tell(Join(ORDER_ID, "1", 500, "RUB"), SHOP)

    assert stage.refusal(Inquire()) == "CertificateNotActive"
    assert stage.state.code == CODE
    assert stage.state.next_lapse is None
    assert DEFAULT_POLICY.hold_ttl_ms == QUARTER_MS
