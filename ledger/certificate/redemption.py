"""Spending: authorization, capture, balance inquiry.

Order of precedence of the refusals.

Authorize and inquire, where a CVC is required: ``RateLimited``, ``CertificateRefused``. Where it is optional:
``RateLimited`` (only if one is given), ``CertificateNotFound``, ``CvcMismatch``. Then ``CertificateNotActive``,
``CertificateBlocked``, ``CertificateExpired``, and for an authorization ``CurrencyMismatch``, ``InsufficientFunds``.

Capture: ``AuthorizationNotFound``, ``Forbidden``, ``AuthorizationAlreadyCaptured``, ``AuthorizationVoided``,
``AuthorizationExpired``, ``CaptureExceedsAuthorization``.
"""

from msgspec.structs import replace

from ledger import peppers
from ledger import records as r
from ledger.attempts import NO_ATTEMPTS, Attempts, after_wrong, seconds_locked
from ledger.certificate.state import Certificate, Closed, advance
from ledger.commands import Authorize, Capture, Inquire, Origin
from ledger.decision import Decision, refuse
from ledger.identifiers import AUTHORIZATION, version_of
from ledger.policy import Policy
from ledger.records import Status
from ledger.refusals import Refusal

_OPEN = (Status.ACTIVE, Status.DEPLETED)

_CLOSED_REFUSALS = {
    Closed.CAPTURED: (Refusal.AUTHORIZATION_ALREADY_CAPTURED, "The authorization was captured already."),
    Closed.VOIDED: (Refusal.AUTHORIZATION_VOIDED, "The authorization was voided."),
    Closed.LAPSED: (Refusal.AUTHORIZATION_EXPIRED, "The authorization has expired; authorize again."),
}


def authorize(
    state: Certificate, command: Authorize, origin: Origin, now: int, policy: Policy, attempts: Attempts
) -> Decision[Certificate]:
    """Hold an amount. A hold never lets ``available`` fall below 0."""
    access = check_cvc(state, command.cvc, origin, now, policy, attempts)
    if access.refused is not None:
        return access
    if (refused := _not_spendable(state)) is not None:
        return replace(refused, attempts=access.attempts)
    if command.currency != state.currency:
        detail = f"The certificate is in {state.currency}, the authorization in {command.currency}."
        return replace(refuse(state, Refusal.CURRENCY_MISMATCH, detail), attempts=access.attempts)
    amount = min(command.amount, state.available) if command.allow_partial else command.amount
    if amount > state.available or amount <= 0:
        detail = f"{state.available} is available, {command.amount} was asked for."
        refused = refuse(state, Refusal.INSUFFICIENT_FUNDS, detail, available=state.available)
        return replace(refused, attempts=access.attempts)
    ttl_ms = policy.hold_ttl_ms if command.ttl_ms is None else command.ttl_ms
    records, after = advance(state, now, origin, r.Held(amount, now + ttl_ms, command.reference))
    return Decision(state=after, records=records, attempts=access.attempts)


def inquire(
    state: Certificate, command: Inquire, origin: Origin, now: int, policy: Policy, attempts: Attempts
) -> Decision[Certificate]:
    """Tell the balance to whoever may know it."""
    access = check_cvc(state, command.cvc, origin, now, policy, attempts)
    refused = None if access.refused is not None else _not_spendable(state)
    return access if refused is None else replace(refused, attempts=access.attempts)


def check_cvc(
    state: Certificate, cvc: bytes | None, origin: Origin, now: int, policy: Policy, attempts: Attempts
) -> Decision[Certificate]:
    """Whether the caller may know anything about the code.

    Where the CVC is required every reason to refuse gives the same answer, and costs the same: a wrong CVC is counted
    for an unknown code, and a right one for a certificate that is not active is counted as wrong, or the count itself
    would tell them apart.
    """
    if cvc is not None and (wait := seconds_locked(attempts, now)):
        detail = f"Too many wrong CVCs; try again in {wait} s."
        return refuse(state, Refusal.RATE_LIMITED, detail, retryAfter=wait)
    right = cvc is not None and peppers.fits(cvc, state.cvc)
    if origin.cvc_required:
        if right and state.status in _OPEN:
            return _passed(state, attempts)
        refused = refuse(state, Refusal.CERTIFICATE_REFUSED, "The certificate or its CVC was refused.")
        return refused if cvc is None else replace(refused, attempts=after_wrong(attempts, now, policy))
    if state.status is Status.UNKNOWN:
        refused = refuse(state, Refusal.CERTIFICATE_NOT_FOUND, "No certificate has this code.")
    elif cvc is None or right:
        return _passed(state, attempts) if right else Decision(state=state)
    elif state.cvc is None:
        refused = refuse(state, Refusal.CERTIFICATE_NOT_ACTIVE, "The certificate is not active.")
    else:
        refused = refuse(state, Refusal.CVC_MISMATCH, "The CVC is wrong.")
    return refused if cvc is None else replace(refused, attempts=after_wrong(attempts, now, policy))


def capture(
    state: Certificate, command: Capture, origin: Origin, now: int, _policy: Policy, _attempts: Attempts
) -> Decision[Certificate]:
    """Take the money. A blocked certificate's holds can still be captured: the shop has promised the goods."""
    version = version_of(command.authorization_id, state.code, AUTHORIZATION)
    hold = None if version is None else state.holds.get(version)
    closed = None if version is None else state.closed.get(version)
    if version is None or (hold is None and closed is None):
        return refuse(state, Refusal.AUTHORIZATION_NOT_FOUND, "The certificate has no such authorization.")
    client = hold.client if hold else closed.client if closed else ""
    if origin.own_only and client != origin.client:
        return refuse(state, Refusal.FORBIDDEN, "The authorization belongs to another client.")
    if closed is not None:
        return refuse(state, *_CLOSED_REFUSALS[closed.reason])
    if hold is None or hold.expires_at <= now:
        return refuse(state, *_CLOSED_REFUSALS[Closed.LAPSED])
    amount = hold.left if command.amount is None else command.amount
    if not 0 < amount <= hold.left:
        detail = f"{hold.left} is left of the authorization, {amount} was asked for."
        return refuse(state, Refusal.CAPTURE_EXCEEDS_AUTHORIZATION, detail, left=hold.left)
    final = command.final or amount == hold.left
    released = hold.left - amount if final else 0
    bodies: list[r.AnyBody] = [r.Captured(version, amount, final, released, hold.reference)]
    if released and state.status is Status.EXPIRED:
        bodies.insert(0, r.HoldVoided(version, released, "expired"))
        bodies.insert(1, r.Expired(released))
        bodies[-1] = r.Captured(version, amount, final=True, released=0, reference=hold.reference)
    records, after = advance(state, now, origin, *bodies)
    return Decision(state=after, records=records)


def _passed(state: Certificate, attempts: Attempts) -> Decision[Certificate]:
    return Decision(state=state, attempts=NO_ATTEMPTS if attempts.wrong else None)


def _not_spendable(state: Certificate) -> Decision[Certificate] | None:
    match state.status:
        case Status.ACTIVE | Status.DEPLETED:
            return None
        case Status.BLOCKED:
            return refuse(state, Refusal.CERTIFICATE_BLOCKED, "The certificate is blocked.")
        case Status.EXPIRED:
            return refuse(state, Refusal.CERTIFICATE_EXPIRED, "The certificate has expired.")
        case _:
            return refuse(state, Refusal.CERTIFICATE_NOT_ACTIVE, "The certificate is not active.")
