"""A batch as a file: a code on each line, for the printer and for the import."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from ledger.codes import Form
from ledger.identifiers import normalise_code

CODES_MAX: Final = 1_000_000
"""Codes of one file: they are remembered while it is looked through, at 0.2 KB a code. More come in several."""
LINE_BYTES_MAX: Final = 256
"""Longest line that is read as a whole; no code comes near it."""
FAULTS_MAX: Final = 100
"""Lines that are listed; further ones are counted only."""
TOLD_EVERY: Final = 1_000
"""Codes between two words about how far it is."""

FOREIGN: Final = (
    "is none of ours: it has to begin with a prefix of codes_prefixes and go on with four groups of four. For codes "
    "that somebody else has made there is --foreign"
)


class BatchError(OSError):
    """The file cannot be read as a batch."""


class LineFault(Struct, frozen=True):
    """What is wrong with a line, counted from 1. The code is not told: it may be money soon."""

    line: int
    message: str


class Examined(Struct, frozen=True, kw_only=True):
    """What a file holds: how many codes that are in order, how many lines that are not, and the first of those."""

    codes: int
    faulty: int
    faults: tuple[LineFault, ...]


def write_batch(path: Path, codes: Iterable[str]) -> int:
    """Write codes into a new file for the owner alone, which is there once it is whole; gives how many.

    Raises:
        FileExistsError: there is a file of this name.
    """
    if path.exists():  # before the work
        raise FileExistsError(f"{path} exists already; a batch never overwrites another one")
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            for code in codes:
                file.write(b"%s\n" % code.encode())
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # a link fails where a rename would overwrite
    finally:
        draft.unlink(missing_ok=True)
    return count


class BatchFile:
    """A file with a code on each line. Empty lines and spaces around a code do not count, nor does case.

    Args:
        file: open, from its beginning.
        form: of our own codes: they are held against their check character.
        foreign: codes of another form are in order, too.
    """

    def __init__(self, file: BinaryIO, form: Form, *, foreign: bool) -> None:
        self._file = file
        self._form = form
        self._foreign = foreign

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self._file.seek(0, os.SEEK_END)

    def examine(self, on_progress: Callable[[int], None]) -> Examined:
        """Look through all of it; ``on_progress`` is told how many bytes were read.

        Raises:
            BatchError: there are too many codes in it.
        """
        faults: list[LineFault] = []
        first: dict[str, int] = {}
        faulty = 0
        for line, found in self._lines():
            if isinstance(found, str) and found not in first:
                first[found] = line
                if len(first) > CODES_MAX:
                    raise BatchError(f"There are more than {CODES_MAX:,} codes in the file: import it in parts.")
                if not len(first) % TOLD_EVERY:
                    on_progress(self._file.tell())
                continue
            faulty += 1
            if len(faults) < FAULTS_MAX:
                message = f"is the code of line {first[found]} again" if isinstance(found, str) else found.message
                faults.append(LineFault(line, message))
        return Examined(codes=len(first), faulty=faulty, faults=tuple(faults))

    def codes(self) -> Iterator[str]:
        """The codes, of a file that was found to be in order.

        Raises:
            BatchError: it is not any more.
        """
        for line, found in self._lines():
            if not isinstance(found, str):
                raise BatchError(f"The file has changed since it was looked through: line {line} {found.message}.")
            yield found

    def _lines(self) -> Iterator[tuple[int, str | LineFault]]:
        """Each line that is not empty: its code, or what is wrong with it."""
        self._file.seek(0)
        line = 0
        while raw := self._file.readline(LINE_BYTES_MAX):
            line += 1
            if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
                self._skip_rest()
                yield line, LineFault(line, "is too long for a code")
            elif text := raw.strip():
                yield line, self._read(line, text)

    def _skip_rest(self) -> None:
        while (raw := self._file.readline(LINE_BYTES_MAX)) and not raw.endswith(b"\n"):
            pass

    def _read(self, line: int, text: bytes) -> str | LineFault:
        code = normalise_code(text.decode("ascii", "replace"))
        if code is None:
            return LineFault(line, "is no code: 8 to 32 letters, digits and dashes")
        if self._form.wrong(code):
            return LineFault(line, "has a wrong check character")
        if not self._foreign and not self._form.claims(code):
            return LineFault(line, FOREIGN)
        return code
