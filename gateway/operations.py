"""The calls of the API, one by one, as the documentation tells them."""

from typing import Any, Final

from gateway import samples
from gateway.access import Call
from gateway.bulk_operations import BULK, BULK_OPERATIONS
from gateway.faults import Fault
from gateway.metrics import CONTENT_TYPE
from gateway.operation import KEYED, SERVED, Operation, Outcome, Query
from gateway.readiness import Readiness
from gateway.reads import AFTER_MAX, LIMIT_DEFAULT, LIMIT_MAX
from ledger import views
from ledger.records import Status
from ledger.refusals import Refusal

HTML_MEDIA: Final = "text/html; charset=utf-8"


_READ: Final = (*KEYED, *SERVED)
_POST: Final = (
    *KEYED,
    Fault.REQUEST_TIMEOUT,
    Fault.REQUEST_TOO_LARGE,
    Fault.UNSUPPORTED_MEDIA_TYPE,
    Refusal.IDEMPOTENCY_KEY_REUSED,
    *SERVED,
)
_CVC: Final = (
    Refusal.CERTIFICATE_REFUSED,
    Refusal.CVC_MISMATCH,
    Refusal.CERTIFICATE_NOT_FOUND,
    Refusal.CERTIFICATE_NOT_ACTIVE,
)
_ALIVE: Final = (Refusal.CERTIFICATE_NOT_FOUND, Refusal.CERTIFICATE_NOT_ACTIVE, Refusal.CERTIFICATE_EXPIRED)

_CVC_RULES: Final = (
    "Where a CVC is required (role `storefront`), an unknown code, a missing or wrong CVC and a certificate that is "
    "not active all get the same `CertificateRefused`, which tells nothing about the certificate. Where it is optional "
    "but given, it is checked. After 3 wrong CVCs in a row none is taken for 30 s, doubling at each further one up to "
    "1 h: `RateLimited`. The same after too many wrong CVCs of one client, or of one client from one address, whatever "
    "the codes; calls without a CVC are never limited by that."
)

