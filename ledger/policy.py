"""The numbers of the business that a setting may change."""

from typing import Final

from msgspec import Struct

from ledger.codes import Salable
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS


class Policy(Struct, frozen=True, kw_only=True):
    """Durations (milliseconds) and bounds that the rules are decided with."""

    reservation_ttl_ms: int = 24 * HOUR_MS
    """After this a reservation lapses if no money was collected on its line."""
    certificate_lifetime_ms: int = 365 * DAY_MS
    """From activation to expiry."""
    void_after_expiry_ms: int = 30 * DAY_MS
    """How long after its expiry captures on a certificate can still be voided, and how long the money can then be
    spent."""
    hold_ttl_ms: int = 900 * SECOND_MS
    """Lifetime of a hold whose authorization names none."""
    cvc_attempts_free: int = 3
    """Wrong CVCs in a row after which the first lock begins."""
    cvc_lock_first_ms: int = 30 * SECOND_MS
    cvc_lock_max_ms: int = HOUR_MS
    codes: Salable = Salable.ANY
    """Which codes may be sold that were never sold."""
    code_prefixes: tuple[str, ...] = ("GC",)
    """Of the codes of our own making."""
    errand_retry_ms: int = 2 * SECOND_MS
    """How soon work that one entity owes another is tried again if nobody did it."""


DEFAULT_POLICY: Final = Policy()
