"""When flows begin."""

from gift_ledger.bench.schedule import SECOND_NS, AsSoonAsPossible, AtRate, Schedule

BEGAN = 7 * SECOND_NS
MS = SECOND_NS // 1_000


def test_an_open_loop_has_a_flow_every_so_often_and_as_many_as_fall_into_its_time() -> None:
    schedule = AtRate(rate=1_000, seconds=0.003)
    schedule.begin(BEGAN)

    taken = [schedule.take(BEGAN + SECOND_NS) for _ in range(4)]

    assert taken == [BEGAN, BEGAN + MS, BEGAN + 2 * MS, None]
    assert schedule.over(BEGAN)
    assert schedule.next_at() is None


def test_a_flow_is_not_taken_before_its_time() -> None:
    schedule = AtRate(rate=1_000, seconds=1)
    schedule.begin(BEGAN)
    schedule.take(BEGAN)

    assert schedule.next_at() == BEGAN + MS
    assert schedule.take(BEGAN + MS - 1) is None
    assert schedule.take(BEGAN + MS) == BEGAN + MS


def test_flows_that_wait_keep_the_time_at_which_they_were_to_begin() -> None:
    schedule = AtRate(rate=10, seconds=1)
    schedule.begin(BEGAN)

    taken = [schedule.take(BEGAN + SECOND_NS) for _ in range(3)]

    assert taken == [BEGAN, BEGAN + 100 * MS, BEGAN + 200 * MS]
    assert schedule.left() == 7


def test_a_rate_that_divides_no_second_does_not_drift() -> None:
    schedule = AtRate(rate=3, seconds=1_000)
    schedule.begin(0)

    taken = [schedule.take(2_000 * SECOND_NS) for _ in range(3_000)]

    assert taken[2_997] == 999 * SECOND_NS


def test_a_closed_loop_begins_a_flow_whenever_it_is_asked_until_time_is_up() -> None:
    schedule: Schedule = AsSoonAsPossible(seconds=1)
    schedule.begin(BEGAN)

    assert schedule.take(BEGAN + 5) == BEGAN + 5
    assert schedule.next_at() is None
    assert not schedule.over(BEGAN + SECOND_NS - 1)
    assert schedule.over(BEGAN + SECOND_NS)
    assert schedule.take(BEGAN + SECOND_NS) is None
    assert schedule.left() == 0


def test_a_closed_loop_can_have_a_last_flow() -> None:
    schedule = AsSoonAsPossible(seconds=60, flows_max=2)
    schedule.begin(BEGAN)

    assert [schedule.take(BEGAN) for _ in range(3)] == [BEGAN, BEGAN, None]
    assert schedule.over(BEGAN)
