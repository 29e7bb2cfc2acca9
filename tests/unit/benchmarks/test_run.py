"""One run, with scenarios that only take notes."""

from pathlib import Path

import pytest

from benchmarks import run as module
from benchmarks.run import Run
from benchmarks.section import Section, Series, Target
from benchmarks.stage import Options
from benchmarks.wrk import LoadError


def test_what_fails_is_told_in_the_report_and_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_folder: Path, _options: Options) -> Section:
        raise LoadError("3 were refused")

    monkeypatch.setattr(module, "restart", refused)
    run = Run(tmp_path, Options(), (), 25.0)

    run.measure(["restart"])
    run.write(tmp_path / "report.md", tmp_path / "images")

    assert run.failed
    assert "Not measured: LoadError: 3 were refused" in (tmp_path / "report.md").read_text()
    assert "restart: 3 were refused" in capsys.readouterr().out


def test_what_has_not_begun_in_time_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []
    monkeypatch.setattr(module, "restart", lambda folder, _options: begun.append(folder))
    run = Run(tmp_path, Options(), (), minutes_max=-1.0)

    run.measure(["restart"])
    run.write(tmp_path / "report.md", tmp_path / "images")

    assert run.failed
    assert begun == []
    assert "Not measured: time was up." in (tmp_path / "report.md").read_text()


def test_what_was_measured_is_written_with_its_plot_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, Options(), (), 25.0)
    run._sections["authorize"] = Section(
        title="Authorizations",
        how="With `wrk`.",
        targets=[Target(what="rate", measured=1.0, bound=2.0, unit="/s")],
        series=[Series(system="gift-ledger", points=[(16, 1.0)])],
    )

    run.write(tmp_path / "benchmarks.md", tmp_path / "docs" / "images")

    assert "![Authorizations](docs/images/throughput.png)" in (tmp_path / "benchmarks.md").read_text()
    assert (tmp_path / "docs" / "images" / "throughput.png").exists()
    assert "missed rate: 1.00 /s" in capsys.readouterr().out
    assert not run.failed


def test_without_wrk_nothing_is_started(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")

    code = module.main([])

    assert code == 2
    assert "apt-get install wrk" in capsys.readouterr().out


def test_options_come_from_the_command_line() -> None:
    given = module._arguments(["--rounds", "2", "--seconds", "1", "--only", "hot"])

    assert module._options(given) == Options(rounds=2, seconds=1.0)
    assert given.only == ["hot"]
