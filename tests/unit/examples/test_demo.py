import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from examples import demo
from examples.cast import cvc_in
from examples.endpoints import Endpoints
from examples.narration import Narrator, Report, as_money


async def test_the_demo_holds_twice_on_the_same_service(endpoints: Endpoints, keys: dict[str, str]) -> None:
    for _ in range(2):
        told = io.StringIO()

        report = await demo.perform(endpoints, keys, Console(file=told, width=200))

        failed = [check for check in report.checks if not check.held]
        assert failed == [], told.getvalue()
        assert report.passed > 100
        assert report.exit_code == 0
        assert report.totals["RUB"].liability == 150_000
        assert f"All {report.passed} checks held." in told.getvalue()
        assert "✗" not in told.getvalue()


async def test_one_wrong_expectation_fails_one_check_and_the_exit_code(
    endpoints: Endpoints, keys: dict[str, str]
) -> None:
    told = io.StringIO()

    report = await demo.perform(endpoints, keys, Console(file=told, width=200), expect_wrong=True)

    assert [(check.name, check.expected, check.got) for check in report.checks if not check.held] == [
        ("what can still be authorized", 100_001, 100_000)
    ]
    assert report.exit_code == 1
    assert "✗ what can still be authorized: expected 100001, got 100000" in told.getvalue()


async def test_a_service_that_refuses_everything_is_a_failed_check_and_not_a_crash(
    endpoints: Endpoints, keys: dict[str, str]
) -> None:
    told = io.StringIO()

    report = await demo.perform(endpoints, dict.fromkeys(keys, "wrong"), Console(file=told, width=200))

    assert report.exit_code == 1
    assert "401 Unauthenticated" in str(report.checks[-1].got)


async def test_the_demo_finds_the_service_by_its_two_files(data_dir: Path) -> None:
    told = io.StringIO()

    report = await demo.play(data_dir / "endpoints.json", data_dir / "keys.json", out=Console(file=told))

    assert report.exit_code == 0, told.getvalue()


def test_a_role_without_a_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "endpoints.json").write_text('{"http": "http://127.0.0.1:1", "kafka": "127.0.0.1:1", "smsInbox": ""}')
    (tmp_path / "keys.json").write_text('{"storefront": "a", "payments": "b", "support": "c"}')

    assert demo.main(["--data-dir", str(tmp_path)]) == 1
    assert "has no key for pos" in capsys.readouterr().err


def test_without_an_inbox_to_read_the_demo_says_what_to_do(
    tmp_path: Path, keys: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode({"http": "", "kafka": "", "smsInbox": ""}))
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode(keys))

    assert demo.main(["--data-dir", str(tmp_path)]) == 1
    assert "names no SMS inbox" in capsys.readouterr().err


def test_without_a_running_service_the_demo_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--data-dir", str(tmp_path)]) == 1
    assert "make run" in capsys.readouterr().err


def test_an_endpoints_file_that_is_not_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "endpoints.json").write_bytes(msgspec.json.encode({"http": 5}))

    assert demo.main(["--data-dir", str(tmp_path)]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_report_without_checks_is_no_success() -> None:
    assert Report().exit_code == 1


async def test_what_was_not_refused_is_a_failed_check() -> None:
    narrator = Narrator(Console(file=io.StringIO()))

    async def done() -> None: ...

    assert await narrator.refused("too much", "InsufficientFunds", done()) is None
    assert narrator.report.failed == 1


@pytest.mark.parametrize(
    ("text", "cvc"),
    [
        ("Certificate GC-ABCD-1234 over 1500.00 RUB. CVC: 0042", "0042"),
        ("Ваш сертификат GC-7K2M-9QXA на 1 500,00 RUB. CVC 4821. Никому не сообщайте.", "4821"),
        ("Your code is 4821", "4821"),
        ("Certificate GC-1234-5678 over 1500.00", None),
    ],
)
def test_the_cvc_is_found_in_the_text(text: str, cvc: str | None) -> None:
    assert cvc_in(text) == cvc


@pytest.mark.parametrize(
    ("minor", "text"), [(150_000, "1 500.00"), (0, "0.00"), (-5, "-0.05"), (10**9, "10 000 000.00")]
)
def test_money_is_told_as_people_read_it(minor: int, text: str) -> None:
    assert as_money(minor) == text
