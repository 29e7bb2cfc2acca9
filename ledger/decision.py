"""What the rules answer."""

from typing import Generic, TypeVar

from msgspec import Struct

from ledger.attempts import Attempts
from ledger.commands import LineKey
from ledger.records import Expired, HoldVoided, Record
from ledger.refusals import Refusal, Refused

State = TypeVar("State")


class Decision(Struct, Generic[State], frozen=True, kw_only=True):
    """What a command comes to.

    ``records`` are to be appended, all or none, and lead from the state that was decided upon to ``state``. A refusal
    comes with no records. Neither records nor refusal: what was asked holds already.
    """

    state: State
    records: tuple[Record, ...] = ()
    refused: Refused | None = None
    attempts: Attempts | None = None
    """New count of CVC attempts, if it changed. The only thing that a refusal may change."""
    message: bytes | None = None
    """Sealed SMS to be queued with the last record."""
    keys: tuple[LineKey, ...] = ()
    """Data keys to be kept beside the log: of the recipients in the records."""

    @property
    def outcome(self) -> Record:
        """The record that answers the command: the last but for a write-off that follows from it."""
        last = self.records[-1]
        if isinstance(last.body, Expired) and len(self.records) > 1:
            before = self.records[-2]
            return before if isinstance(before.body, HoldVoided) else last
        return last


def refuse(state: State, code: Refusal, detail: str, **figures: int) -> Decision[State]:
    """A refusal that leaves ``state`` as it was."""
    return Decision(state=state, refused=Refused(code, detail, figures))
