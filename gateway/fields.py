"""The fields of the answers, in words. A name means the same wherever it stands."""

from typing import Any, Final

from gateway.services import Condition
from ledger.money import CURRENCY_PATTERN
from ledger.order.state import LineStatus
from ledger.records import Status

_TIME: Final[dict[str, Any]] = {"format": "date-time"}
_MONEY: Final[dict[str, Any]] = {"minimum": 0}
_STATUSES: Final = [status.value for status in Status if status is not Status.UNKNOWN]

FIELDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "activatedAt": ("When it was activated.", _TIME),
    "activationId": ("The activation as an `operationId`: what a void that undoes the sale names.", {}),
    "amount": ("Minor units.", _MONEY),
    "authorizationId": ("Names the authorization in a capture or a void.", {}),
    "authorized": ("Minor units that were authorized; `amount` is what is left of them.", _MONEY),
    "available": ("Minor units that can still be authorized: balance less open holds.", _MONEY),
    "balance": ("Minor units on the certificate, held ones included.", _MONEY),
    "capturedAmount": ("Minor units paid for the whole order so far.", _MONEY),
    "certificateCode": ("The code, upper-cased.", {}),
    "certificateLines": ("The lines of the order that are certificates.", {}),
    "channel": ("The channel that sold it, or in which it was asked for.", {}),
    "client": ("Who asked; `ledger` for what time alone has brought about.", {}),
    "collectedAmount": ("Minor units collected for this line so far.", _MONEY),
    "components": ("Each part of the service.", {}),
    "currency": ("ISO 4217 code.", {"pattern": CURRENCY_PATTERN}),
    "denomination": ("Minor units it was issued with; before that what is planned.", _MONEY),
    "detail": ("More, for people.", {}),
    "expiresAt": ("When it ends.", _TIME),
    "field": ("Name of the part at fault; empty for the body as a whole.", {}),
    "held": ("Minor units in open holds.", _MONEY),
    "holds": ("The open holds, oldest first.", {}),
    "isOrderSettled": ("Whether the order is paid.", {}),
    "message": ("What it has to be.", {}),
    "next": ("`after` of the following page; null on the last one.", {}),
    "occurredAt": ("When.", _TIME),
    "operationId": ("Names the operation in a void.", {}),
    "operations": ("Oldest first.", {}),
    "orderId": ("The order.", {}),
    "orderLineId": ("The line of the order.", {}),
    "orderVersion": ("The version of the order that counts; 0: its event has not come yet.", {}),
    "outstandingAmount": ("Minor units of the order that are still to be paid.", _MONEY),
    "paymentVersion": ("The version of the payment that counts; 0: none has come yet.", {}),
    "plannedDenomination": (
        "Minor units the certificate is to be issued with; null until the order's event comes.",
        _MONEY,
    ),
    "reason": ("Why, as the caller said.", {}),
    "reference": ("The caller's own name for the operation.", {}),
    "reservedUntil": ("When the reservation lapses if nothing was collected; null once activated.", _TIME),
    "status": ("How it is.", {"enum": _STATUSES}),
    "type": ("What happened.", {}),
    "version": ("Counts the changes of the certificate.", {"minimum": 0}),
    "voidedType": ("What was undone.", {"enum": ["Authorization", "Capture", "Activation"]}),
    "voids": ("What was undone: an `authorizationId` or `operationId`.", {}),
}

OF_ONE: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("Sale", "purpose"): {"description": "Says that a code is sold."},
    ("Redemption", "purpose"): {"description": "Says that money is set aside."},
    ("Authorization", "status"): {"const": "Authorized"},
    ("Captured", "type"): {"const": "Capture"},
    ("Voided", "type"): {"const": "Void"},
    ("OrderLineView", "status"): {"enum": [status.value for status in LineStatus]},
    ("OrderView", "status"): {"enum": ["Placed", "Cancelled", "Unknown"]},
    ("Readiness", "status"): {"enum": [condition.value for condition in Condition]},
    ("Component", "status"): {"enum": [condition.value for condition in Condition]},
    ("OperationView", "status"): {"description": "How the certificate is after it; left out of a `Release`."},
    ("OperationView", "operationId"): {"description": "Names the operation; of a hold it is the `authorizationId`."},
}
"""Where a field is narrower than elsewhere."""