TRADE: Final = "Selling and spending"
SUPPORT: Final = "Support"
READING: Final = "Reading"
RUNNING: Final = "Running it"
TAGS: Final = {
    TRADE: "From the sale of a code to the last of its money, and back.",
    BULK: "What concentrators of tills and batch jobs send.",
    SUPPORT: "What support does for a customer.",
    READING: "What the ledger knows.",
    RUNNING: "For operators and programs; health and schema need no key.",
}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/certificates/{code}/authorize",
        call=Call.AUTHORIZE,
        tag=TRADE,
        summary="Reserve a code for an order line, or set money aside on a certificate",
        description=(
            "`purpose` says which.\n\n"
            "**Sale**: a code that was never sold is reserved for the key's channel, 201. The same code for the same "
            "line again: 200 and the same body. If the order's event has not come yet, `plannedDenomination` and "
            "`currency` are null until it does. If the order is paid already, the certificate is active at once. A "
            "reservation on which no money was collected lapses after 24 h. Operators may have only codes with a right "
            "check character, or of imported batches, be sold: another that was never sold gets `CodeNotForSale`.\n\n"
            "**Redemption**: holds an amount until it is captured, voided or lapses, 201. `available` is what can "
            "still be authorized: the balance less open holds. With `allowPartial` less than `amount` may be "
            "authorized: capture what the answer's `amount` says.\n\n" + _CVC_RULES
        ),
        requests={
            "Sale": {"purpose": "Sale", "orderId": samples.ORDER, "orderLineId": "1"},
            "Redemption": {
                "purpose": "Redemption",
                "amount": 50_000,
                "currency": "RUB",
                "cvc": "4821",
                "reference": "POS-7/991",
                "allowPartial": False,
                "ttlSeconds": 900,
            },
        },
        outcomes=(
            Outcome(
                201,
                "The code is reserved, or the money is held.",
                (views.Reservation, views.Authorization),
                {"Sale": samples.RESERVATION, "Redemption": samples.AUTHORIZATION_GIVEN},
            ),
            Outcome(
                200, "The code was reserved for this line already.", (views.Reservation,), {"Sale": samples.RESERVATION}
            ),
        ),
        problems=(
            *_POST,
            Refusal.CODE_ALREADY_SOLD,
            Refusal.CODE_NOT_FOR_SALE,
            Refusal.ORDER_LINE_ALREADY_ALLOCATED,
            Refusal.ORDER_LINE_NOT_FOUND,
            Refusal.ORDER_CANCELLED,
            *_CVC,
            Refusal.CERTIFICATE_BLOCKED,
            Refusal.CERTIFICATE_EXPIRED,
            Refusal.CURRENCY_MISMATCH,
            Refusal.INSUFFICIENT_FUNDS,
        ),
    ),
    Operation(
        method="POST",
        path="/certificates/{code}/capture",
        call=Call.CAPTURE,
        tag=TRADE,
        summary="Take money from an authorization",
        description=(
            "Without `amount` all that is left of the hold. `final: false` keeps the rest of the hold open for further "
            "captures; otherwise it is released. A balance of 0 makes the status `Depleted`. Tills and the site "
            "capture their own authorizations only."
        ),
        requests={"Capture": {"authorizationId": samples.HOLD, "amount": 50_000, "final": True}},
        outcomes=(Outcome(201, "The money is taken.", (views.Captured,), {"Capture": samples.CAPTURED}),),
        problems=(
            *_POST,
            Refusal.AUTHORIZATION_NOT_FOUND,
            Refusal.AUTHORIZATION_EXPIRED,
            Refusal.AUTHORIZATION_ALREADY_CAPTURED,
            Refusal.AUTHORIZATION_VOIDED,
            Refusal.CAPTURE_EXCEEDS_AUTHORIZATION,
        ),
    ),
    Operation(
        method="POST",
        path="/certificates/{code}/void",
        call=Call.VOID,
        tag=TRADE,
        summary="Undo an authorization, a capture or an activation",
        description=(
            "Of an authorization (its `authorizationId`): releases what is left of the hold. Of a capture: puts the "
            "money back, in parts if wanted, never more than was captured; a depleted certificate is active again. Of "
            "an activation that was never drawn on: the sale is undone and the certificate `Cancelled`. A capture on a "
            "certificate that has expired since can be voided for 30 days. Tills and the site void their own "
            "operations only; on a blocked certificate only support may."
        ),
        requests={"Void": {"operationId": samples.CAPTURE, "amount": 20_000, "reason": "one article came back"}},
        outcomes=(Outcome(201, "It is undone.", (views.Voided,), {"Void": samples.VOIDED}),),
        problems=(
            *_POST,
            Refusal.OPERATION_NOT_FOUND,
            Refusal.OPERATION_ALREADY_VOIDED,
            Refusal.VOID_EXCEEDS_OPERATION,
            Refusal.OPERATION_NOT_VOIDABLE,
            Refusal.CERTIFICATE_BLOCKED,
            Refusal.CERTIFICATE_EXPIRED,
        ),
    ),
    Operation(
        method="POST",
        path="/certificates/{code}/balance",
        call=Call.BALANCE,
        tag=TRADE,
        summary="Ask for the balance",
        description="For tills and the site. " + _CVC_RULES,
        requests={"Balance": {"cvc": "4821"}},
        outcomes=(Outcome(200, "The balance.", (views.Balance,), {"Balance": samples.BALANCE}),),
        problems=(*_POST, *_CVC, Refusal.CERTIFICATE_BLOCKED, Refusal.CERTIFICATE_EXPIRED),
    ),
    *BULK_OPERATIONS,
    Operation(
        method="POST",
        path="/certificates/{code}/block",
        call=Call.BLOCK,
        tag=SUPPORT,
        summary="Stop redemption",
        description="Blocking what is blocked changes nothing. Holds that exist can still be captured.",
        requests={"Block": {"reason": "reported stolen"}},
        outcomes=(
            Outcome(
                200,
                "The certificate is blocked.",
                (views.CertificateView,),
                {"Block": samples.certificate(Status.BLOCKED, 5)},
            ),
        ),
        problems=(*_POST, *_ALIVE),
    ),
    Operation(
        method="POST",
        path="/certificates/{code}/unblock",
        call=Call.UNBLOCK,
        tag=SUPPORT,
        summary="Allow redemption again",
        description="Unblocking what is not blocked changes nothing.",
        requests={"Unblock": {"reason": "found again"}},
        outcomes=(
            Outcome(
                200,
                "The certificate is not blocked.",
                (views.CertificateView,),
                {"Unblock": samples.certificate(version=6)},
            ),
        ),
        problems=(*_POST, *_ALIVE),
    ),
    Operation(
        method="POST",
        path="/certificates/{code}/cvc",
        call=Call.CVC,
        tag=SUPPORT,
        summary="Send a new CVC",
        description=(
            "A new CVC goes to the recipient by SMS; the old one is void at once, and the count of wrong ones begins "
            "anew. The body may be empty."
        ),
        requests={"Cvc": {}},
        outcomes=(
            Outcome(
                200, "The new CVC is on its way.", (views.CertificateView,), {"Cvc": samples.certificate(version=5)}
            ),
        ),
        problems=(*_POST, *_ALIVE, Refusal.CERTIFICATE_BLOCKED, Refusal.RECIPIENT_UNKNOWN),
    ),
    Operation(
        method="GET",
        path="/certificates/{code}",
        call=Call.CERTIFICATE,
        tag=READING,
        summary="The state of a certificate, now or at a time",
        description=(
            "With its open holds. `ETag` is the version: send it as `If-None-Match` to have 304 if nothing changed."
        ),
        query=(
            Query(
                "asOf",
                "Give the state at this time (RFC 3339). A time to come gives the state now.",
                {"type": "string", "format": "date-time", "examples": ["2026-11-23T07:00:00.000Z"]},
            ),
        ),
        outcomes=(
            Outcome(200, "The certificate.", (views.CertificateView,), {"Certificate": samples.certificate()}),
            Outcome(304, "It is still at the version that `If-None-Match` names."),
        ),
        problems=(*_READ, Refusal.CERTIFICATE_NOT_FOUND),
        tagged=True,
    ),
    Operation(
        method="GET",
        path="/certificates/{code}/operations",
        call=Call.OPERATIONS,
        tag=READING,
        summary="The history of a certificate",
        description="Oldest first. `next` is the `after` of the following page, null on the last one.",
        query=(
            Query(
                "after",
                "Give what came after this version.",
                {"type": "integer", "minimum": 0, "maximum": AFTER_MAX, "default": 0},
            ),
            Query(
                "limit",
                "Most entries of the page.",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            ),
        ),
        outcomes=(Outcome(200, "A page.", (views.HistoryPage,), {"History": samples.HISTORY}),),
        problems=(*_READ, Refusal.CERTIFICATE_NOT_FOUND),
    ),
    Operation(
        method="GET",
        path="/orders/{orderId}",
        call=Call.ORDER,
        tag=READING,
        summary="The allocation of an order",
        description=(
            "`order_certificate_allocation`: for each line what is planned, what was collected, its code and its "
            "status; and the version of the payment that counts. `CoverageShort` is a line of a settled order for "
            "which less was collected than planned: it is activated as soon as a later payment covers it."
        ),
        outcomes=(
            Outcome(200, "The order.", (views.OrderView,), {"Order": samples.ORDER_SHOWN}),
            Outcome(304, "It is still at the version that `If-None-Match` names."),
        ),
        problems=(*_READ, Refusal.NOT_FOUND),
        tagged=True,
    ),
    Operation(
        method="GET",
        path="/health/live",
        tag=RUNNING,
        summary="Whether the process answers",
        outcomes=(Outcome(200, "It does.", (dict[str, str],), {"Live": {"status": "ok"}}),),
    ),
    Operation(
        method="GET",
        path="/health/ready",
        tag=RUNNING,
        summary="Whether the service can work",
        description=(
            "It can while Redis is durable and writable, the shards answer and API keys can be read. Kafka and SMS "
            "only degrade it: what they carry waits."
        ),
        outcomes=(
            Outcome(200, "It can; `degraded` says that something waits.", (Readiness,), {"Ready": samples.READY}),
            Outcome(503, "It cannot; `components` says why.", (Readiness,)),
        ),
    ),
    Operation(
        method="GET",
        path="/metrics",
        call=Call.METRICS,
        tag=RUNNING,
        summary="Metrics for Prometheus",
        outcomes=(Outcome(200, "The metrics.", (str,), media=CONTENT_TYPE.decode()),),
        problems=(Fault.UNAUTHENTICATED, Refusal.FORBIDDEN, *SERVED),
    ),
    Operation(
        method="GET",
        path="/schema/openapi.json",
        tag=RUNNING,
        summary="This description, for programs",
        outcomes=(Outcome(200, "OpenAPI 3.1.", (dict[str, Any],)),),
    ),
    Operation(
        method="GET",
        path="/schema",
        tag=RUNNING,
        summary="This description, for people",
        description="Needs nothing from elsewhere. The `type` of a problem is an address in it.",
        outcomes=(Outcome(200, "A page.", (str,), media=HTML_MEDIA),),
    ),
)
