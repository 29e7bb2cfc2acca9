"""The one table from what went wrong to what the caller is told (RFC 9457).

Every :class:`~ledger.refusals.Refusal`, every :class:`~gateway.faults.Fault` and every error of the rooms below has its
place here; a test fails for one that has none.
"""

import logging
from typing import Final

import msgspec
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from msgspec import Struct

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError, PepperMissingError
from gateway.exchange import Exchange
from gateway.faults import Code, Fault, ProblemError
from gateway.reply import REPLAYED, Reply
from ledger.refusals import Refusal, Refused
from persistence.errors import (
    DamagedLogError,
    SnapshotUnreadableError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
    StorageUnsafeError,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_BASE: Final = "/schema#"
"""Problem types are sections of the service's own documentation."""

_logger = logging.getLogger(__name__)


class Kind(Struct, frozen=True):
    """A kind of problem: HTTP status, a title that is the same each time, and what the caller does about it."""

    status: int
    title: str
    advice: str


KINDS: Final[dict[Code, Kind]] = {
    Fault.INVALID_REQUEST: Kind(400, "Invalid request", "Correct what `errors` names."),
    Fault.UNAUTHENTICATED: Kind(401, "Unauthenticated", "Send `Authorization: Bearer KEY` with a key that is valid."),
    Refusal.FORBIDDEN: Kind(403, "Forbidden", "Use the key of a client that may do this."),
    Refusal.CERTIFICATE_REFUSED: Kind(403, "Certificate refused", "Have the customer check code and CVC."),
    Refusal.CVC_MISMATCH: Kind(403, "CVC mismatch", "Have the customer check the CVC."),
    Refusal.NOT_FOUND: Kind(404, "Not found", "Check the address and the identifier in it."),
    Refusal.CERTIFICATE_NOT_FOUND: Kind(404, "Certificate not found", "Check the code."),
    Refusal.AUTHORIZATION_NOT_FOUND: Kind(404, "Authorization not found", "Check `authorizationId` and the code."),
    Refusal.OPERATION_NOT_FOUND: Kind(404, "Operation not found", "Check `operationId` and the code."),
    Fault.METHOD_NOT_ALLOWED: Kind(405, "Method not allowed", "Use a method of the header `Allow`."),
    Fault.REQUEST_TIMEOUT: Kind(408, "Request timeout", "Send the whole request without pauses; nothing happened."),
    Refusal.CODE_ALREADY_SOLD: Kind(409, "Code already sold", "Take another code."),
    Refusal.ORDER_LINE_ALREADY_ALLOCATED: Kind(409, "Order line already allocated", "Use the code that the line has."),
    Refusal.ORDER_CANCELLED: Kind(409, "Order cancelled", "Place a new order."),
    Refusal.CERTIFICATE_NOT_ACTIVE: Kind(409, "Certificate not active", "Wait until its order is paid."),
    Refusal.CERTIFICATE_BLOCKED: Kind(409, "Certificate blocked", "Refer the customer to support."),
    Refusal.CERTIFICATE_EXPIRED: Kind(409, "Certificate expired", "Take another means of payment."),
    Refusal.INSUFFICIENT_FUNDS: Kind(409, "Insufficient funds", "Authorize at most `available`."),
    Refusal.AUTHORIZATION_EXPIRED: Kind(409, "Authorization expired", "Authorize again."),
    Refusal.AUTHORIZATION_ALREADY_CAPTURED: Kind(409, "Authorization already captured", "Nothing is left to capture."),
    Refusal.AUTHORIZATION_VOIDED: Kind(409, "Authorization voided", "Authorize again."),
    Refusal.CAPTURE_EXCEEDS_AUTHORIZATION: Kind(409, "Capture exceeds authorization", "Capture at most `left`."),
    Refusal.OPERATION_ALREADY_VOIDED: Kind(409, "Operation already voided", "Nothing is left to void."),
    Refusal.VOID_EXCEEDS_OPERATION: Kind(409, "Void exceeds operation", "Void at most what is left of the operation."),
    Refusal.OPERATION_NOT_VOIDABLE: Kind(409, "Operation not voidable", "Void the operation that `detail` names."),
    Refusal.RECIPIENT_UNKNOWN: Kind(
        409, "Recipient unknown", "The order named nobody to send a CVC to, or the phone was erased on request."
    ),
    Fault.REQUEST_TOO_LARGE: Kind(413, "Request too large", "Send a shorter body."),
    Fault.UNSUPPORTED_MEDIA_TYPE: Kind(415, "Unsupported media type", "Send `Content-Type: application/json`."),
    Refusal.CODE_NOT_FOR_SALE: Kind(422, "Code not for sale", "Take a code that the shop has issued."),
    Refusal.IDEMPOTENCY_KEY_REUSED: Kind(422, "Idempotency key reused", "Take a new key for a new request."),
    Refusal.ORDER_LINE_NOT_FOUND: Kind(422, "Order line not found", "Name a line of the order."),
    Refusal.CURRENCY_MISMATCH: Kind(422, "Currency mismatch", "Authorize in the certificate's currency."),
    Refusal.RATE_LIMITED: Kind(429, "Rate limited", "Try again after `retryAfter` seconds; nothing happened."),
    Fault.INTERNAL_ERROR: Kind(500, "Internal error", "Report it with the `X-Request-Id` of the response."),
    Fault.OVERLOADED: Kind(503, "Overloaded", "Try again after `retryAfter` seconds; nothing happened."),
    Fault.STORAGE_UNAVAILABLE: Kind(
        503, "Storage unavailable", "The outcome is unknown: try again with the same `Idempotency-Key`."
    ),
}

ERRORS: Final[dict[type[Exception], tuple[Fault, str]]] = {
    OverloadedError: (Fault.OVERLOADED, "Too much to do just now; nothing happened. Try again."),
    PepperMissingError: (
        Fault.OVERLOADED,
        "CVCs cannot be checked here before this gateway has the new secrets; nothing happened. Try again.",
    ),
    OutcomeUnknownError: (
        Fault.STORAGE_UNAVAILABLE,
        "The ledger did not answer, the outcome is unknown: try again with the same Idempotency-Key.",
    ),
    TimeoutError: (
        Fault.STORAGE_UNAVAILABLE,
        "The ledger did not answer in time, the outcome is unknown: try again with the same Idempotency-Key.",
    ),
    StorageUnavailableError: (Fault.STORAGE_UNAVAILABLE, "The storage did not answer. Try again."),
    StorageRefusedError: (Fault.STORAGE_UNAVAILABLE, "The storage takes no writes just now. Try again."),
    StorageUnsafeError: (Fault.STORAGE_UNAVAILABLE, "The storage is not safe to use just now; operators have to act."),
    DamagedLogError: (Fault.STORAGE_UNAVAILABLE, "What is stored is damaged; operators have to look at it."),
    SnapshotUnreadableError: (Fault.INTERNAL_ERROR, "What is stored cannot be read by this version."),
    ActorError: (Fault.STORAGE_UNAVAILABLE, "The ledger did not answer. Try again with the same Idempotency-Key."),
    StorageError: (Fault.STORAGE_UNAVAILABLE, "The storage failed. Try again with the same Idempotency-Key."),
}
"""What the errors of the rooms below come to. Their own messages are for operators and go to the log."""

RETRY_AFTER: Final = "retryAfter"
_RETRY_SECONDS: Final = 1
"""What ``Retry-After`` says when nobody knows better."""
_CONTENT_TYPE: Final = (b"content-type", MEDIA_TYPE.encode())
_encoder: Final = msgspec.json.Encoder()


def refused(exchange: Exchange, answer: Refused, *, replayed: bool = False) -> Reply:
    """The problem that tells a refusal of the ledger."""
    told = ProblemError(answer.code, answer.detail, figures=answer.figures, headers=(REPLAYED,) if replayed else ())
    return _problem(exchange, told)


def problem(exchange: Exchange, error: Exception) -> Reply:
    """The problem that tells an error. One that nobody foresaw is logged, and nothing of it told."""
    told = told_of(error)
    if told.code is Fault.INTERNAL_ERROR:
        _logger.error("%s %s failed", exchange.method, exchange.call, exc_info=error)
    elif isinstance(error, DamagedLogError):
        _logger.critical("%s %s: %s", exchange.method, exchange.call, error)
    elif not isinstance(error, ProblemError | HTTPException):
        _logger.warning("%s %s: %s: %s", exchange.method, exchange.call, type(error).__name__, error)
    return _problem(exchange, told)


def told_of(error: Exception) -> ProblemError:
    """What the caller is told of an error, and when to come back if the service is to blame."""
    told = _told(error)
    if KINDS[told.code].status == 503 and RETRY_AFTER not in told.figures:  # noqa: PLR2004
        figures = {RETRY_AFTER: getattr(error, "retry_after_seconds", _RETRY_SECONDS)}
        return ProblemError(told.code, told.detail, errors=told.errors, figures=figures, headers=told.headers)
    return told


def document(told: ProblemError, instance: str) -> bytes:
    """The problem document; ``instance`` is where it occurred, as a URI reference."""
    code = told.code
    kind = KINDS[code]
    body: dict[str, object] = {
        "type": TYPE_BASE + code,
        "title": kind.title,
        "status": kind.status,
        "detail": told.detail,
        "instance": instance,
        "code": code,
        **told.figures,
    }
    if told.errors:
        body["errors"] = told.errors
    return _encoder.encode(body)


def _problem(exchange: Exchange, told: ProblemError) -> Reply:
    headers = told.headers
    if RETRY_AFTER in told.figures:
        headers = (*headers, (b"retry-after", b"%d" % told.figures[RETRY_AFTER]))
    exchange.code = told.code.value
    return Reply(KINDS[told.code].status, (_CONTENT_TYPE, *headers), document(told, exchange.instance))


def _told(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case MethodNotAllowedException():
            return _method_not_allowed(error)
        case NotFoundException():
            return ProblemError(Refusal.NOT_FOUND, "There is nothing at this address.")
        case HTTPException() if 400 <= error.status_code < 500:  # noqa: PLR2004
            return ProblemError(Fault.INVALID_REQUEST, error.detail)
        case _:
            known = next((ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS), None)
            code, detail = known or (Fault.INTERNAL_ERROR, "Something is wrong here. Report it with the request id.")
            return ProblemError(code, detail)


def _method_not_allowed(error: MethodNotAllowedException) -> ProblemError:
    allow = ", ".join(sorted((error.headers or {}).get("allow", "").split(", ")))
    detail = f"This address takes {allow}."
    return ProblemError(Fault.METHOD_NOT_ALLOWED, detail, headers=((b"allow", allow.encode()),))
