"""How the rest of the service asks the ledger: one method."""

from typing import Protocol

from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin


class Ledger(Protocol):
    """The ledger as its callers see it, wherever the entities live."""

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """Give a command to the one writer of ``entity`` and wait until its outcome is durable.

        Raises:
            OverloadedError: nothing happened; try again later.
            OutcomeUnknownError: it may have happened or not; ask again with the same idempotency key.
        """
        ...
