"""The text of the report, and its plots."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.machine import Machine, busy_share, sync_latency
from benchmarks.report import report
from benchmarks.section import Section, Series, Table, Target, skipped

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MACHINE = Machine(lines=[("processor", "two cores"), ("kernel", "6.1")])


def target(measured: float, bound: float, *, at_most: bool = False) -> Target:
    return Target(what="authorizations", measured=measured, bound=bound, unit="/s", at_most=at_most)


@pytest.mark.parametrize(
    ("measured", "at_most", "met"), [(10, False, True), (9.9, False, False), (10, True, True), (10.1, True, False)]
)
def test_a_target_is_met_at_its_bound(measured: float, *, at_most: bool, met: bool) -> None:
    assert target(measured, 10, at_most=at_most).met is met


def test_the_report_says_first_which_targets_are_met_then_how_then_on_what() -> None:
    section = Section(
        title="Authorizations",
        how="`wrk` asks.",
        tables=[Table(headings=("", "rate"), rows=[("gift-ledger", "15 000"), ("a|b", "1")])],
        targets=[target(16_000, 15_000), target(9, 5, at_most=True)],
        notes=["A note."],
    )

    text = report([section], MACHINE, AT, plots={"Authorizations": "throughput.png"}, left_out=["postgres: none"])

    assert "2026-11-24 12:00 UTC" in text
    assert "1 of 2 are met." in text
    assert "| authorizations | 16 000 /s | ≥ 15 000 /s | met |" in text
    assert "| authorizations | 9.00 /s | ≤ 5.00 /s | **missed** |" in text
    assert "Left out: postgres: none." in text
    wanted = ["## Targets", "## Authorizations", "`wrk` asks.", "| gift-ledger | 15 000 |", "| a/b | 1 |"]
    wanted += ["![Authorizations](throughput.png)", "A note.", "## Machine", "| processor | two cores |"]
    places = [text.index(one) for one in wanted]
    assert places == sorted(places)


def test_a_scenario_that_was_not_measured_says_why() -> None:
    text = report([skipped("Bulk", "there is no such call.")], MACHINE, AT)

    assert "## Bulk\n\nNot measured: there is no such call." in text
    assert "None was measured." in text


def test_both_plots_are_drawn(tmp_path: Path) -> None:
    plots.throughput(
        [Series(system=name, points=[(16, 7_000), (64, 15_000)]) for name in ("gift-ledger", "noop")],
        tmp_path / "images" / plots.THROUGHPUT,
    )
    plots.latency(
        [Series(system="postgres", points=[(0, 0.5), (99.99, 40)])],
        tmp_path / "images" / plots.LATENCY,
    )

    for name in (plots.THROUGHPUT, plots.LATENCY):
        assert (tmp_path / "images" / name).read_bytes().startswith(b"\x89PNG")


def test_rare_percentiles_stand_apart() -> None:
    assert [round(plots.rarity(percent)) for percent in (0, 90, 99, 99.9)] == [1, 10, 100, 1_000]


def test_the_latency_of_the_disk_is_measured_and_nothing_is_left_there(tmp_path: Path) -> None:
    p50, p99 = sync_latency(tmp_path)

    assert 0 < p50 <= p99
    assert list(tmp_path.iterdir()) == []


def test_how_busy_the_machine_is_is_a_share_of_it() -> None:
    assert 0 <= busy_share(0.05) <= 1
