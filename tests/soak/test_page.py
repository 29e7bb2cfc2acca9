"""The page and the picture of a soak say what came of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.soak.memory import MB, Life, RedisPoint
from tests.soak.page import page
from tests.soak.plot import draw
from tests.soak.run import Outcome, Struck

if TYPE_CHECKING:
    from pathlib import Path

LINES_MAX = 40
"""It is read as a part of a larger page."""


def outcome(*wrong: str, grown: str = "") -> Outcome:
    times = [float(at) for at in range(0, 601, 5)]
    return Outcome(
        seed=1,
        seconds=600.0,
        told=60_000,
        sold=1_200,
        failed=Counter(StorageUnavailable=40, ReadError=2),
        struck=[Struck(10.0, "kill -9 of a shard", 0.5), Struck(30.0, "kill -9 of a shard", 1.5)],
        pulse=[(at, int(100 * at)) for at in times],
        lives=[
            Life("shard", [(at, 100 * MB) for at in times]),
            Life("shard", [(at, int(MB * (50 + at / 200))) for at in times[:60]]),
            Life("Valkey", [(at, 10 * MB) for at in times]),
        ],
        redis=[RedisPoint(at, int(100 * at), int(25_000 * at)) for at in times],
        events=30_000,
        proof="All is proved.",
        wrong=list(wrong),
        grown=[grown] if grown else [],
    )


def test_the_page_tells_what_was_lost_and_how_long_it_took() -> None:
    lines = page(outcome()).splitlines()

    assert "| acknowledged calls lost, or done twice | 0 |" in lines
    assert "| events missing, or out of order, of 30,000; `gift-ledger verify` | 0; All is proved. |" in lines
    assert "| kill -9 of a shard | 2 | 1.5, 1.5 |" in lines
    assert "| shard | 2, 2 | 100 | +1.0 | +0.0 in 600 s |" in lines
    assert "| relay | 0, 0 | 0 | not judged | not judged |" in lines
    assert len(lines) + 10 <= LINES_MAX  # there are eleven kinds of faults, and one is here


def test_the_page_tells_what_was_wrong() -> None:
    assert "| the audit failed: GC-1: states |" in page(outcome("the audit failed: GC-1: states"))


def test_the_page_tells_what_grew() -> None:
    assert "Not flat: a process of relay grew." in page(outcome(grown="a process of relay grew"))
    assert "Not flat: nothing." in page(outcome())


def test_the_picture_is_written(tmp_path: Path) -> None:
    draw(outcome(), tmp_path / "images" / "soak.png")

    assert (tmp_path / "images" / "soak.png").read_bytes().startswith(b"\x89PNG")
