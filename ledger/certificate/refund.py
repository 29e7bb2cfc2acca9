"""Giving back: the void of an authorization, a capture or an unused activation.

Order of precedence: ``OperationNotFound``, ``Forbidden``, ``CertificateBlocked``, then by what is voided
``OperationAlreadyVoided``, ``OperationNotVoidable``, ``CertificateExpired``, ``VoidExceedsOperation``.

Money that comes back must be of use to whoever it belongs to. So a capture that is voided after the certificate has
expired brings the certificate back to life with that money (not with what was written off), for as long again as such
a void is possible. What an authorization gives back after the expiry was the certificate's own, unspent: it is
written off as the rest was.
"""

from ledger import records as r
from ledger.attempts import Attempts
from ledger.certificate.state import Capture, Certificate, Closed, ClosedHold, Hold, advance
from ledger.commands import Origin, Void
from ledger.decision import Decision, refuse
from ledger.identifiers import AUTHORIZATION, OPERATION, version_of
from ledger.policy import Policy
from ledger.records import Status
from ledger.refusals import Refusal


def void(  # noqa: PLR0911 - one for each thing that can be voided
    state: Certificate, command: Void, origin: Origin, now: int, policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Undo an operation, in whole or in part, never beyond what it did."""
    version = version_of(command.operation_id, state.code, AUTHORIZATION, OPERATION)
    if version is None or version > state.version:
        return refuse(state, Refusal.OPERATION_NOT_FOUND, "The certificate has no such operation.")
    target = _target(state, version, command.operation_id)
    if origin.own_only and _owner(state, target) not in {None, origin.client}:
        return refuse(state, Refusal.FORBIDDEN, "The operation belongs to another client.")
    if state.blocked and not origin.overrides_block:
        return refuse(state, Refusal.CERTIFICATE_BLOCKED, "The certificate is blocked; support can void it.")
    match target:
        case Hold():
            return _void_hold(state, version, target, command, origin, now)
        case ClosedHold(reason=Closed.VOIDED):
            return refuse(state, Refusal.OPERATION_ALREADY_VOIDED, "The authorization was voided already.")
        case ClosedHold(reason=Closed.CAPTURED):
            detail = "The authorization was captured; void the capture."
            return refuse(state, Refusal.OPERATION_NOT_VOIDABLE, detail)
        case ClosedHold():
            return refuse(state, Refusal.OPERATION_NOT_VOIDABLE, "The authorization has expired; nothing is held.")
        case Capture():
            return _void_capture(state, version, target, command, origin, now, policy)
        case "activation":
            return _void_activation(state, version, command, origin, now)
        case _:
            return refuse(
                state, Refusal.OPERATION_NOT_VOIDABLE, "Only authorizations, captures and activations can be voided."
            )


def _target(state: Certificate, version: int, operation_id: str) -> Hold | ClosedHold | Capture | str | None:
    if operation_id.startswith(f"{AUTHORIZATION}_"):
        return state.holds.get(version) or state.closed.get(version)
    if version == state.activation:
        return "activation"
    return state.captures.get(version)


def _owner(state: Certificate, target: Hold | ClosedHold | Capture | str | None) -> str | None:
    if isinstance(target, Hold | ClosedHold | Capture):
        return target.client
    return state.seller if target == "activation" else None


def _void_hold(
    state: Certificate, version: int, hold: Hold, command: Void, origin: Origin, now: int
) -> Decision[Certificate]:
    amount = hold.left if command.amount is None else command.amount
    if not 0 < amount <= hold.left:
        return _exceeds(state, amount, hold.left)
    voided = r.HoldVoided(version, amount, command.reason)
    written_off = (r.Expired(amount),) if state.status is Status.EXPIRED else ()
    records, after = advance(state, now, origin, voided, *written_off)
    return Decision(state=after, records=records)


def _void_capture(
    state: Certificate, version: int, capture: Capture, command: Void, origin: Origin, now: int, policy: Policy
) -> Decision[Certificate]:
    left = capture.amount - capture.voided
    if left == 0:
        return refuse(state, Refusal.OPERATION_ALREADY_VOIDED, "The capture was voided in full already.")
    expired = state.status is Status.EXPIRED
    if expired and now >= (state.expires_at or 0) + policy.void_after_expiry_ms:
        detail = "The certificate expired too long ago for a void."
        return refuse(state, Refusal.CERTIFICATE_EXPIRED, detail)
    amount = left if command.amount is None else command.amount
    if not 0 < amount <= left:
        return _exceeds(state, amount, left)
    expires_at = now + policy.void_after_expiry_ms if expired else None
    records, after = advance(state, now, origin, r.CaptureVoided(version, amount, command.reason, expires_at))
    return Decision(state=after, records=records)


def _void_activation(
    state: Certificate, version: int, command: Void, origin: Origin, now: int
) -> Decision[Certificate]:
    denomination = state.denomination or 0
    if state.status is Status.CANCELLED:
        return refuse(state, Refusal.OPERATION_ALREADY_VOIDED, "The activation was voided already.")
    if state.status is Status.EXPIRED:
        return refuse(state, Refusal.CERTIFICATE_EXPIRED, "The certificate has expired.")
    if state.captures or state.holds:
        return refuse(state, Refusal.OPERATION_NOT_VOIDABLE, "The certificate was drawn on already.")
    if command.amount is not None and command.amount > denomination:
        return _exceeds(state, command.amount, denomination)
    if command.amount is not None and command.amount < denomination:
        return refuse(state, Refusal.OPERATION_NOT_VOIDABLE, "An activation can only be voided whole.")
    records, after = advance(state, now, origin, r.ActivationVoided(version, denomination, command.reason))
    return Decision(state=after, records=records)


def _exceeds(state: Certificate, amount: int, left: int) -> Decision[Certificate]:
    detail = f"{left} is left of the operation, {amount} was asked for."
    return refuse(state, Refusal.VOID_EXCEEDS_OPERATION, detail, left=left)
