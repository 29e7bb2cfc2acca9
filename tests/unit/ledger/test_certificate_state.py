"""How records change a certificate, what time brings about, and what is owed to the order."""

import pytest
from msgspec.structs import replace

from ledger import records as r
from ledger.certificate import Certificate, due, errands, evolve, next_due
from ledger.certificate.decide import settled
from ledger.certificate.state import LAPSES_MAX
from ledger.commands import SYSTEM, Allocate, Authorize, Block, Capture, LapseAllocation, Report, Tick, Void
from ledger.errands import Errand
from ledger.money import DAY_MS
from ledger.policy import DEFAULT_POLICY
from ledger.records import Record, Status
from tests.unit.ledger.stage import CODE, ORDER_ID, START, SUPPORT, YEAR_MS, OnStage, active, reserved

MINUTE_MS = 60_000


def held(*ttls: int) -> OnStage:
    stage = active()
    for ttl in ttls:
        stage.tell(Authorize(10, "RUB", ttl_ms=ttl))
    return stage


def test_records_lead_to_the_state_that_was_decided() -> None:
    stage = held(MINUTE_MS, MINUTE_MS)
    stage.tell(Capture(stage.hold(), 5, final=False))
    stage.tell(Void(stage.last()), SUPPORT)
    stage.tell(Block("stolen"), SUPPORT)
    stage.now += YEAR_MS
    stage.tell(Tick(), SYSTEM)

    state = Certificate(code=CODE)
    for record in stage.records:
        state = evolve(state, record)

    assert state == stage.state


def record_after(stage: OnStage, body: r.AnyBody, **changed: object) -> Record:
    last = stage.records[-1]
    made = replace(last, version=last.version + 1, body=body)
    return replace(made, **changed)


@pytest.mark.parametrize(
    ("body", "changed", "problem"),
    [
        (r.Held(10, START), {"held": 10, "version": 9}, "cannot follow"),
        (r.Held(10, START), {"held": 9}, "contradicts"),
        (r.Blocked("x"), {}, "contradicts"),
        (r.Expired(1_000), {"balance": 0}, "contradicts"),
        (r.LineAllocated("1", CODE), {}, "not a certificate's record"),
    ],
)
def test_a_record_that_cannot_be_true_is_not_believed(
    body: r.AnyBody, changed: dict[str, object], problem: str
) -> None:
    stage = active()

    with pytest.raises(ValueError, match=problem):
        evolve(stage.state, record_after(stage, body, **changed))


def test_holds_that_lapse_together_come_free_together() -> None:
    stage = held(MINUTE_MS, 3 * MINUTE_MS, MINUTE_MS, 2 * MINUTE_MS)
    assert next_due(stage.state, DEFAULT_POLICY) == START + MINUTE_MS
    stage.now += MINUTE_MS

    assert set(due(stage.state, stage.now)) == {r.HoldLapsed(3, 10), r.HoldLapsed(5, 10)}

    stage.tell(Tick(), SYSTEM)
    assert stage.state.held == 20
    assert next_due(stage.state, DEFAULT_POLICY) == START + 2 * MINUTE_MS
    stage.now = START + 3 * MINUTE_MS
    stage.tell(Tick(), SYSTEM)
    assert next_due(stage.state, DEFAULT_POLICY) == START + YEAR_MS


def test_more_lapses_than_fit_into_one_go_follow_with_the_next() -> None:
    stage = active(100_000)
    for _ in range(2 * LAPSES_MAX + 50):
        stage.tell(Authorize(10, "RUB", ttl_ms=MINUTE_MS))
    last = stage.hold()
    stage.now += YEAR_MS

    assert stage.refusal(Capture(last)) == "AuthorizationExpired"
    first = stage.tell(Tick(), SYSTEM)

    assert len(first) == LAPSES_MAX + 1
    assert first[-1] == r.Expired(100_000 - 10 * (LAPSES_MAX + 50))
    assert stage.refusal(Capture(last)) == "AuthorizationExpired"
    overdue = next_due(stage.state, DEFAULT_POLICY)
    assert overdue is not None
    assert overdue <= stage.now
    second = stage.tell(Tick(), SYSTEM)
    assert second[-1] == r.Expired(10 * LAPSES_MAX)
    third = stage.tell(Tick(), SYSTEM)
    assert len(third) == 51
    assert third[-1] == r.Expired(500)
    assert (stage.state.balance, stage.state.held, next_due(stage.state, DEFAULT_POLICY)) == (0, 0, None)


def test_a_timer_may_ring_early_after_a_capture_and_then_finds_the_next_lapse() -> None:
    stage = held(MINUTE_MS, 2 * MINUTE_MS)
    first = next(iter(sorted(stage.state.holds)))
    stage.tell(Void(stage.hold()))
    assert stage.state.next_lapse == START + MINUTE_MS
    assert first == 3
    stage.now += MINUTE_MS
    stage.tell(Tick(), SYSTEM)
    assert stage.state.next_lapse is None


def test_a_hold_lapses_under_an_expired_certificate_and_is_written_off() -> None:
    stage = active()
    stage.now += YEAR_MS - MINUTE_MS
    stage.tell(Authorize(400, "RUB", ttl_ms=2 * MINUTE_MS))
    stage.now += MINUTE_MS
    assert stage.tell(Tick(), SYSTEM) == (r.Expired(600),)
    assert next_due(stage.state, DEFAULT_POLICY) == stage.now + MINUTE_MS

    stage.now += MINUTE_MS

    assert stage.tell(Tick(), SYSTEM) == (r.HoldLapsed(3, 400), r.Expired(400))
    assert next_due(stage.state, DEFAULT_POLICY) is None


def test_what_time_brings_about_counts_before_it_is_recorded() -> None:
    stage = held(MINUTE_MS)

    assert settled(stage.state, START + MINUTE_MS).held == 0
    assert settled(stage.state, START + YEAR_MS).status is Status.EXPIRED
    assert settled(stage.state, 0) == stage.state


def test_a_reservation_is_looked_after_until_it_has_joined_and_when_its_time_is_up() -> None:
    stage = reserved()
    allocate = Errand(f"o:{ORDER_ID}", Allocate("1", CODE, reservation=1), "1", CODE, ORDER_ID)
    lapse = Errand(f"o:{ORDER_ID}", LapseAllocation("1", CODE, reservation=1), "1", CODE, ORDER_ID)
    assert errands(stage.state, START) == (allocate,)
    assert next_due(stage.state, DEFAULT_POLICY) == START + DEFAULT_POLICY.errand_retry_ms

    stage.tell(Report("allocate", "1", CODE, order_id=ORDER_ID), SYSTEM)

    assert errands(stage.state, START + DAY_MS - 1) == ()
    assert next_due(stage.state, DEFAULT_POLICY) == START + DAY_MS
    assert errands(stage.state, START + DAY_MS) == (lapse,)
    stage.now += DAY_MS
    stage.tell(Report("lapse_allocation", "1", CODE, retained=True, order_id=ORDER_ID), SYSTEM)
    assert errands(stage.state, stage.now) == ()
    assert next_due(stage.state, DEFAULT_POLICY) == START + 2 * DAY_MS
    assert errands(stage.state, START + 2 * DAY_MS) == (lapse,)


def test_what_is_not_reserved_owes_nothing_and_only_what_lives_has_a_timer() -> None:
    assert errands(active().state, START + YEAR_MS) == ()
    assert errands(Certificate(code=CODE), START) == ()
    assert next_due(Certificate(code=CODE), DEFAULT_POLICY) is None
