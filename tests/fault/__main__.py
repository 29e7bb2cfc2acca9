"""`make faults`: break everything that can break, on the real parts, and print what came of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.fault.report import Collector, table, write

FOLDER = str(Path(__file__).parent)
MARK = "faults"
"""What `make test` leaves out."""


def main(arguments: list[str]) -> int:
    """Run the tests of faults, with more arguments of pytest; gives the exit code, 1 if anything was lost."""
    collector, began = Collector(), time.monotonic()
    code = pytest.main(["-m", MARK, "-p", "no:cacheprovider", FOLDER, *arguments], plugins=[collector])
    seconds = time.monotonic() - began
    sys.stdout.write(f"\n{table(collector.figures)}")
    total = sum(one.acknowledged for one in collector.figures)
    for test in collector.failed:
        sys.stdout.write(f"failed: {test}\n")
    sys.stdout.write(f"{len(collector.figures)} faults, {total} operations, {seconds:.0f} s\n")
    if code == pytest.ExitCode.OK and not arguments:
        write(collector.figures)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
