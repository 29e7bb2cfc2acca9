"""The order: what is planned, what was collected, which code is on which line.

Its lines are the ``order_certificate_allocation`` of the sale.
"""

from ledger.order.decide import decide, grant, retained
from ledger.order.state import Allocation, Line, LineStatus, Order, Payment, advance, errands, evolve, next_due

__all__ = [
    "Allocation",
    "Line",
    "LineStatus",
    "Order",
    "Payment",
    "advance",
    "decide",
    "errands",
    "evolve",
    "grant",
    "next_due",
    "retained",
]
