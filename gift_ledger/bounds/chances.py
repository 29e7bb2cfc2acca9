"""How far somebody gets who guesses CVCs: computed from the defaults, for ``docs/security.md``.

``python -m gift_ledger.bounds.chances`` prints the table; a test compares.
"""

from collections.abc import Iterator
from typing import Final

from gateway.guesses import EARNED_MAX
from gateway.record import stride
from gateway.settings import GatewaySettings
from ledger.attempts import NO_ATTEMPTS, after_wrong
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS
from ledger.policy import Policy

CVCS: Final = 10_000
"""Of four digits."""
ADDRESSES: Final = 10_000
GATEWAYS: Final = 2


def tries_of_one_code(within_ms: int, policy: Policy) -> int:
    """How many CVCs of one code can be tried in a time, each as soon as the lock of the one before ends."""
    now, tries, attempts = 0, 0, NO_ATTEMPTS
    while now < within_ms:
        tries += 1
        attempts = after_wrong(attempts, now, policy)
        now = max(now, attempts.locked_until)
    return tries


def one_code(tries: int) -> float:
    """The chance of hitting the CVC of one code with so many different ones."""
    return min(1.0, tries / CVCS)


def any_code(tries: int) -> float:
    """The chance of hitting any of many codes with so many tries."""
    return 1 - (1 - 1 / CVCS) ** tries


def in_a_window(settings: GatewaySettings, addresses: int, *, gateways: int = 1, earned: int = 0) -> int:
    """How many wrong CVCs of one client are let through within a window."""
    of_client = _over(settings.guess_client_wrong_max + earned, gateways)
    of_address = _over(settings.guess_address_wrong_max, gateways)
    return min(of_client, addresses * of_address)


def table(settings: GatewaySettings | None = None, policy: Policy | None = None) -> str:
    """The chances as a table in Markdown."""
    lines = [
        "| who guesses | tries an hour | tries a day | chance of one hit in an hour | in a day |",
        "|---|---|---|---|---|",
        *_rows(settings or GatewaySettings(), policy or Policy()),
    ]
    return "\n".join(lines) + "\n"


def _rows(settings: GatewaySettings, policy: Policy) -> Iterator[str]:
    best = f"a client with the best record: {_number(EARNED_MAX * settings.guess_right_per_wrong)} certificates an hour"
    hour, day = (tries_of_one_code(span, policy) for span in (HOUR_MS, DAY_MS))
    yield _row("one code, from anywhere", hour, day, one_code(hour), one_code(day))
    windows = DAY_MS // (settings.guess_window_seconds * SECOND_MS)
    for who, tries in (
        ("many codes, from one address", in_a_window(settings, 1)),
        (f"many codes, from {_number(ADDRESSES)} addresses", in_a_window(settings, ADDRESSES)),
        (
            f"the same over {GATEWAYS} gateways, all at once",
            in_a_window(settings, ADDRESSES, gateways=GATEWAYS),
        ),
        (f"the same through {best}", in_a_window(settings, ADDRESSES, earned=EARNED_MAX)),
    ):
        an_hour = tries * HOUR_MS // (settings.guess_window_seconds * SECOND_MS)
        yield _row(who, an_hour, tries * windows, any_code(an_hour), any_code(tries * windows))


def _over(allowed: int, gateways: int) -> int:
    return allowed if gateways == 1 else allowed + gateways * stride(allowed)


def _row(who: str, hour: int, day: int, in_an_hour: float, in_a_day: float) -> str:
    return f"| {who} | {_number(hour)} | {_number(day)} | {in_an_hour:.2%} | {in_a_day:.2%} |"


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


if __name__ == "__main__":
    print(table(), end="")
