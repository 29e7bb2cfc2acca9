"""Times as they are written."""

import pytest

from ledger.money import rfc3339, rfc3339_or_none


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_417_200_007, "2026-11-23T07:00:00.007Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_rfc_3339_with_milliseconds(at_ms: int, text: str) -> None:
    assert rfc3339(at_ms) == text
    assert rfc3339_or_none(at_ms) == text


def test_no_time_stays_none() -> None:
    assert rfc3339_or_none(None) is None
