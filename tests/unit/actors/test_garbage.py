"""A shard looks for garbage when that disturbs nobody."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from actors.garbage import EVERY_MS_MAX, EVERY_MS_MIN, NEVER, YOUNG, Garbage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.actors.stage import FakeClock


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_the_young_are_searched_by_python_and_what_is_there_by_nobody(clock: FakeClock) -> None:
    Garbage(clock).take_over()

    assert gc.get_threshold() == (*YOUNG, NEVER)
    assert gc.get_freeze_count() > 0


def test_an_idle_shard_is_searched_now_and_then(clock: FakeClock) -> None:
    garbage = Garbage(clock)

    searched = []
    for _ in range(3):
        searched.append(garbage.search(idle=True))
        clock.now += EVERY_MS_MIN

    assert searched == [False, True, True]


def test_a_shard_that_is_never_idle_is_searched_rarely(clock: FakeClock) -> None:
    garbage = Garbage(clock)

    clock.now += EVERY_MS_MAX - 1
    before = garbage.search(idle=False)
    clock.now += 1

    assert not before
    assert garbage.search(idle=False)


def test_a_search_finds_cycles(clock: FakeClock) -> None:
    class Knot:
        itself: Knot

    garbage = Garbage(clock)
    garbage.take_over()
    knot = Knot()
    knot.itself = knot
    gc.collect(1)  # it has survived, and only a search of everything finds it
    del knot

    clock.now += EVERY_MS_MIN
    garbage.search(idle=True)

    assert not any(type(one).__name__ == "Knot" for one in gc.get_objects())
