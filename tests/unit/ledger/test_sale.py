"""A code is reserved, joined to its line, given back or activated."""

import pytest
from msgspec.structs import replace

from ledger import records as r
from ledger.certificate import Certificate, decide, issued
from ledger.codes import Salable, complete
from ledger.commands import (
    SYSTEM,
    Activate,
    Authorize,
    Block,
    CertificateCommand,
    IssuedCvc,
    Join,
    Look,
    Place,
    Release,
    Report,
    Reserve,
    Void,
)
from ledger.errands import Grant
from ledger.money import DAY_MS
from ledger.policy import Policy
from ledger.records import Status
from tests.unit.ledger.stage import (
    CODE,
    CVC,
    ORDER_ID,
    OTHER_TILL,
    RECIPIENT,
    SHOP,
    START,
    SUPPORT,
    YEAR_MS,
    OnStage,
    activate,
    active,
    reserved,
)

SAME = Reserve(ORDER_ID, "1")


def report(errand: str, refusal: str | None = None, *, retained: bool = False, planned: int | None = None) -> Report:
    currency = None if planned is None else "RUB"
    return Report(errand, "1", CODE, refusal, planned, currency, retained, ORDER_ID)


def test_a_code_that_was_never_sold_is_reserved_for_a_day_for_the_channel_that_asks() -> None:
    stage = OnStage()

    bodies = stage.tell(SAME, SHOP)

    assert bodies == (r.Reserved(ORDER_ID, "1", START + DAY_MS),)
    assert (stage.state.status, stage.state.channel, stage.state.seller) == (Status.RESERVED, "OnlineStore", "shop")


def test_a_probe_reserves_nothing() -> None:
    stage = OnStage()

    assert stage.tell(Reserve(ORDER_ID, "1", probe=True), SHOP) == ()


def test_the_line_that_has_the_code_gets_it_again_before_and_after_its_activation() -> None:
    for stage in (reserved(), active()):
        assert stage.tell(SAME, SHOP) == ()


@pytest.mark.parametrize("other", [Reserve(ORDER_ID, "2"), Reserve("SO-2", "1"), Reserve("SO-2", "1", probe=True)])
def test_a_code_is_sold_once(other: Reserve) -> None:
    assert reserved().refusal(other, SHOP) == "CodeAlreadySold"
    assert active().refusal(other, SHOP) == "CodeAlreadySold"


def test_a_code_whose_sale_was_undone_is_not_sold_again_not_even_to_its_line() -> None:
    stage = active()
    stage.tell(Void(stage.last()), SHOP)

    assert stage.refusal(SAME, SHOP) == "CodeAlreadySold"


def test_a_certificate_takes_over_the_plan_until_it_is_active() -> None:
    stage = reserved()

    assert stage.tell(Join(ORDER_ID, "1", 500, "RUB"), SYSTEM) == (r.Joined(500, "RUB"),)
    assert stage.tell(Join(ORDER_ID, "1", 500, "RUB"), SYSTEM) == ()
    assert stage.tell(Join(ORDER_ID, "1", 700, "RUB"), SYSTEM) == (r.Joined(700, "RUB"),)
    stage.tell(activate(700), SYSTEM)
    assert stage.tell(Join(ORDER_ID, "1", 900, "RUB"), SYSTEM) == ()
    assert stage.state.denomination == 700


@pytest.mark.parametrize("command", [Join("SO-2", "1", 5, "RUB"), Activate("SO-2", "1", 5, "RUB", cvc=IssuedCvc(CVC))])
def test_another_orders_line_has_no_say(command: CertificateCommand) -> None:
    assert reserved().refusal(command, SYSTEM) == "CertificateNotFound"
    assert OnStage().refusal(command, SYSTEM) == "CertificateNotFound"


def test_a_code_that_was_given_back_is_unknown_and_can_be_sold_to_another() -> None:
    stage = reserved(planned=100)

    assert stage.tell(Release(ORDER_ID, "1", "order cancelled"), SYSTEM) == (r.Released("order cancelled"),)
    assert stage.refusal(Authorize(1, "RUB")) == "CertificateNotFound"
    assert stage.tell(Release(ORDER_ID, "1", "again"), SYSTEM) == ()
    stage.tell(Reserve("SO-2", "9"), OTHER_TILL)
    assert (stage.state.seller, stage.state.denomination, stage.state.joined) == ("till-2", None, False)
    assert stage.tell(Release(ORDER_ID, "1", "late"), SYSTEM) == ()


