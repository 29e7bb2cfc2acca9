"""One command on its way through a shard."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from actors.errors import ActorError
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin

Shape = Callable[[Answer], Answer]
"""What the answer becomes before it is stored and given."""

Done = Callable[[Answer | ActorError], None]
"""Takes the outcome, once: what was answered, or why there is no answer."""


class Keyed(Enum):
    """What becomes of the command's idempotency key."""

    FIRST = "first"
    """The key must be new; the answer is stored under it."""
    PENDING = "pending"
    """The key must be new; the answer is not known yet, a later step of the same sale stores it."""
    SETTLES = "settles"
    """The key was stored as pending; the answer takes that place, unless the same request has settled it meanwhile."""


def as_it_is(answer: Answer) -> Answer:
    """The shape of an ordinary answer."""
    return answer


class Work:
    """A command with who asks and who waits for it.

    ``arrived`` is when it came into the mailbox (milliseconds). ``done`` is called by :meth:`settle` alone.
    """

    __slots__ = ("_done", "arrived", "command", "entity", "keyed", "origin", "settled", "shape")

    def __init__(
        self,
        entity: str,
        command: AnyCommand,
        origin: Origin,
        done: Done,
        arrived: int,
        keyed: Keyed = Keyed.FIRST,
        shape: Shape = as_it_is,
    ) -> None:
        self.entity: Final = entity
        self.command: Final = command
        self.origin: Final = origin
        self.arrived: Final = arrived
        self.keyed: Final = keyed
        self.shape: Final = shape
        self.settled = False
        self._done: Final = done

    def settle(self, outcome: Answer | ActorError) -> None:
        """Tell the outcome; a second one is not told, since the first has been acted on."""
        if not self.settled:
            self.settled = True
            self._done(outcome)


def fail(works: Iterable[Work], error: ActorError) -> None:
    """End them all without an answer."""
    for work in works:
        work.settle(error)
