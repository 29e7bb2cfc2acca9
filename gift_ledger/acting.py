"""An administrative act while it is done: noted before it takes effect, and again with what came of it."""

import logging
import os
import pwd
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from persistence import acts
from persistence.acts import ActStore
from persistence.errors import StorageError
from persistence.idempotency import now_ms

LOGIN: Final = Path("/proc/self/loginuid")
"""Who has logged in, whoever he has become since (by ``sudo``, say); the system's audit keeps it there."""
NOBODY: Final = 2**32 - 1
"""What stands there if nobody has: in a container, or of a service."""

Fact = str | int | None

_logger = logging.getLogger(__name__)


class Acting:
    """One act, for the length of a block. If the block never comes to :meth:`begin`, nothing happened, or is noted.

    Args:
        store: the stream of acts.
        command: what is done, as it is typed, without arguments.
        arguments: neither secrets nor personal data; ``None`` is left out.
    """

    def __init__(self, store: ActStore, command: str, **arguments: Fact) -> None:
        self._store = store
        self._command = command
        self._facts = _told(arguments)
        self._intent: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._intent is None:
            return
        if kind is not None:
            self._facts["error"] = kind.__name__  # not its message, which may quote anything
        try:
            await self._note("done" if kind is None else "failed")
        except StorageError as lost:
            # what was done is done, and its caller has to hear of that: the intent stands
            _logger.warning("What came of `%s` could not be noted: %s", self._command, lost)

    async def begin(self, **arguments: Fact) -> None:
        """Note that the act is about to take effect. A second time changes nothing.

        Raises:
            StorageError: it could not be noted, so the act must not be done.
        """
        if self._intent is None:
            self._facts |= _told(arguments)
            self._intent = await self._note("begun")

    def came_to(self, **results: Fact) -> None:
        """What is to be noted with the end."""
        self._facts |= _told(results)

    async def _note(self, outcome: acts.Outcome) -> int:
        return await acts.note(self._store, now_ms(), who(), self._command, outcome, self._facts, self._intent)


def who() -> tuple[str, str]:
    """User of the operating system, and host. ``anna as root``: she has logged in, and acts as root."""
    user = _name(os.getuid())
    try:
        login = int(LOGIN.read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = NOBODY
    if login not in {NOBODY, os.getuid()}:
        user = f"{_name(login)} as {user}"
    return user, socket.gethostname()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"  # a container's user, as a rule


def _told(facts: dict[str, Fact]) -> dict[str, str]:
    return {name: str(fact) for name, fact in facts.items() if fact is not None}
