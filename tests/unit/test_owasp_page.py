"""The table of OWASP's lines has all of them, and names only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
LINES = [*(f"API{number}" for number in range(1, 11)), "OAT-002"]
TEST = re.compile(r"`(tests/[^`]+)`")


def table() -> list[list[str]]:
    """The lines of the table: their cells."""
    text = PAGE.read_text().partition("\n## OWASP\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def named() -> list[str]:
    """What stands in the last cells: `tests/security/test_x.py::test_y`, or a whole file."""
    return [test for line in table() for test in TEST.findall(line[-1])]


def test_every_line_is_there_with_what_guards_and_a_test() -> None:
    lines = table()

    assert [line[0].partition(":")[0] for line in lines] == LINES
    for line in lines:
        assert len(line) == 3, line
        assert all(line), line
        assert TEST.findall(line[-1]), line


def test_every_test_that_is_named_exists() -> None:
    for test in named():
        path, _, name = test.partition("::")
        assert (f"def {name}(" if name else "def test_") in (ROOT / path).read_text(), test


def test_every_file_of_the_suite_is_named() -> None:
    there = {f"tests/security/{path.name}" for path in (ROOT / "tests" / "security").glob("test_*.py")}

    assert there == {test.partition("::")[0] for test in named() if test.startswith("tests/security/")}
