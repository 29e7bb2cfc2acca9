from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbox_progress import Progress

ORDERS = TopicPartition("All_SalesOrder", 0)
PAYMENTS = TopicPartition("All_Payments", 0)


def test_only_what_has_nothing_missing_before_it_is_committed() -> None:
    progress = Progress()
    first, second, third = (progress.begin(ORDERS, offset) for offset in (10, 11, 15))

    progress.finish(ORDERS, second)
    assert progress.to_commit() == {}
    progress.finish(ORDERS, first)
    assert progress.to_commit() == {ORDERS: 12}
    progress.finish(ORDERS, third)
    assert progress.to_commit() == {ORDERS: 16}


def test_partitions_get_on_each_by_itself() -> None:
    progress = Progress()
    progress.begin(ORDERS, 1)
    progress.finish(PAYMENTS, progress.begin(PAYMENTS, 7))

    assert progress.to_commit() == {PAYMENTS: 8}
    assert (progress.span(ORDERS), progress.span(PAYMENTS)) == (1, 0)


def test_what_was_committed_is_committed_once_and_what_came_meanwhile_again() -> None:
    progress = Progress()
    progress.finish(ORDERS, progress.begin(ORDERS, 1))
    committed = progress.to_commit()
    progress.finish(ORDERS, progress.begin(ORDERS, 2))

    progress.committed(committed)
    assert progress.to_commit() == {ORDERS: 3}
    progress.committed({ORDERS: 3})
    assert progress.to_commit() == {}


def test_a_late_finish_of_a_partition_that_is_gone_changes_nothing() -> None:
    progress = Progress()
    late = progress.begin(ORDERS, 1)
    progress.forget()
    again = progress.begin(ORDERS, 1)

    progress.finish(ORDERS, late)
    assert progress.to_commit() == {}
    progress.finish(ORDERS, again)
    assert progress.to_commit() == {ORDERS: 2}


@given(st.permutations(range(8)), st.integers(0, 8))
def test_in_whatever_order_they_finish(order: list[int], count: int) -> None:
    progress = Progress()
    marks = [progress.begin(ORDERS, offset) for offset in range(8)]
    for offset in order[:count]:
        progress.finish(ORDERS, marks[offset])

    done = set(order[:count])
    expected = next(offset for offset in range(9) if offset not in done)
    assert progress.to_commit() == ({ORDERS: expected} if expected else {})
    assert progress.span(ORDERS) == 8 - expected
