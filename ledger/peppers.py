"""Digests of CVCs under several peppers: what a request carries, what is stored, and whether they fit.

The peppers have numbers; the first one is what a ledger begins with. A digest under it is stored as it is, as all of
them were before there were others. One under a later pepper has its number before it. A request carries the digest
under each pepper that its gateway has, since only whoever has the state knows under which one the certificate's is.
"""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

FIRST: Final = 1
"""Number of the pepper that a ledger begins with."""
DIGEST_BYTES: Final = 32
_NUMBERED_BYTES: Final = 1 + DIGEST_BYTES


def stored(pepper: int, digest: bytes) -> bytes:
    """A digest as it is stored."""
    return digest if pepper == FIRST else bytes((pepper,)) + digest


def pepper_of(kept: bytes) -> int:
    """Number of the pepper that a stored digest is under."""
    return kept[0] if len(kept) == _NUMBERED_BYTES else FIRST


def carried(current: int, digests: Mapping[int, bytes]) -> bytes:
    """What a request carries, of digests by the numbers of their peppers; the one under ``current`` comes first.

    Under one pepper alone it is the digest itself; else all have their numbers before them, the first pepper's too.
    """
    if len(digests) == 1:
        return stored(current, digests[current])
    order = (current, *(pepper for pepper in digests if pepper != current))
    return b"".join(bytes((pepper,)) + digests[pepper] for pepper in order)


def single(given: bytes) -> list[bytes]:
    """The digests that a request carries, each as it would be stored, that under the current pepper first."""
    if not given or len(given) % _NUMBERED_BYTES:
        return [given]
    return [
        stored(given[start], given[start + 1 : start + _NUMBERED_BYTES])
        for start in range(0, len(given), _NUMBERED_BYTES)
    ]


def fits(given: bytes, kept: bytes | None) -> bool:
    """Whether a request carries the digest that is stored.

    All that it carries is compared, in constant time, whether there is a certificate or not.
    """
    wanted = kept or b""
    if len(given) == DIGEST_BYTES:
        return compare_digest(given, wanted)
    right = False
    # as long as what it is compared with, and no digest
    blank = bytes(_NUMBERED_BYTES)
    numbered = wanted if len(wanted) == _NUMBERED_BYTES else bytes((FIRST,)) + wanted if wanted else blank
    for one in single(given):
        right |= compare_digest(one if len(one) == _NUMBERED_BYTES else bytes((FIRST,)) + one, numbered)
    return right and bool(wanted)  # whoever writes a blank has not hit one that is not there
