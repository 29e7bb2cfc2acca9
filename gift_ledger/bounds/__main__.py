"""Prints ``docs/bounds.md``."""

from gift_ledger.bounds.page import page

print(page(), end="")
