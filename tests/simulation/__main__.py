"""`python -m tests.simulation`: run many seeds, or replay one step by step."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import Report, simulate

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

SECONDS_DEFAULT = 60.0
SEEDS_AT_ONCE = 32
"""Seeds that are given to the processes before the clock is looked at again."""
WRONG_SHOWN_MAX = 60
"""Characters of what was wrong, in the table of mutants."""
NAME_WIDTH = max(len(name) for name in MUTANTS)
CHECK_WIDTH = len("end of a part")
SHOWN_MAX = 20
"""Seeds whose violations are told in full."""


def main() -> int:
    """Run what the command line asks for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed, and print each step")
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="run seeds for so long")
    parser.add_argument("--first", type=int, default=None, help="the first seed; otherwise the time decides")
    parser.add_argument("--mutants", action="store_true", help="break the code on purpose, and find it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    asked = parser.parse_args()
    if asked.mutants:
        return hunt(asked.seconds)
    if asked.seed is not None:
        return replay(asked.seed)
    first = int(time.time()) % 1_000_000 * 100_000 if asked.first is None else asked.first
    return search(first, asked.seconds, asked.jobs)


def replay(seed: int) -> int:
    """Print each step of a run."""
    report = simulate(seed, _show)
    for wrong in report.wrong:
        sys.stdout.write(f"WRONG {wrong}\n")
    sys.stdout.write(f"seed {seed}: {_said(report)}, trace {report.digest}\n")
    return 1 if report.wrong else 0


def search(first: int, seconds: float, jobs: int) -> int:
    """Run one seed after the other until the time is over."""
    began = time.monotonic()
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    failed: list[Report] = []
    sys.stdout.write(f"Seeds from {first}, for {seconds:.0f} s, in {jobs} processes.\n")
    with get_context("spawn").Pool(jobs) as pool:
        for report in _reports(pool, first, began + seconds):
            faults.update(report.faults)
            marks.update(report.marks)
            totals.update(seeds=1, callers=report.callers, calls=report.calls, unknown=report.unknown)
            totals.update(appends=report.appends, records=report.records, steps=report.steps)
            totals.update(seconds=round(report.seconds))
            if report.wrong:
                failed.append(report)
                _tell(report, len(failed))
    sys.stdout.write(
        f"{_listed(totals)}\n{faults.total()} faults: {_listed(faults)}\nin the service: {_listed(marks)}\n"
    )
    sys.stdout.write(f"{len(failed)} seeds with violations: {[report.seed for report in failed]}\n")
    return 1 if failed else 0


def hunt(seconds: float) -> int:
    """Run seeds with each mutant, until it is found."""
    missed = 0
    sys.stdout.write(f"{'mutant':<{NAME_WIDTH}}  {'found by':<{CHECK_WIDTH}}  {'seed':>5}  seconds  what was found\n")
    for name, mutant in MUTANTS.items():
        began = time.monotonic()
        found = f"{'nothing':<{CHECK_WIDTH}}  {'':>5}"
        what = ""
        with mutant():
            for seed in count():
                if time.monotonic() - began > seconds:
                    missed += 1
                    break
                if wrong := simulate(seed).wrong:
                    found = f"{wrong[0].check:<{CHECK_WIDTH}}  {seed:>5}"
                    what = wrong[0].what[:WRONG_SHOWN_MAX]
                    break
        sys.stdout.write(f"{name:<{NAME_WIDTH}}  {found}  {time.monotonic() - began:7.1f}  {what}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(MUTANTS) - missed} of {len(MUTANTS)} mutants were found.\n")
    return 1 if missed else 0


def _reports(pool: Pool, first: int, end: float) -> Iterator[Report]:
    for batch in count(first, SEEDS_AT_ONCE):
        if time.monotonic() >= end:
            return
        yield from pool.imap_unordered(simulate, range(batch, batch + SEEDS_AT_ONCE))


def _tell(report: Report, number: int) -> None:
    if number > SHOWN_MAX:
        return
    sys.stdout.write(f"seed {report.seed}, {report.faults}:\n")
    for wrong in report.wrong:
        sys.stdout.write(f"  {wrong}\n")
    sys.stdout.write(f"  to replay it: make simulate SEED={report.seed}\n")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _show(line: str) -> None:
    sys.stdout.write(line)


def _said(report: Report) -> str:
    return (
        f"{report.calls} calls, {report.unknown} without an outcome, {report.records} records in {report.appends} "
        f"appends, {report.steps} steps in {report.seconds:.1f} s, faults {report.faults}, {len(report.wrong)} wrong"
    )


if __name__ == "__main__":
    sys.exit(main())
