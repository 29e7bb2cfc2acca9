"""How long something is to last, as people write it: ``90s``, ``30m``, ``12h``, ``7d``, ``52w``."""

import re
from typing import Final

from ledger.money import DAY_MS, HOUR_MS, SECOND_MS

UNITS: Final = {"s": SECOND_MS, "m": 60 * SECOND_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
LIFETIME_DAYS_MAX: Final = 3_660
"""Ten years and some days: what is to last longer has no end."""
NEVER: Final = "never"

_FORM: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def milliseconds(text: str) -> int:
    """A lifetime in milliseconds.

    Raises:
        ValueError: it is none; the message says what is.
    """
    found = _FORM.fullmatch(text)
    if found is not None and 0 < (length := int(found[1]) * UNITS[found[2]]) <= LIFETIME_DAYS_MAX * DAY_MS:
        return length
    raise ValueError(
        f"{text!r} is no lifetime: write a whole number and s, m, h, d or w, e.g. 90d; at most {LIFETIME_DAYS_MAX}d"
    )
