"""What support may do: block, unblock, a new CVC.

Order of precedence: ``CertificateNotFound``, ``CertificateExpired``, ``CertificateNotActive``, and for a new CVC
``CertificateBlocked`` before ``RecipientUnknown``.
"""

from ledger import records as r
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate.state import Certificate, advance
from ledger.commands import Block, Origin, ReissueCvc, Unblock
from ledger.decision import Decision, refuse
from ledger.policy import Policy
from ledger.records import Status
from ledger.refusals import Refusal


def block(
    state: Certificate, command: Block, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Stop redemption. Blocking what is blocked changes nothing."""
    if (refused := _not_alive(state)) is not None:
        return refused
    if state.status is Status.BLOCKED:
        return Decision(state=state)
    records, after = advance(state, now, origin, r.Blocked(command.reason))
    return Decision(state=after, records=records)


def unblock(
    state: Certificate, command: Unblock, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Allow redemption again. Unblocking what is not blocked changes nothing."""
    if (refused := _not_alive(state)) is not None:
        return refused
    if state.status is not Status.BLOCKED:
        return Decision(state=state)
    records, after = advance(state, now, origin, r.Unblocked(command.reason))
    return Decision(state=after, records=records)


def reissue_cvc(
    state: Certificate, command: ReissueCvc, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Replace the CVC. The count of wrong attempts starts anew with it."""
    if (refused := _not_alive(state)) is not None:
        return refused
    if state.status is Status.BLOCKED:
        return refuse(state, Refusal.CERTIFICATE_BLOCKED, "The certificate is blocked; unblock it first.")
    if state.recipient is None:
        return refuse(state, Refusal.RECIPIENT_UNKNOWN, "The order named no phone to send the CVC to.")
    if command.cvc is None:
        return refuse(
            state,
            Refusal.RECIPIENT_UNKNOWN,
            "The phone to send the CVC to is no longer known: it was erased, or its key is lost.",
        )
    records, after = advance(state, now, origin, r.CvcReissued(command.cvc.digest))
    return Decision(state=after, records=records, attempts=NO_ATTEMPTS, message=command.cvc.message)


def _not_alive(state: Certificate) -> Decision[Certificate] | None:
    match state.status:
        case Status.UNKNOWN:
            return refuse(state, Refusal.CERTIFICATE_NOT_FOUND, "No certificate has this code.")
        case Status.EXPIRED:
            return refuse(state, Refusal.CERTIFICATE_EXPIRED, "The certificate has expired.")
        case Status.RESERVED | Status.CANCELLED:
            return refuse(state, Refusal.CERTIFICATE_NOT_ACTIVE, "The certificate is not active.")
        case _:
            return None
