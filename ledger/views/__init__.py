"""What callers are shown: the JSON bodies of the HTTP API."""

from ledger.certificate import Certificate
from ledger.order import Order
from ledger.records import Status
from ledger.views.certificates import (
    Balance,
    CertificateView,
    OpenHold,
    Reservation,
    balance,
    certificate,
    reservation,
)
from ledger.views.operations import (
    Authorization,
    Captured,
    HistoryPage,
    OperationView,
    Voided,
    history,
    operation,
    outcome,
    voided,
)
from ledger.views.orders import OrderLineView, OrderView, order
from ledger.views.view import View, encode

__all__ = [
    "Authorization",
    "Balance",
    "Captured",
    "CertificateView",
    "HistoryPage",
    "OpenHold",
    "OperationView",
    "OrderLineView",
    "OrderView",
    "Reservation",
    "View",
    "Voided",
    "balance",
    "certificate",
    "encode",
    "exists",
    "history",
    "operation",
    "order",
    "outcome",
    "reservation",
    "voided",
]


def exists(state: Certificate | Order) -> bool:
    """Whether there is anything to show: a code that was given back is unknown again."""
    return state.status is not Status.UNKNOWN if isinstance(state, Certificate) else state.version > 0
