"""The bodies of the POST calls: every field with its bounds, and in words what it has to be."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from ledger.money import AMOUNT_MAX

END: Final = r"(?![\s\S])"
"""The end of the text. ``$`` is not it: in Python that matches before a last line break as well."""

IDENTIFIER_CHARACTERS_MAX: Final = 64
"""Of an identifier; those that are handed out are shorter."""
TEXT_CHARACTERS_MAX: Final = 200
"""Of a reference or a reason: it is kept in every record."""
TTL_SECONDS_MIN: Final = 60
TTL_SECONDS_MAX: Final = 604_800
"""How long a hold may be asked for: a minute at least, a week at most."""

SURROGATES: Final = r"\ud800-\udfff"
"""Halves of characters, as a range of a pattern."""
_VISIBLE: Final = rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029{SURROGATES}]"


def _field(form: str, description: str, *examples: object, **bounds: Any) -> Meta:  # noqa: ANN401 - those of Meta
    """Describe a field: ``form`` says what it has to be, after "has to be"."""
    return Meta(description=description, examples=list(examples), extra={"form": form}, **bounds)


Amount = Annotated[
    int,
    _field(
        f"a whole number of minor units from 1 to {AMOUNT_MAX}, e.g. 50000 for 500.00",
        "Minor units.",
        50_000,
        ge=1,
        le=AMOUNT_MAX,
    ),
]
Currency = Annotated[
    str,
    _field(
        'three capital letters (ISO 4217), e.g. "RUB"',
        "ISO 4217 code.",
        "RUB",
        pattern=rf"^[A-Z]{{3}}{END}",
        max_length=3,
    ),
]
Cvc = Annotated[
    str,
    _field(
        'a string of four digits, e.g. "4821"',
        "The four digits that came by SMS.",
        "4821",
        pattern=rf"^[0-9]{{4}}{END}",
        max_length=4,
    ),
]
OrderId = Annotated[
    str,
    _field(
        "1 to 64 visible ASCII characters",
        "The order, as Orders names it.",
        "SO-1001",
        pattern=rf"^[!-~]{{1,64}}{END}",
        max_length=IDENTIFIER_CHARACTERS_MAX,
    ),
]
OrderLineId = Annotated[
    str,
    _field(
        "1 to 64 visible ASCII characters",
        "The line of the order.",
        "1",
        pattern=rf"^[!-~]{{1,64}}{END}",
        max_length=IDENTIFIER_CHARACTERS_MAX,
    ),
]
_HANDED_OUT: Final[dict[str, Any]] = {
    "pattern": rf"^[A-Za-z0-9_-]{{1,64}}{END}",
    "max_length": IDENTIFIER_CHARACTERS_MAX,
}
AuthorizationId = Annotated[
    str,
    _field("an authorizationId as authorize gave it", "As authorize gave it.", "au_3_0kXm2wQZ5h8nT1bY", **_HANDED_OUT),
]
OperationId = Annotated[
    str,
    _field(
        "an operationId or authorizationId as this service gave it",
        "A capture's or an activation's `operationId`, or an `authorizationId`.",
        "op_4_Vq8dJw1fN0c7Rz3K",
        **_HANDED_OUT,
    ),
]
Reference = Annotated[
    str,
    _field(
        f"1 to {TEXT_CHARACTERS_MAX} characters without control characters",
        "The caller's own name for the operation; it stands in the history and in the published events.",
        "POS-7/991",
        pattern=rf"^{_VISIBLE}+{END}",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]
Reason = Annotated[
    str,
    _field(
        f"1 to {TEXT_CHARACTERS_MAX} characters without control characters",
        "Why; it stands in the history.",
        "asked for by the customer",
        pattern=rf"^{_VISIBLE}+{END}",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]
TtlSeconds = Annotated[
    int,
    _field(
        f"a whole number of seconds from {TTL_SECONDS_MIN} to {TTL_SECONDS_MAX}",
        "How long the hold lives; 900 seconds if left out.",
        900,
        ge=TTL_SECONDS_MIN,
        le=TTL_SECONDS_MAX,
    ),
]
CertificateCode = Annotated[
    str,
    _field(
        "8 to 32 letters, digits and dashes",
        "The certificate; case does not matter.",
        "GC-7K2M-9QXA",
        pattern=rf"^[A-Za-z0-9-]{{8,32}}{END}",
        max_length=32,
    ),
]
IdempotencyKey = Annotated[
    str,
    _field(
        "1 to 64 visible ASCII characters",
        "As the header of the single call: a new one for each new request.",
        "till-7-991",
        pattern=rf"^[!-~]{{1,64}}{END}",
        max_length=IDENTIFIER_CHARACTERS_MAX,
    ),
]
AllowPartial = Annotated[
    bool, _field("true or false", "Authorize what is available if that is less, but more than 0.", True)
]
Final_ = Annotated[bool, _field("true or false", "False keeps the rest of the hold open for further captures.", True)]


class Body(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies: camelCase; a field that is not known is refused, optional ones may be null."""


class Sale(Body, frozen=True, tag_field="purpose", tag="Sale"):
    """Reserve a code for a line of an order."""

    order_id: OrderId
    order_line_id: OrderLineId


class Redemption(Body, frozen=True, tag_field="purpose", tag="Redemption"):
    """Set money aside on a certificate."""

    amount: Amount
    currency: Currency
    cvc: Cvc | None = None
    reference: Reference | None = None
    allow_partial: AllowPartial = False
    ttl_seconds: TtlSeconds | None = None


class CaptureRequest(Body, frozen=True):
    """Take money from an authorization; without an amount all that is left of it."""

    authorization_id: AuthorizationId
    amount: Amount | None = None
    final: Final_ = True


class VoidRequest(Body, frozen=True):
    """Undo an operation; without an amount all that is left of it."""

    operation_id: OperationId
    amount: Amount | None = None
    reason: Reason | None = None


class BalanceRequest(Body, frozen=True):
    """Ask for the balance."""

    cvc: Cvc | None = None


class BlockRequest(Body, frozen=True):
    """Block or unblock a certificate."""

    reason: Reason


class CvcRequest(Body, frozen=True):
    """Have a new CVC sent: nothing to say."""
