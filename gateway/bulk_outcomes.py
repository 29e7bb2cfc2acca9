"""The answer to a bulk call: what the single calls would have answered, side by side.

The texts of the ledger's answers go in as they are; nothing of them is read here.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from gateway.faults import ProblemError
from gateway.problems import KINDS, document, told_of
from ledger.answers import Answer
from ledger.views.view import View

_BODY: Final = "What the single call would have answered."
_REF: Final = "#/components/schemas/"


def _body(shown: str) -> Meta:
    return Meta(description=_BODY, extra_json_schema={"anyOf": [{"$ref": _REF + shown}, {"$ref": _REF + "Problem"}]})


class Outcome(View, frozen=True):
    """What came of one item."""

    status: Annotated[int, Meta(description="The HTTP status that the single call would have had.")]
    replayed: Annotated[bool, Meta(description="Whether it is the outcome of an earlier request with the key.")] = False


class AuthorizationOutcome(Outcome, frozen=True, kw_only=True):
    """What came of one authorization."""

    body: Annotated[Any, _body("Authorization")]


class CaptureOutcome(Outcome, frozen=True, kw_only=True):
    """What came of one capture."""

    body: Annotated[Any, _body("Captured")]


class VoidOutcome(Outcome, frozen=True, kw_only=True):
    """What came of one void."""

    body: Annotated[Any, _body("Voided")]


_IN_ORDER: Final = Meta(description="One for each item, in the order of the items.")


class AuthorizationOutcomes(View, frozen=True):
    """What came of each authorization."""

    outcomes: Annotated[list[AuthorizationOutcome], _IN_ORDER]


class CaptureOutcomes(View, frozen=True):
    """What came of each capture."""

    outcomes: Annotated[list[CaptureOutcome], _IN_ORDER]


class VoidOutcomes(View, frozen=True):
    """What came of each void."""

    outcomes: Annotated[list[VoidOutcome], _IN_ORDER]


class Rendered:
    """The outcomes as a body, and how many there are of each status and problem (``""``: none)."""

    def __init__(self, outcomes: Sequence[Answer | Exception], path: str) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()
        self._path = path
        self.body: Final = b'{"outcomes":[%s]}' % b",".join(
            [self._outcome(position, outcome) for position, outcome in enumerate(outcomes)]
        )

    def _outcome(self, position: int, outcome: Answer | Exception) -> bytes:
        if isinstance(outcome, Exception):
            return self._problem(position, told_of(outcome), b"")
        replayed = b',"replayed":true' if outcome.replayed else b""
        refused = outcome.refused
        if refused is not None:
            return self._problem(
                position, ProblemError(refused.code, refused.detail, figures=refused.figures), replayed
            )
        status = 201 if outcome.created else 200
        self.counts[status, ""] += 1
        return b'{"status":%d%s,"body":%s}' % (status, replayed, outcome.body)

    def _problem(self, position: int, told: ProblemError, replayed: bytes) -> bytes:
        status = KINDS[told.code].status
        self.counts[status, told.code.value] += 1
        return b'{"status":%d%s,"body":%s}' % (status, replayed, document(told, f"{self._path}#/items/{position}"))
