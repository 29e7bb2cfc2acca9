"""Puts the codes of a batch where sales look for them."""

from collections.abc import Callable, Iterable
from itertools import islice

from msgspec import Struct

from persistence.codes import CODES_AT_ONCE, CodeStore
from persistence.errors import StorageError


class ImportBrokenError(OSError):
    """The import came to an end in the middle; the message says how far it was."""


class Imported(Struct, frozen=True, kw_only=True):
    """What an import did: codes that were new, and codes that were there."""

    new: int = 0
    known: int = 0


async def import_codes(
    store: CodeStore, codes: Iterable[str], total: int, on_progress: Callable[[int], None]
) -> Imported:
    """Write codes, a pipeline at a time. Done again, wherever it was broken off, it comes to the same.

    Args:
        store: where to.
        codes: any number; each is held in memory only until it is written.
        total: how many they are, for what is said of an import that breaks.
        on_progress: is told how many are there.

    Raises:
        ImportBrokenError: the store did not answer.
    """
    waiting = iter(codes)
    new = done = 0
    while page := list(islice(waiting, CODES_AT_ONCE)):
        try:
            new += await store.add(page)
        except StorageError as error:
            raise ImportBrokenError(
                f"{error}. {done:,} of {total:,} codes are there for certain: import the file again, nothing is "
                "there twice."
            ) from error
        done += len(page)
        on_progress(done)
    return Imported(new=new, known=done - new)
