"""The simulator finds what was broken on purpose."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import simulate

SEEDS_MAX = 60


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulator_finds(name: str) -> None:
    with MUTANTS[name]():
        wrong = next((report.wrong for report in map(simulate, range(SEEDS_MAX)) if report.wrong), [])

    assert wrong
