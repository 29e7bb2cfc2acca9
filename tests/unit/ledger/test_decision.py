"""Which record answers a command."""

from ledger import records as r
from ledger.commands import SYSTEM, Authorize, Tick, Void
from tests.unit.ledger.stage import YEAR_MS, active


def test_a_write_off_that_follows_from_a_void_is_not_its_answer() -> None:
    stage = active()
    stage.now += YEAR_MS - 1
    stage.tell(Authorize(400, "RUB"))
    stage.now += 1

    decision = stage.ask(Void(stage.hold()))

    assert decision.outcome.body == r.HoldVoided(3, 400)
    assert decision.records[-1].body == r.Expired(400)


def test_a_write_off_by_time_is_the_answer_to_what_brought_it_about() -> None:
    stage = active()
    stage.tell(Authorize(400, "RUB"))
    stage.now += YEAR_MS

    decision = stage.ask(Tick(), SYSTEM)

    assert [record.body for record in decision.records] == [r.HoldLapsed(3, 400), r.Expired(1_000)]
    assert decision.outcome.body == r.Expired(1_000)


def test_what_stands_alone_or_last_is_the_answer() -> None:
    stage = active()
    assert stage.ask(Authorize(400, "RUB")).outcome.body == r.Held(400, stage.now + 900_000)
    stage.tell(Authorize(1_000, "RUB"))
    stage.now += 900_000

    assert stage.ask(Authorize(400, "RUB")).outcome.body == r.Held(400, stage.now + 900_000)
