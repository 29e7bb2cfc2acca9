"""Refuses a code with a wrong check character before the ledger is asked: no certificate can have it.

The answer is the one that the ledger gives of a code that it does not know, made by the same rules. It comes sooner,
and no wrong CVC is counted: both tell that the check character is wrong, which whoever can read this knows as well, and
nothing about any certificate (docs/decisions/0017-certificate-codes.md).
"""

from typing import Final

from gateway.faults import ProblemError, invalid
from ledger.answers import Answer
from ledger.certificate import Certificate, decide
from ledger.codes import Form, form_of
from ledger.commands import AnyCommand, Origin, Sell
from ledger.identifiers import entity_key
from ledger.refusals import Refusal

WRONG: Final = "has a wrong check character: compare it with the card"


def form_to_check(prefixes: tuple[str, ...]) -> Form | None:
    """The form of codes that are checked; ``None`` without prefixes: none are."""
    return form_of(prefixes) if prefixes else None


def without_look_up(form: Form, entity: str, command: AnyCommand, origin: Origin) -> Answer | None:
    """What is answered if the code of a certificate cannot be right; ``None``: the ledger has to be asked.

    Raises:
        ProblemError: 400 ``InvalidRequest``, for a sale.
    """
    code = entity_key(entity)
    if not form.wrong(code):
        return None
    if isinstance(command, Sell):
        raise invalid("code", WRONG)
    return Answer(refused=decide(Certificate(code=code), command, origin, 0).refused)  # type: ignore[arg-type]


def require_right(form: Form | None, code: str) -> None:
    """Refuse to read what cannot be there.

    Raises:
        ProblemError: 404 ``CertificateNotFound``.
    """
    if form is not None and form.wrong(code):
        raise ProblemError(Refusal.CERTIFICATE_NOT_FOUND, "No certificate has this code.")