def test_what_was_granted_to_an_earlier_reservation_for_the_same_line_is_nothing_to_this_one() -> None:
    stage = reserved(planned=100)
    stage.tell(Release(ORDER_ID, "1", "line not in the order", 1), SYSTEM)
    stage.tell(SAME, SHOP)
    assert stage.state.reservation == 4
    due = replace(activate(100), reservation=1)

    assert stage.refusal(due, SYSTEM) == "CertificateNotFound"
    assert stage.refusal(Join(ORDER_ID, "1", 100, "RUB", 1), SYSTEM) == "CertificateNotFound"
    assert stage.tell(Release(ORDER_ID, "1", "late", 1), SYSTEM) == ()
    assert stage.tell(Report("allocate", "1", CODE, order_id=ORDER_ID, reservation=1), SYSTEM) == ()
    assert stage.tell(Report("allocate", "1", CODE, order_id=ORDER_ID, reservation=4), SYSTEM) == (r.Joined(),)
    stage.tell(replace(due, reservation=4), SYSTEM)
    assert stage.state.balance == 100


def test_an_active_certificate_is_not_given_back() -> None:
    assert active().refusal(Release(ORDER_ID, "1", "order cancelled"), SYSTEM) == "CodeAlreadySold"


def test_an_activation_issues_the_value_once_for_a_year_in_the_sellers_name() -> None:
    stage = reserved()

    decision = stage.ask(activate(1_000), SYSTEM)

    (record,) = decision.records
    assert record.body == r.Activated(ORDER_ID, "1", 1_000, "RUB", START + YEAR_MS, CVC, RECIPIENT)
    assert (record.client, record.channel) == ("shop", "OnlineStore")
    assert decision.message == b"sealed SMS"
    stage.tell(activate(1_000), SYSTEM)
    assert (stage.state.balance, stage.state.available, stage.state.status) == (1_000, 1_000, Status.ACTIVE)
    assert stage.tell(activate(2_000), SYSTEM) == ()


def test_an_activation_of_nothing_is_depleted_at_once() -> None:
    assert active(0).state.status is Status.DEPLETED


def test_an_activation_without_a_cvc_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="needs a CVC"):
        reserved().ask(Activate(ORDER_ID, "1", 1_000, "RUB"), SYSTEM)


def test_a_command_for_orders_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="not a certificate's"):
        OnStage().ask(Place(1, False, "OnlineStore", "RUB"))  # type: ignore[arg-type]


def test_looking_changes_nothing() -> None:
    assert active().tell(Look()) == ()


@pytest.mark.parametrize(
    ("told", "body"),
    [
        (report("allocate"), r.Joined(None, None)),
        (report("allocate", planned=500), r.Joined(500, "RUB")),
        (report("allocate", "OrderCancelled"), r.Released("OrderCancelled")),
        (report("activate"), None),
        (report("lapse_allocation"), None),
        (Report("allocate", "2", CODE, order_id=ORDER_ID), None),
        (Report("allocate", "1", CODE, order_id="SO-2"), None),
    ],
)
def test_what_the_order_answers_to_a_new_reservation(told: Report, body: r.AnyBody | None) -> None:
    stage = reserved()

    assert stage.tell(told, SYSTEM) == (() if body is None else (body,))


@pytest.mark.parametrize("told", [report("allocate"), report("allocate", "OrderLineNotFound")])
def test_an_answer_that_was_overtaken_changes_nothing(told: Report) -> None:
    assert reserved(planned=500).tell(told, SYSTEM) == ()
    assert active().tell(told, SYSTEM) == ()
    assert OnStage().tell(told, SYSTEM) == ()


