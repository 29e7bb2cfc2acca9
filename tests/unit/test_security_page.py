"""The figures of the page on security are those of the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.guesses import EARNED_MAX
from gateway.record import stride
from gateway.settings import GatewaySettings
from gateway.trials import VEIL_SECONDS_MAX, VEIL_SECONDS_MIN
from gift_ledger.bounds.chances import (
    CVCS,
    GATEWAYS,
    any_code,
    in_a_window,
    one_code,
    table,
    tries_of_one_code,
)
from ledger.attempts import NO_ATTEMPTS, after_wrong, seconds_locked
from ledger.money import DAY_MS
from ledger.policy import Policy

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
FLOWING = " ".join(PAGE.split())
DEFAULT = GatewaySettings()


def test_the_table_is_that_of_the_defaults() -> None:
    assert table() in PAGE, "python -m gift_ledger.bounds.chances"


@pytest.mark.parametrize(
    "said",
    [
        f"| {DEFAULT.guess_address_wrong_max} an hour |",
        f"| {DEFAULT.guess_client_wrong_max} an hour |",
        f"each {DEFAULT.guess_right_per_wrong} certificates whose right CVC",
        f"as well, {EARNED_MAX} at most",
        f"one hit for each {DEFAULT.guess_right_per_wrong * CVCS // 1_000} 000",
        f"{GATEWAYS} times {stride(DEFAULT.guess_client_wrong_max)} of a client's {DEFAULT.guess_client_wrong_max}",
        f"{round(VEIL_SECONDS_MIN * 1_000)} to {round(VEIL_SECONDS_MAX * 1_000)} ms",
        f"{one_code(tries_of_one_code(365 * DAY_MS, Policy())):.0%}",
        f"{tries_of_one_code(365 * DAY_MS, Policy()):,}".replace(",", " "),
    ],
)
def test_what_is_said_is_what_is_set(said: str) -> None:
    assert said in FLOWING


def test_the_windows_are_those_that_are_spoken_of() -> None:
    assert DEFAULT.guess_window_seconds == 3_600
    assert stride(DEFAULT.guess_address_wrong_max) == 5
    # one in twenty of 5 000
    assert 5_000 // DEFAULT.guess_right_per_wrong == 250


def test_tries_of_one_code_end_with_its_locks() -> None:
    policy = Policy()
    attempts = NO_ATTEMPTS
    waits = []
    for _ in range(12):
        attempts = after_wrong(attempts, 0, policy)
        waits.append(seconds_locked(attempts, 0))

    assert waits == [0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert tries_of_one_code(1, policy) == 3
    assert tries_of_one_code(30_001, policy) == 4
    assert tries_of_one_code(3_600_000 + 3_810_001, policy) == 11


def test_chances_grow_with_tries_and_end_at_one() -> None:
    assert (one_code(0), one_code(5_000), one_code(20_000)) == (0, 0.5, 1)
    assert any_code(0) == 0
    assert any_code(1) == pytest.approx(1e-4)
    assert any_code(10_000) == pytest.approx(0.632, abs=0.001)


def test_addresses_count_until_the_client_does() -> None:
    settings = GatewaySettings(guess_address_wrong_max=10, guess_client_wrong_max=100)

    assert [in_a_window(settings, addresses) for addresses in (1, 5, 10, 1_000)] == [10, 50, 100, 100]
    assert in_a_window(settings, 1_000, earned=50) == 150
    assert in_a_window(settings, 1_000, gateways=3) == 100 + 3 * stride(100)


def test_no_figure_is_left_unread() -> None:
    """A sign of a default that has changed: percentages outside of the table are those that are checked above."""
    prose = re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE)

    assert re.findall(r"\d+(?:\.\d+)?%", prose) == ["88%"]
