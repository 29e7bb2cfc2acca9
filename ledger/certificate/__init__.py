"""The certificate: a balance with one writer.

:mod:`~ledger.certificate.state` says what a certificate is and how a record changes it; the other modules hold the
rules by which a command becomes records: :mod:`~ledger.certificate.sale`, :mod:`~ledger.certificate.redemption`,
:mod:`~ledger.certificate.refund`, :mod:`~ledger.certificate.support`.
"""

from ledger.certificate.decide import decide
from ledger.certificate.sale import issued
from ledger.certificate.state import (
    Capture,
    Certificate,
    Closed,
    ClosedHold,
    Hold,
    advance,
    due,
    errands,
    evolve,
    next_due,
)

__all__ = [
    "Capture",
    "Certificate",
    "Closed",
    "ClosedHold",
    "Hold",
    "advance",
    "decide",
    "due",
    "errands",
    "evolve",
    "issued",
    "next_due",
]
