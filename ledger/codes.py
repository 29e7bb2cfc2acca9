"""Certificate codes of our own making, ``GC-7K2M-9XTA-…``: their form, their check character, and who may be sold.

A code is a prefix and sixteen characters of :data:`ALPHABET` in groups of four, of which the last one is the check
character. It is the pure system of ISO/IEC 7064 with one check character (as MOD 11-2 and MOD 37-2 are), for a prime as
large as the alphabet: the characters' values, each times a power of the radix, add up to 1 modulo 23. Since the modulus
is prime and the weights differ, it finds every wrong character and any two that changed places, next to each other or
not; and since it has as many remainders as the alphabet has characters, the check character is one of them.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

ALPHABET: Final = "23456789CDFHJKMNPRTVWXY"
"""23 characters. Of those that look alike one is there at most: none of 0 O Q 1 I L, and no U, S, Z, B, G, A, E beside
V, 5, 2, 8, 6, 4, F. Without vowels nobody reads a word in a code."""
GROUP: Final = 4
"""Characters between two dashes."""
GROUPS: Final = 4
LENGTH: Final = GROUP * GROUPS
"""Characters of a code without its prefix, the check character among them."""
PREFIX_PATTERN: Final = r"[A-Z0-9]{1,12}"
"""So a code has 32 characters at most."""
PREFIXES_PATTERN: Final = rf"^{PREFIX_PATTERN}(,{PREFIX_PATTERN}){{0,15}}$"
"""Of up to sixteen, with commas between them."""

MODULUS: Final = len(ALPHABET)
RADIX: Final = 28
"""Equals 5 modulo 23, a primitive root: its first 22 powers all differ. As 28 it is one that ``int`` knows, which adds
up in C: the digits of base 28 stand for the alphabet, in its order."""
REMAINDER: Final = 1
"""What the sum has to be; ISO/IEC 7064 takes 1 so that nothing but zeros is not right."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLM"
_NO_DIGIT: Final = "Z"
_VALUES: Final = str.maketrans(
    dict.fromkeys("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _NO_DIGIT)
    | dict(zip(ALPHABET, _DIGITS, strict=True))
    | {"-": "_"}  # which int passes over between digits
)
_BODY: Final = LENGTH + GROUPS - 1


class Salable(StrEnum):
    """Which codes are sold that were never sold before."""

    ANY = "any"
    """Whatever code the seller names."""
    CHECKED = "checked"
    """Codes of our own making."""
    IMPORTED = "imported"
    """Codes of imported batches."""


class Form:
    """The codes of some prefixes. :func:`form_of` makes one."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        names = "|".join(re.escape(prefix) for prefix in prefixes)
        self._matches = re.compile(rf"(?:{names})(?:-[A-Z0-9]{{{GROUP}}}){{{GROUPS}}}").fullmatch

    def claims(self, code: str) -> bool:
        """Whether a code looks like one of ours: such a prefix, and four groups of four."""
        return self._matches(code) is not None

    def right(self, code: str) -> bool:
        """Whether a code is one of ours, its check character included."""
        return self.claims(code) and check(code[-_BODY:])

    def wrong(self, code: str) -> bool:
        """Whether a code looks like one of ours and cannot be one: a typing error, or a guess."""
        return self.claims(code) and not check(code[-_BODY:])


@lru_cache(maxsize=16)
def form_of(prefixes: tuple[str, ...]) -> Form:
    """The form of codes with these prefixes."""
    return Form(prefixes)


def check(body: str) -> bool:
    """Whether the check character is right. ``body``: four groups of ``[A-Z0-9]{4}`` with dashes between them."""
    try:
        return int(body.translate(_VALUES), RADIX) % MODULUS == REMAINDER
    except ValueError:  # a character that is not in the alphabet
        return False


def complete(prefix: str, characters: str) -> str:
    """The code of fifteen characters of the alphabet: with prefix, dashes and check character."""
    weighed = int(characters.translate(_VALUES), RADIX) * RADIX
    body = characters + ALPHABET[(REMAINDER - weighed) % MODULUS]
    return "-".join((prefix, *(body[at : at + GROUP] for at in range(0, LENGTH, GROUP))))
