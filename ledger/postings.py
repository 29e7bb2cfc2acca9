"""Double entry: every record that moves money, as postings that sum to zero.

What the retailer owes on a certificate stands in two accounts, what is available and what is held. Money comes from
the order's payments, goes out as redemption, comes back by voids, and what expires is breakage.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from ledger import records as r
from ledger.records import Record


class Account(StrEnum):
    """Accounts of one certificate."""

    AVAILABLE = "liability:available"
    HELD = "liability:held"
    PAYMENTS = "payments"
    REDEMPTION = "redemption"
    BREAKAGE = "breakage"


class Posting(Struct, frozen=True, array_like=True):
    """``amount`` minor units to ``account``: a credit if positive, a debit if negative."""

    account: Account
    amount: int


_LIABILITY: Final = (Account.AVAILABLE, Account.HELD)


def postings(record: Record) -> tuple[Posting, ...]:  # noqa: PLR0911 - one for each kind of record
    """Postings of one record; empty if it moves no money."""
    body = record.body
    match body:
        case r.Activated():
            return _move(Account.PAYMENTS, Account.AVAILABLE, body.denomination)
        case r.ActivationVoided():
            return _move(Account.AVAILABLE, Account.PAYMENTS, body.amount)
        case r.Held():
            return _move(Account.AVAILABLE, Account.HELD, body.amount)
        case r.HoldLapsed() | r.HoldVoided():
            return _move(Account.HELD, Account.AVAILABLE, body.amount)
        case r.Captured():
            taken = _move(Account.HELD, Account.REDEMPTION, body.amount)
            return taken + _move(Account.HELD, Account.AVAILABLE, body.released) if body.released else taken
        case r.CaptureVoided():
            return _move(Account.REDEMPTION, Account.AVAILABLE, body.amount)
        case r.Expired():
            return _move(Account.AVAILABLE, Account.BREAKAGE, body.amount)
        case _:
            return ()


def balance(entries: tuple[Posting, ...] | list[Posting]) -> int:
    """What is owed: the sum of the liability accounts."""
    return sum(entry.amount for entry in entries if entry.account in _LIABILITY)


def held(entries: tuple[Posting, ...] | list[Posting]) -> int:
    """What is set aside for open holds."""
    return sum(entry.amount for entry in entries if entry.account is Account.HELD)


def _move(source: Account, target: Account, amount: int) -> tuple[Posting, ...]:
    return Posting(source, -amount), Posting(target, amount)
