"""A certificate as it is: its sale, its balance, its whole state."""

from ledger.certificate import Certificate
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.money import rfc3339, rfc3339_or_none
from ledger.views.view import View


class Reservation(View, frozen=True):
    """A code that is reserved for a line of an order; its plan is ``null`` until the order's event has come."""

    certificate_code: str
    status: str
    order_id: str
    order_line_id: str
    channel: str | None
    planned_denomination: int | None
    currency: str | None
    reserved_until: str | None


class Balance(View, frozen=True):
    """Answer to a balance inquiry."""

    certificate_code: str
    status: str
    currency: str | None
    balance: int
    available: int
    expires_at: str | None


class OpenHold(View, frozen=True):
    """A hold that can still be captured: ``amount`` is what is left of ``authorized``."""

    authorization_id: str
    amount: int
    authorized: int
    expires_at: str
    client: str
    reference: str | None


class CertificateView(View, frozen=True):
    """The whole state of a certificate."""

    certificate_code: str
    status: str
    currency: str | None
    denomination: int | None
    balance: int
    held: int
    available: int
    version: int
    channel: str | None
    order_id: str | None
    order_line_id: str | None
    reserved_until: str | None
    activated_at: str | None
    expires_at: str | None
    activation_id: str | None
    holds: list[OpenHold]


def reservation(state: Certificate) -> Reservation:
    """Answer to a sale. ``status`` is Active at once if the order was paid already."""
    return Reservation(
        certificate_code=state.code,
        status=state.status.value,
        order_id=state.order_id or "",
        order_line_id=state.line_id or "",
        channel=state.channel,
        planned_denomination=state.denomination,
        currency=state.currency,
        reserved_until=rfc3339_or_none(state.reserved_until),
    )


def balance(state: Certificate) -> Balance:
    """Answer to a balance inquiry."""
    return Balance(
        certificate_code=state.code,
        status=state.status.value,
        currency=state.currency,
        balance=state.balance,
        available=state.available,
        expires_at=rfc3339_or_none(state.expires_at),
    )


def certificate(state: Certificate) -> CertificateView:
    """The whole state, with its open holds in the order in which they were made."""
    return CertificateView(
        certificate_code=state.code,
        status=state.status.value,
        currency=state.currency,
        denomination=state.denomination,
        balance=state.balance,
        held=state.held,
        available=state.available,
        version=state.version,
        channel=state.channel,
        order_id=state.order_id,
        order_line_id=state.line_id,
        reserved_until=rfc3339_or_none(state.reserved_until),
        activated_at=rfc3339_or_none(state.activated_at),
        expires_at=rfc3339_or_none(state.expires_at),
        activation_id=None if state.activation is None else identifier(OPERATION, state.code, state.activation),
        holds=[
            OpenHold(
                authorization_id=identifier(AUTHORIZATION, state.code, version),
                amount=hold.left,
                authorized=hold.amount,
                expires_at=rfc3339(hold.expires_at),
                client=hold.client,
                reference=hold.reference,
            )
            for version, hold in sorted(state.holds.items())
        ],
    )
