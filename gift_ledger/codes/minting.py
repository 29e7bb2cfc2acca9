"""Makes codes from a cryptographic source."""

import secrets
from collections.abc import Iterator
from math import log2
from typing import Final

from ledger.codes import ALPHABET, LENGTH, complete

COUNT_MAX: Final = 1_000_000
"""Codes of one batch: it is remembered while it is made, at 0.1 KB a code. Two batches share a code with a chance below
one in 10^8."""
SPACE: Final = len(ALPHABET) ** (LENGTH - 1)
"""How many codes there are under one prefix: the check character follows from the others."""
ENTROPY_BITS: Final = log2(SPACE)
"""Of each code: 67.9."""


def minted(count: int, prefix: str) -> Iterator[str]:
    """So many codes with this prefix, none of them twice."""
    seen: set[int] = set()
    while len(seen) < count:
        number = secrets.randbelow(SPACE)
        if number not in seen:
            seen.add(number)
            yield complete(prefix, _characters(number))


def _characters(number: int) -> str:
    characters = []
    for _ in range(LENGTH - 1):
        number, value = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[value])
    return "".join(characters)
