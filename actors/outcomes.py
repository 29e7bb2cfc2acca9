"""What is stored under an idempotency key, and what a repeated request is answered from."""

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from actors.errors import ActorError, OutcomeUnknownError, PepperMissingError
from ledger import views
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.commands import AnyCommand, Origin
from ledger.fingerprints import is_same
from ledger.records import Record
from ledger.refusals import Refusal, Refused
from persistence.errors import UNDECODABLE, DamagedLogError


class Stored(Struct, frozen=True, array_like=True):
    """The first outcome of a request.

    ``version`` names the record that it can be derived from again (authorizations, captures and voids: one integer
    instead of a reply). Any other outcome is stored whole. Neither: a sale that was begun; its end stands in the state.
    """

    fingerprint: bytes
    version: int = 0
    answer: Answer | None = None

    @property
    def pending(self) -> bool:
        """Whether the request was begun and its outcome is still to be stored."""
        return not self.version and self.answer is None

    @property
    def open(self) -> bool:
        """Whether a sale that was begun has yet to come to its outcome: an answer that shows nothing is none."""
        answer = self.answer
        return self.pending or (answer is not None and not answer.body and answer.refused is None)


REUSED: Final = Answer(
    refused=Refused(
        Refusal.IDEMPOTENCY_KEY_REUSED,
        "The idempotency key was used for a different request; take a new key for a new request.",
    )
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Stored)


def pending(origin: Origin) -> bytes:
    """Value for a request that was begun."""
    return _encoder.encode(Stored(origin.fingerprint))


def stored(origin: Origin, answer: Answer, version: int = 0) -> bytes:
    """Value for an answer; with ``version`` the record of that version stands for it."""
    return _encoder.encode(Stored(origin.fingerprint, version, None if version else answer))


def keeps(answer: Answer | PepperMissingError) -> bool:
    """Whether the outcome is kept: a rate limit means that nothing happened, and the same key may try again.

    So does a CVC that could not be checked.
    """
    if isinstance(answer, PepperMissingError):
        return False
    return answer.refused is None or answer.refused.code is not Refusal.RATE_LIMITED


def recall(value: bytes) -> Stored:
    """The stored outcome.

    Raises:
        DamagedLogError: these bytes are none.
    """
    try:
        return _decoder.decode(value)
    except UNDECODABLE as error:
        raise DamagedLogError(f"stored bytes are no outcome of a request: {error}") from error


def other_request(first: Stored, entity: str, command: AnyCommand, origin: Origin) -> Answer | ActorError | None:
    """What to tell a request that is not the one whose outcome is stored; ``None`` if it is the same."""
    if first.fingerprint == origin.fingerprint:
        return None
    same = is_same(first.fingerprint, entity, command)
    if same is None:
        return OutcomeUnknownError("The gateway lacks the pepper that this request was made with first.")
    return None if same else REUSED


def again(answer: Answer) -> Answer:
    """The stored answer, given again."""
    return replace(answer, replayed=True)


def from_record(state: Certificate, record: Record) -> Answer:
    """The answer that ``record`` gave when it was made."""
    view = views.outcome(state, record)
    return Answer(body=views.encode(view) if view else b"", created=True, version=record.version_after)
