"""What comes back for a command, in the form in which it crosses the channel."""

from msgspec import Struct

from ledger.commands import ANY_RESERVATION
from ledger.errands import Grant
from ledger.refusals import Refused


class Answer(Struct, frozen=True, array_like=True):
    """Outcome of one command, once it is durable.

    ``body`` is the JSON text of a view (:mod:`ledger.views`), empty for a refusal. ``created`` tells a new thing (HTTP
    201) from one that was there already (200). ``replayed``: the outcome is that of an earlier request with the same
    idempotency key. ``version`` is the entity's, and never less than what ``body`` shows.
    """

    body: bytes = b""
    created: bool = False
    refused: Refused | None = None
    replayed: bool = False
    version: int = 0
    grant: Grant | None = None
    """For the certificate that asked its order."""
    reservation: int = ANY_RESERVATION
    """Which one a sale has made, or has found."""
