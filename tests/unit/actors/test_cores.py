"""Event loops on cores of their own: only where there are two cores and one shard."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from actors import cores


def in_a_thread(work: Callable[[], set[int]]) -> set[int]:
    """What ``work`` gives in a thread that ends with it."""
    found: list[set[int]] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    ("given", "shards", "expected"),
    [
        ((0, 1), 1, (0, 1)),
        ((4, 9), 1, (4, 9)),
        ((0, 1), 2, None),
        ((0,), 1, None),
        ((0, 1, 2, 3), 1, None),
    ],
)
def test_two_cores_and_one_shard(
    given: tuple[int, ...], shards: int, expected: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "CORES", given)

    assert cores.cores_apart(shards) == expected


def test_a_thread_stays_where_it_is_told_and_others_do_not() -> None:
    def work() -> set[int]:
        cores.stay_on(cores.CORES[-1])
        return os.sched_getaffinity(0)

    assert in_a_thread(work) == {cores.CORES[-1]}
    assert os.sched_getaffinity(0) == set(cores.CORES)


def test_a_thread_may_go_anywhere_again() -> None:
    def work() -> set[int]:
        cores.stay_on(cores.CORES[0])
        cores.go_anywhere()
        return os.sched_getaffinity(0)

    assert in_a_thread(work) == set(cores.CORES)


def test_a_core_that_was_not_given_is_refused() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        cores.stay_on(1_000)
