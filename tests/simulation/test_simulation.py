"""Some seeds of the simulator in the ordinary tests; `make simulate` runs as many as there is time for."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from tests.simulation.simulation import Report, simulate

SEEDS = range(100, 130)
SEED = 10
"""One with a long trace."""

_report = cache(simulate)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_spent_twice(seed: int) -> None:
    report = _report(seed)

    assert report.wrong == [], f"make simulate SEED={seed}"


def test_the_seeds_hold_each_kind_of_fault_and_much_trade() -> None:
    reports: list[Report] = [_report(seed) for seed in SEEDS]

    assert len({fault for report in reports for fault in report.faults}) == 20
    assert sum(report.records for report in reports) > 500
    assert any(report.unknown for report in reports)
    for mark in (
        "conflicts",
        "replayed",
        "passivated",
        "storage_lost",
        "errands_failed",
        "events twice",
        "frames twice",
    ):
        assert any(report.marks.get(mark) for report in reports), mark


def test_one_seed_gives_one_trace() -> None:
    first: list[str] = []
    second: list[str] = []

    simulate(SEED, first.append)
    simulate(SEED, second.append)

    assert first == second
    assert len(first) > 100


def test_the_trace_is_the_same_in_another_process() -> None:
    here: list[str] = []
    simulate(SEED, here.append)

    command = [sys.executable, "-m", "tests.simulation", "--seed", str(SEED)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603

    assert there.stdout.startswith("".join(here))
