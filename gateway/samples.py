"""One honest example of every answer, for the documentation: an order, and what became of its first certificate."""

from typing import Final

from gateway.bulk_outcomes import (
    AuthorizationOutcome,
    AuthorizationOutcomes,
    CaptureOutcome,
    CaptureOutcomes,
    VoidOutcome,
    VoidOutcomes,
)
from gateway.readiness import Readiness
from gateway.services import Component, Condition
from ledger import views
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.records import Status

CODE: Final = "GC-7K2M-9QXA"
ORDER: Final = "SO-1001"
_HELD_AT: Final = "2026-11-23T09:30:00.000Z"
_ACTIVATION: Final = identifier(OPERATION, CODE, 3)
HOLD: Final = identifier(AUTHORIZATION, CODE, 4)
CAPTURE: Final = identifier(OPERATION, CODE, 5)

RESERVATION: Final = views.Reservation(
    certificate_code=CODE,
    status=Status.RESERVED,
    order_id=ORDER,
    order_line_id="1",
    channel="OnlineStore",
    planned_denomination=150_000,
    currency="RUB",
    reserved_until="2026-11-24T07:00:00.000Z",
)
AUTHORIZATION_GIVEN: Final = views.Authorization(
    authorization_id=HOLD,
    certificate_code=CODE,
    status="Authorized",
    amount=50_000,
    currency="RUB",
    available=100_000,
    balance=150_000,
    expires_at="2026-11-23T09:45:00.000Z",
)
CAPTURED: Final = views.Captured(
    operation_id=CAPTURE,
    type="Capture",
    certificate_code=CODE,
    authorization_id=HOLD,
    amount=50_000,
    currency="RUB",
    balance=100_000,
    available=100_000,
    status=Status.ACTIVE,
    version=5,
)
VOIDED: Final = views.Voided(
    operation_id=identifier(OPERATION, CODE, 6),
    type="Void",
    voids=CAPTURE,
    voided_type="Capture",
    certificate_code=CODE,
    amount=20_000,
    currency="RUB",
    balance=120_000,
    available=120_000,
    status=Status.ACTIVE,
    version=6,
)
BALANCE: Final = views.Balance(
    certificate_code=CODE,
    status=Status.ACTIVE,
    currency="RUB",
    balance=150_000,
    available=100_000,
    expires_at="2027-11-23T07:05:00.000Z",
)
_MISSING: Final = {
    "type": "/schema#CertificateNotFound",
    "title": "Certificate not found",
    "status": 404,
    "detail": "No certificate has this code.",
    "instance": "/authorizations#/items/1",
    "code": "CertificateNotFound",
}
AUTHORIZATIONS_GIVEN: Final = AuthorizationOutcomes(
    outcomes=[
        AuthorizationOutcome(status=201, body=AUTHORIZATION_GIVEN),
        AuthorizationOutcome(status=404, body=_MISSING),
    ]
)
ALL_CAPTURED: Final = CaptureOutcomes(outcomes=[CaptureOutcome(status=201, body=CAPTURED)])
ALL_VOIDED: Final = VoidOutcomes(outcomes=[VoidOutcome(status=201, replayed=True, body=VOIDED)])


def certificate(status: Status = Status.ACTIVE, version: int = 4) -> views.CertificateView:
    """The certificate with its hold."""
    return views.CertificateView(
        certificate_code=CODE,
        status=status,
        currency="RUB",
        denomination=150_000,
        balance=150_000,
        held=50_000,
        available=100_000,
        version=version,
        channel="OnlineStore",
        order_id=ORDER,
        order_line_id="1",
        reserved_until=None,
        activated_at="2026-11-23T07:05:00.000Z",
        expires_at="2027-11-23T07:05:00.000Z",
        activation_id=_ACTIVATION,
        holds=[
            views.OpenHold(
                authorization_id=HOLD,
                amount=50_000,
                authorized=50_000,
                expires_at="2026-11-23T09:45:00.000Z",
                client="till-7",
                reference="POS-7/991",
            )
        ],
    )


HISTORY: Final = views.HistoryPage(
    certificate_code=CODE,
    operations=[
        views.OperationView(
            operation_id=_ACTIVATION,
            type="Activate",
            version=3,
            occurred_at="2026-11-23T07:05:00.000Z",
            client="shop",
            channel="OnlineStore",
            status=Status.ACTIVE,
            balance=150_000,
            held=0,
            available=150_000,
            amount=150_000,
            currency="RUB",
            order_id=ORDER,
            order_line_id="1",
            expires_at="2027-11-23T07:05:00.000Z",
        ),
        views.OperationView(
            operation_id=HOLD,
            type="Authorize",
            version=4,
            occurred_at=_HELD_AT,
            client="till-7",
            channel="Store",
            status=Status.ACTIVE,
            balance=150_000,
            held=50_000,
            available=100_000,
            amount=50_000,
            currency="RUB",
            authorization_id=HOLD,
            reference="POS-7/991",
            expires_at="2026-11-23T09:45:00.000Z",
        ),
    ],
    next=4,
)
ORDER_SHOWN: Final = views.OrderView(
    order_id=ORDER,
    status="Placed",
    order_version=1,
    payment_version=2,
    channel="OnlineStore",
    currency="RUB",
    captured_amount=200_000,
    outstanding_amount=100_000,
    is_order_settled=False,
    certificate_lines=[
        views.OrderLineView(
            order_line_id="1",
            planned_denomination=150_000,
            collected_amount=150_000,
            certificate_code=CODE,
            status="Reserved",
        ),
        views.OrderLineView(
            order_line_id="2",
            planned_denomination=150_000,
            collected_amount=50_000,
            certificate_code=None,
            status="Planned",
        ),
    ],
)
READY: Final = Readiness(
    Condition.DEGRADED,
    {
        "storage": Component(status=Condition.OK),
        "shards": Component(status=Condition.OK, detail="2 answer"),
        "keys": Component(status=Condition.OK),
        "kafka": Component(status=Condition.DEGRADED, detail="bridge:relay reaches nobody; what it carries waits."),
        "sms": Component(status=Condition.OK),
    },
)
