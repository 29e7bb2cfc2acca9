"""What is the same for every log."""

import pytest

from persistence.batches import check_batch, damage, page
from persistence.log import AttemptsChange, Batch, Change


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        (Batch((Change("o:1", 0), Change("o:1", 0))), "twice"),
        (Batch((Change("o:1", 3, (b"r",), snapshot=b"3|x"),)), "not that of version 4"),
        (Batch((Change("o:1", 3, snapshot=b"x"),)), "not that of version 3"),
        (Batch(attempts=(AttemptsChange("GC-1", None, b"1", 0),)), "no time"),
    ],
)
def test_a_batch_that_no_correct_caller_makes_is_refused(batch: Batch, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_batch(batch)


def test_an_ordinary_batch_is_taken() -> None:
    changes = (Change("o:1", 3, (b"r",), snapshot=b"4|x"), Change("o:2", 0))

    check_batch(Batch(changes, attempts=(AttemptsChange("GC-1", None, None, 1),)))


@pytest.mark.parametrize(("limit", "expected"), [(-1, 0), (0, 0), (7, 7), (10, 10), (11, 10)])
def test_a_page_is_bounded(limit: int, expected: int) -> None:
    assert page(limit, 10) == expected


@pytest.mark.parametrize(
    ("length", "registered", "snapshot", "problem"),
    [
        (0, None, 0, None),
        (3, 3, 0, None),
        (3, 3, 3, None),
        (3, None, 0, "does not name it"),
        (2, 3, 0, "says version 3, but the log ends at 2"),
        (4, 3, 0, "says version 3, but the log ends at 4"),
        (0, 3, 0, "says version 3, but the log ends at 0"),
        (3, 3, 4, "snapshot is of version 4, but the log ends at 3"),
        (0, None, 1, "snapshot is of version 1, but the log ends at 0"),
    ],
)
def test_a_log_register_and_snapshot_that_do_not_fit_are_damage(
    length: int, registered: int | None, snapshot: int, problem: str | None
) -> None:
    found = damage(length, registered, snapshot)

    assert found is None if problem is None else found is not None and problem in found