def test_a_reservation_lapses_when_its_time_is_up_unless_its_order_retains_it() -> None:
    for retained, body in ((False, r.Released("lapsed")), (True, r.Kept(START + 2 * DAY_MS))):
        stage = reserved(planned=500)
        told = report("lapse_allocation", retained=retained)
        stage.now += DAY_MS - 1
        assert stage.tell(told, SYSTEM) == ()

        stage.now += 1

        assert stage.tell(told, SYSTEM) == (body,)
        assert stage.tell(told, SYSTEM) == ()


@pytest.mark.parametrize(
    ("stage", "command", "grant"),
    [
        (active(700), Join(ORDER_ID, "1", 900, "RUB"), Grant(700, "RUB")),
        (active(700), Release(ORDER_ID, "1", "cancelled"), Grant(700, "RUB")),
        (active(700), activate(900), Grant(700, "RUB")),
        (active(700), Join("SO-2", "1", 900, "RUB"), None),
        (active(700), Block("stolen"), None),
        (reserved(), Join(ORDER_ID, "1", 900, "RUB"), None),
    ],
)
def test_an_order_is_told_what_was_issued_on_its_line(
    stage: OnStage, command: CertificateCommand, grant: Grant | None
) -> None:
    assert issued(stage.state, command) == grant


def test_an_undone_sale_tells_the_order_still_what_was_issued() -> None:
    stage = active(700)
    stage.tell(Void(stage.last()), SUPPORT)

    assert issued(stage.state, activate(900)) == Grant(700, "RUB")


# --- which codes may be sold -----------------------------------------------------------------------------------------

OURS = complete("GC", "7K2M9XT43WPH6VJ")
CHECKED = Policy(codes=Salable.CHECKED, code_prefixes=("NY", "GC"))
IMPORTED = Policy(codes=Salable.IMPORTED)


def sold(code: str, policy: Policy, command: Reserve = SAME, state: Certificate | None = None) -> str | None:
    """Return the name of the refusal; ``None``: the code is reserved, or was for the same line."""
    decision = decide(state or Certificate(code=code), command, SHOP, START, policy)
    assert (decision.refused is None) or not decision.records
    return None if decision.refused is None else decision.refused.code.value


@pytest.mark.parametrize("code", [CODE, OURS, OURS[:-1] + "2"])
def test_by_default_any_code_is_sold(code: str) -> None:
    assert sold(code, Policy()) is None


def test_where_codes_are_checked_only_ours_with_a_right_check_character_are_sold() -> None:
    assert sold(OURS, CHECKED) is None
    assert sold(complete("NY", "7K2M9XT43WPH6VJ"), CHECKED) is None
    assert sold(OURS[:-1] + "2", CHECKED) == "CodeNotForSale"
    assert sold(complete("XY", "7K2M9XT43WPH6VJ"), CHECKED) == "CodeNotForSale"
    assert sold(CODE, CHECKED) == "CodeNotForSale"


@pytest.mark.parametrize("code", [CODE, OURS])
def test_where_codes_have_to_be_imported_others_are_not_sold(code: str) -> None:
    assert sold(code, IMPORTED) == "CodeNotForSale"
    assert sold(code, IMPORTED, replace(SAME, imported=True)) is None
    assert sold(code, IMPORTED, replace(SAME, probe=True)) == "CodeNotForSale"
    assert sold(code, IMPORTED, replace(SAME, probe=True, imported=True)) is None


@pytest.mark.parametrize("policy", [CHECKED, IMPORTED])
def test_a_code_that_was_sold_before_stays_what_it_is(policy: Policy) -> None:
    state = reserved().state

    assert sold(CODE, policy, SAME, state) is None
    assert sold(CODE, policy, Reserve(ORDER_ID, "2"), state) == "CodeAlreadySold"


@pytest.mark.parametrize("policy", [CHECKED, IMPORTED])
def test_a_code_that_was_given_back_is_asked_about_anew(policy: Policy) -> None:
    stage = reserved()
    stage.tell(Release(ORDER_ID, "1", "order cancelled"), SYSTEM)

    assert sold(CODE, policy, SAME, stage.state) == "CodeNotForSale"


@pytest.mark.parametrize("policy", [CHECKED, IMPORTED])
def test_what_was_sold_before_is_spent_as_ever(policy: Policy) -> None:
    decision = decide(active().state, Authorize(1_000, "RUB"), SHOP, START, policy)

    assert decision.refused is None
