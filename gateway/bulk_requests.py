"""The bodies of the bulk calls: lists of what the single calls take, each with its certificate and its key."""

from typing import Annotated, Final

from msgspec import Meta

from gateway.access import Call
from gateway.requests import (
    AllowPartial,
    Amount,
    AuthorizationId,
    Body,
    CertificateCode,
    Currency,
    Cvc,
    Final_,
    IdempotencyKey,
    OperationId,
    Reason,
    Reference,
    TtlSeconds,
)

ITEMS_MAX: Final = 1_000
"""Items of one bulk call: its answer has to come within the time of one request."""
ITEMS: Final = Meta(
    min_length=1,
    max_length=ITEMS_MAX,
    description="Carried out in this order where they concern the same certificate.",
    extra={"form": f"an array of 1 to {ITEMS_MAX} items"},
)


class AuthorizationItem(Body, frozen=True):
    """Set money aside on a certificate."""

    certificate_code: CertificateCode
    amount: Amount
    currency: Currency
    idempotency_key: IdempotencyKey
    cvc: Cvc | None = None
    reference: Reference | None = None
    allow_partial: AllowPartial = False
    ttl_seconds: TtlSeconds | None = None


class CaptureItem(Body, frozen=True):
    """Take money from an authorization; without an amount all that is left of it."""

    certificate_code: CertificateCode
    authorization_id: AuthorizationId
    idempotency_key: IdempotencyKey
    amount: Amount | None = None
    final: Final_ = True


class VoidItem(Body, frozen=True):
    """Undo an operation; without an amount all that is left of it."""

    certificate_code: CertificateCode
    operation_id: OperationId
    idempotency_key: IdempotencyKey
    amount: Amount | None = None
    reason: Reason | None = None


class AuthorizationItems(Body, frozen=True):
    """Authorizations that are asked for together."""

    items: Annotated[list[AuthorizationItem], ITEMS]


class CaptureItems(Body, frozen=True):
    """Captures that are asked for together."""

    items: Annotated[list[CaptureItem], ITEMS]


class VoidItems(Body, frozen=True):
    """Voids that are asked for together."""

    items: Annotated[list[VoidItem], ITEMS]


BULK_BODIES: Final[dict[Call, tuple[type[Body], type[Body]]]] = {
    Call.AUTHORIZATIONS: (AuthorizationItems, AuthorizationItem),
    Call.CAPTURES: (CaptureItems, CaptureItem),
    Call.VOIDS: (VoidItems, VoidItem),
}
"""What each bulk call takes, and what that is a list of."""
SINGLE: Final[dict[Call, Call]] = {
    Call.AUTHORIZATIONS: Call.AUTHORIZE,
    Call.CAPTURES: Call.CAPTURE,
    Call.VOIDS: Call.VOID,
}
"""What each bulk call does many times."""
