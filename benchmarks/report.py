"""The report: Markdown that says first what was reached, then how, then on what."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from benchmarks.machine import Machine
from benchmarks.rounds import figure
from benchmarks.section import Section, Table, Target

EMPTY: Final[Mapping[str, str]] = {}
INTRODUCTION: Final = (
    "Load generator, product and rivals share one machine; one system is under load at a time. Every authorization "
    "and capture that is counted was on disk before its answer."
)
RIVALS: Final = (
    "Rivals: `redis-lua` is Litestar with one Lua script a request on Valkey, `appendfsync always`; `postgres` is "
    "Litestar with asyncpg, a row lock and one transaction, `synchronous_commit=on`; `noop` is a typed Litestar "
    "handler that validates and stores nothing; `asgi` is a bare ASGI callable that only answers. All are served by "
    "the product's own HTTP server, in one process each; all but `asgi` check the API key and validate the body."
)


def report(
    sections: Sequence[Section],
    machine: Machine,
    at: datetime,
    *,
    plots: Mapping[str, str] = EMPTY,
    left_out: Sequence[str] = (),
) -> str:
    """All of it.

    Args:
        sections: in the order in which they are told.
        machine: on what it was measured.
        at: when.
        plots: by the title of a section the path of its picture.
        left_out: what could not be compared with, and why.
    """
    parts = [
        "# Benchmark report",
        f"Measured on {at:%Y-%m-%d %H:%M} UTC by `make bench`. {INTRODUCTION}",
        RIVALS,
        *(f"Left out: {one}." for one in left_out),
        "## Targets",
        _targets([target for section in sections for target in section.targets]),
    ]
    for section in sections:
        parts += [f"## {section.title}", section.how]
        parts += [_table(table) for table in section.tables]
        if section.title in plots:
            parts.append(f"![{section.title}]({plots[section.title]})")
        parts += section.notes
    parts += ["## Machine", _table(Table(headings=("", ""), rows=machine.lines))]
    return "\n\n".join(parts) + "\n"


def _targets(targets: Sequence[Target]) -> str:
    if not targets:
        return "None was measured."
    rows = [
        (
            target.what,
            f"{figure(target.measured)} {target.unit}",
            f"{'≤' if target.at_most else '≥'} {figure(target.bound)} {target.unit}",
            "met" if target.met else "**missed**",
        )
        for target in targets
    ]
    met = sum(target.met for target in targets)
    return f"{met} of {len(targets)} are met.\n\n" + _table(Table(headings=("", "measured", "target", ""), rows=rows))


def _table(table: Table) -> str:
    lines = [_row(table.headings), "|---" + "|---:" * (len(table.headings) - 1) + "|"]
    return "\n".join([*lines, *(_row(row) for row in table.rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
