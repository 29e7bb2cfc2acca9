"""The failure matrix names every fault that is tried, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fault.table import NAMES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
CELL = re.compile(r"`([^`]+)`")
COLUMNS = 5


def matrix() -> list[list[str]]:
    """The lines of the matrix: their cells."""
    text = PAGE.read_text().partition("## The failure matrix")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if "---" not in line[0] and "what breaks" not in line[0]]


def named() -> list[str]:
    """What stands in the last cell of each line: `test_rig.py[a]`, or `tests/e2e/test_x.py::test_y`."""
    return [test for line in matrix() for test in CELL.findall(line[-1])]


def test_every_line_has_all_cells_and_a_test() -> None:
    lines = matrix()
    assert lines
    for line in lines:
        assert len(line) == COLUMNS, line
        assert all(line), line
        assert CELL.findall(line[-1]), line


@pytest.mark.parametrize("file", NAMES)
def test_every_fault_has_its_line(file: str) -> None:
    lines = {test for test in named() if test.startswith(f"{file}[")}
    assert lines == {f"{file}[{name}]" for name in NAMES[file]}


def test_every_other_test_exists() -> None:
    others = [test for test in named() if test.partition("[")[0] not in NAMES]
    for test in others:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(), test
