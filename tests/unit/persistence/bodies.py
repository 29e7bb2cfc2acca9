"""One record of every body, and a state of each kind, for the golden bytes."""

from typing import Final

from immutables import Map
from msgspec.structs import replace

from ledger import records as r
from ledger.certificate import Capture, Certificate, Closed, ClosedHold, Hold
from ledger.commands import PlannedLine
from ledger.order import Order
from ledger.order.state import Allocation, Line, Payment
from ledger.publications import Publication
from ledger.records import Record, Status
from persistence.codec import Position

BODIES: Final[dict[str, r.AnyBody]] = {
    "reserved": r.Reserved("SO-1001", "1", 1_795_600_000_000),
    "joined": r.Joined(150_000, "RUB"),
    "joined_without_plan": r.Joined(),
    "kept": r.Kept(),
    "released": r.Released("lapsed"),
    "activated": r.Activated("SO-1001", "1", 150_000, "RUB", 1_827_036_000_000, b"\x01" * 32, b"sealed"),
    "held": r.Held(50_000, 1_795_500_900_000, "POS-7/991"),
    "hold_lapsed": r.HoldLapsed(4, 50_000),
    "hold_voided": r.HoldVoided(4, 20_000, "changed mind"),
    "captured": r.Captured(4, 30_000, final=True, released=20_000, reference="POS-7/991"),
    "capture_voided": r.CaptureVoided(5, 10_000, "returned", 1_830_000_000_000),
    "activation_voided": r.ActivationVoided(3, 150_000, "undone"),
    "expired": r.Expired(120_000),
    "blocked": r.Blocked("stolen"),
    "unblocked": r.Unblocked("found"),
    "cvc_reissued": r.CvcReissued(b"\x02" * 32),
    "placed": r.Placed(2, False, "OnlineStore", "RUB", (PlannedLine("1", 150_000, b"sealed"),), "All_SalesOrder/0/7"),
    "payment_recorded": r.PaymentRecorded(2, "RUB", 200_000, 100_000, False, {"1": 150_000, "2": 50_000}, "P/0/9"),
    "line_allocated": r.LineAllocated("1", "GC-7K2M-9QXA", 4),
    "line_released": r.LineReleased("1", "GC-7K2M-9QXA", "lapsed"),
    "line_plan_told": r.LinePlanTold("1", 150_000, "RUB"),
    "line_activated": r.LineActivated("1", "GC-7K2M-9QXA", 150_000, "RUB"),
    "line_stuck": r.LineStuck("1", "GC-7K2M-9QXA", "activate", "CodeAlreadySold"),
}

LINK: Final = bytes(range(16))
BEFORE: Final = Position(6, LINK)
RECORD: Final = Record(
    schema=1,
    version=7,
    at=1_795_500_000_123,
    client="till-1",
    channel="POS",
    key=b"k" * 16,
    fingerprint=b"f" * 16,
    status=Status.ACTIVE,
    balance=150_000,
    held=50_000,
    body=BODIES["held"],
)
AUDITED: Final = replace(RECORD, key_id="k_3f9ac2d1", address=bytes([192, 0, 2, 7]))
"""As :data:`RECORD`, with what came to it later."""
PUBLICATION: Final = Publication(
    "GiftCertificateState", "GC-7K2M-9QXA", "es_7_abc", 1_795_500_000_123, b'{"version":7}'
)

CERTIFICATE: Final = Certificate(
    code="GC-7K2M-9QXA",
    version=9,
    updated_at=1_795_500_000_123,
    status=Status.ACTIVE,
    channel="OnlineStore",
    order_id="SO-1001",
    line_id="1",
    reservation=1,
    joined=True,
    currency="RUB",
    denomination=150_000,
    seller="shop",
    activation=3,
    activated_at=1_795_500_000_000,
    expires_at=1_827_036_000_000,
    cvc=b"\x01" * 32,
    recipient=b"sealed",
    balance=120_000,
    held=20_000,
    holds=Map({9: Hold(20_000, 20_000, 1_795_500_900_000, "till-2")}),
    closed=Map({6: ClosedHold(Closed.VOIDED, "till-1"), 4: ClosedHold(Closed.CAPTURED, "till-1")}),
    captures=Map({5: Capture(30_000, 10_000, 4, "till-1")}),
    next_lapse=1_795_500_900_000,
)
ORDER: Final = Order(
    order_id="SO-1001",
    version=5,
    updated_at=1_795_500_000_123,
    order_version=1,
    channel="OnlineStore",
    currency="RUB",
    lines={"1": Line(150_000, b"sealed"), "2": Line(70_000)},
    allocations={"1": Allocation("GC-7K2M-9QXA", (150_000, "RUB"), activated=True, reservation=1)},
    payments={"RUB": Payment(2, "RUB", 200_000, 20_000, settled=False, collected={"1": 150_000, "2": 50_000})},
)
