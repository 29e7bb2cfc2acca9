"""What a ledger knows of the peppers after its first one: their prints, and which of them are in use.

A number does not tell one pepper from another, and two machines with copies of the secrets file would each make the
next one: so the first print of each number counts. A pepper is in use from when CVCs are kept with it; whoever lacks it
then could neither check them nor say so.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from persistence.errors import StorageUnsafeError

KNOWN: Final = "pepper:"
"""Begins the field of a print; the pepper's number follows."""
USED: Final = "pepper_used:"
"""Begins the field of the print of one that is in use."""


class PepperPrints(Struct, frozen=True, kw_only=True):
    """The prints of a ledger's later peppers by their numbers: all that it knows, and those in use."""

    known: dict[int, str] = {}
    used: dict[int, str] = {}

    @classmethod
    def of(cls, meta: Mapping[bytes, bytes]) -> "PepperPrints":
        """Those in the fields of a ledger's meta hash."""
        found: dict[str, dict[int, str]] = {KNOWN: {}, USED: {}}
        for name, value in meta.items():
            kind, colon, number = name.decode().partition(":")
            if kind + colon in found:
                found[kind + colon][int(number)] = value.decode()
        return cls(known=found[KNOWN], used=found[USED])

    def with_ours(self, ours: Mapping[int, str], current: int) -> "PepperPrints":
        """With those of a secrets file whose pepper ``current`` is in use.

        Raises:
            StorageUnsafeError: it has another pepper of a number, or lacks one that is in use.
        """
        other = [number for number, held in sorted(ours.items()) if self.known.get(number, held) != held]
        if other:
            raise StorageUnsafeError(
                f"the ledger knows another pepper {other[0]} ({self.known[other[0]]}) than the secrets file has "
                f"({ours[other[0]]}): two machines have made one each. Take the file of the machine that changed it "
                "last."
            )
        require_used(self.used, ours)
        used = {number: held for number, held in ours.items() if number <= current}
        return PepperPrints(known=self.known | dict(ours), used=self.used | used)


def lacking(used: Mapping[int, str], ours: Mapping[int, str]) -> list[int]:
    """Numbers of peppers in use that a secrets file lacks, or has others of; both are prints by number."""
    return [number for number, held in sorted(used.items()) if ours.get(number) != held]


def require_used(used: Mapping[int, str], ours: Mapping[int, str]) -> None:
    """See that a secrets file has all peppers in use.

    Raises:
        StorageUnsafeError: it lacks one.
    """
    if numbers := lacking(used, ours):
        raise StorageUnsafeError(
            f"CVCs are kept with the pepper {numbers[0]} ({used[numbers[0]]}), which the secrets file lacks: they "
            "could not be checked. Take the file of the machine that changed it last, or put back the one that has it."
        )
