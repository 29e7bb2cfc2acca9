"""How the rest of the service asks the ledger."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from actors.errors import ActorError
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin

Ask = tuple[str, AnyCommand, Origin]
"""One of many questions: the entity, the command, and who asks."""


class Ledger(Protocol):
    """The ledger as its callers see it, wherever the entities live."""

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """Give a command to the one writer of ``entity`` and wait until its outcome is durable.

        It ends by itself: once its time-out has passed, with one of these errors.

        Raises:
            OverloadedError: nothing happened; try again later.
            OutcomeUnknownError: it may have happened or not; ask again with the same idempotency key.
        """
        ...


class PromptLedger(Ledger, Protocol):
    """A ledger that can be asked without a task for each call."""

    def ask_now(self, entity: str, command: AnyCommand, origin: Origin) -> asyncio.Future[Answer] | None:
        """As :meth:`ask`, whose outcome the future gets; ``None``: the writer has to be found first, nothing was begun.

        Cancelling the future does not undo what was begun.

        Raises:
            OverloadedError: nothing happened; try again later.
        """
        ...


class BulkLedger(PromptLedger, Protocol):
    """A ledger that takes many commands at once."""

    async def ask_many(self, asks: Sequence[Ask]) -> list[Answer | ActorError]:
        """The outcome of each of ``asks``, in their order: its answer, or why there is none.

        Those that concern one entity are carried out in the order in which they stand. It ends by itself, as
        :meth:`ask` does; what has no outcome by then has an :class:`~actors.errors.OutcomeUnknownError`. Commands that
        were asked one by one go first, so that a batch holds up nobody who waits at a till.
        """
        ...
