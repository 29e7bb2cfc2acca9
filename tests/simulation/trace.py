"""What happened in a run, line by line, with its virtual time."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Trace:
    """Takes lines.

    Args:
        now: virtual seconds.
        show: what becomes of each line besides; `None`: nothing.
    """

    def __init__(self, now: Callable[[], float], show: Callable[[str], None] | None = None) -> None:
        self.lines = 0
        self.closed = False
        self._now = now
        self._show = show
        self._digest = blake2b(digest_size=16)

    def note(self, who: str, what: str) -> None:
        """Add a line, unless the run is over."""
        if self.closed:
            return
        line = f"{self._now():10.6f} {who:<14} {what}\n"
        self.lines += 1
        self._digest.update(line.encode())
        if self._show is not None:
            self._show(line)

    @property
    def digest(self) -> str:
        """Of all lines: two runs with the same digest were the same."""
        return self._digest.hexdigest()
