"""The bulk calls as the documentation tells them."""

from typing import Final

from gateway import samples
from gateway.access import Call
from gateway.bulk_outcomes import AuthorizationOutcomes, CaptureOutcomes, VoidOutcomes
from gateway.bulk_requests import ITEMS_MAX
from gateway.faults import Fault
from gateway.operation import KEYED, SERVED, Operation, Outcome

BULK: Final = "In bulk"

_PROBLEMS: Final = (
    *KEYED,
    Fault.REQUEST_TIMEOUT,
    Fault.REQUEST_TOO_LARGE,
    Fault.UNSUPPORTED_MEDIA_TYPE,
    *SERVED,
)
_ITEMS: Final = (
    f"1 to {ITEMS_MAX} items, and an outcome for each in the same order: `status` and `body` are those that the single "
    "call with this key would have had, and `replayed` says that it was answered before. Each item has an "
    "`idempotencyKey`, which is the single call's: what is sent in bulk may be repeated one by one, and the other way "
    "round. If an answer is lost, send the whole request again. The items are carried out each by itself: one that is "
    "refused, or not as it has to be, keeps no other from being carried out. 503 in the place of an item says of it "
    "what it says of a single call."
)

BULK_OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/authorizations",
        call=Call.AUTHORIZATIONS,
        tag=BULK,
        summary="Set money aside on many certificates",
        description=f"Redemptions only. {_ITEMS}",
        requests={
            "Authorizations": {
                "items": [
                    {
                        "certificateCode": samples.CODE,
                        "amount": 50_000,
                        "currency": "RUB",
                        "idempotencyKey": "till-7-991",
                        "reference": "POS-7/991",
                    },
                    {
                        "certificateCode": "GC-0000-0404",
                        "amount": 1_000,
                        "currency": "RUB",
                        "idempotencyKey": "till-8-17",
                    },
                ]
            }
        },
        outcomes=(
            Outcome(
                200,
                "What came of each.",
                (AuthorizationOutcomes,),
                {"Authorizations": samples.AUTHORIZATIONS_GIVEN},
            ),
        ),
        problems=_PROBLEMS,
    ),
    Operation(
        method="POST",
        path="/captures",
        call=Call.CAPTURES,
        tag=BULK,
        summary="Take money from many authorizations",
        description=_ITEMS,
        requests={
            "Captures": {
                "items": [
                    {
                        "certificateCode": samples.CODE,
                        "authorizationId": samples.HOLD,
                        "amount": 50_000,
                        "idempotencyKey": "till-7-991-capture",
                    }
                ]
            }
        },
        outcomes=(Outcome(200, "What came of each.", (CaptureOutcomes,), {"Captures": samples.ALL_CAPTURED}),),
        problems=_PROBLEMS,
    ),
    Operation(
        method="POST",
        path="/voids",
        call=Call.VOIDS,
        tag=BULK,
        summary="Undo many operations",
        description=_ITEMS,
        requests={
            "Voids": {
                "items": [
                    {
                        "certificateCode": samples.CODE,
                        "operationId": samples.CAPTURE,
                        "amount": 20_000,
                        "reason": "one article came back",
                        "idempotencyKey": "till-7-991-void",
                    }
                ]
            }
        },
        outcomes=(Outcome(200, "What came of each.", (VoidOutcomes,), {"Voids": samples.ALL_VOIDED}),),
        problems=_PROBLEMS,
    ),
)
