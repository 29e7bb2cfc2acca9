"""Every way in which the ledger says no.

A refusal is a value, not an exception: it changes nothing and is as much an outcome as success. The names are part of
the HTTP contract. Where several would apply, the first in the order written down in the modules of
:mod:`ledger.certificate` and in :mod:`ledger.order.decide` is the one given.
"""

from enum import StrEnum

from msgspec import Struct


class Refusal(StrEnum):
    """Stable names of the refusals."""

    # a sale
    CODE_ALREADY_SOLD = "CodeAlreadySold"
    CODE_NOT_FOR_SALE = "CodeNotForSale"
    ORDER_LINE_ALREADY_ALLOCATED = "OrderLineAlreadyAllocated"
    ORDER_LINE_NOT_FOUND = "OrderLineNotFound"
    ORDER_CANCELLED = "OrderCancelled"
    # the certificate
    CERTIFICATE_NOT_FOUND = "CertificateNotFound"
    CERTIFICATE_NOT_ACTIVE = "CertificateNotActive"
    CERTIFICATE_BLOCKED = "CertificateBlocked"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    # the redemption
    CERTIFICATE_REFUSED = "CertificateRefused"
    CVC_MISMATCH = "CvcMismatch"
    RATE_LIMITED = "RateLimited"
    CURRENCY_MISMATCH = "CurrencyMismatch"
    INSUFFICIENT_FUNDS = "InsufficientFunds"
    # the capture
    AUTHORIZATION_NOT_FOUND = "AuthorizationNotFound"
    AUTHORIZATION_EXPIRED = "AuthorizationExpired"
    AUTHORIZATION_ALREADY_CAPTURED = "AuthorizationAlreadyCaptured"
    AUTHORIZATION_VOIDED = "AuthorizationVoided"
    CAPTURE_EXCEEDS_AUTHORIZATION = "CaptureExceedsAuthorization"
    # the void
    OPERATION_NOT_FOUND = "OperationNotFound"
    OPERATION_ALREADY_VOIDED = "OperationAlreadyVoided"
    VOID_EXCEEDS_OPERATION = "VoidExceedsOperation"
    OPERATION_NOT_VOIDABLE = "OperationNotVoidable"
    # the caller
    FORBIDDEN = "Forbidden"
    IDEMPOTENCY_KEY_REUSED = "IdempotencyKeyReused"
    # what has no better name
    NOT_FOUND = "NotFound"
    RECIPIENT_UNKNOWN = "RecipientUnknown"


class Refused(Struct, frozen=True, array_like=True):
    """A refusal with what the caller needs to go on.

    ``figures`` holds the numbers a caller acts on: ``available`` (minor units), ``retryAfter`` (seconds), ….
    """

    code: Refusal
    detail: str
    figures: dict[str, int] = {}
