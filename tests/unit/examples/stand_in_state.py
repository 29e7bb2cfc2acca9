"""What the stand-in for the service remembers, and how it says no."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class No(Exception):  # noqa: N818 - it is an answer
    def __init__(self, status: int, code: str, **figures: object) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"type": code, "title": code, "status": status, "detail": code, "code": code, **figures}


@dataclass(kw_only=True)
class Certificate:
    code: str
    order_id: str
    line_id: str
    channel: str | None
    status: str = "Reserved"
    currency: str | None = None
    denomination: int | None = None
    balance: int = 0
    version: int = 0
    cvc: str = ""
    phone: str = ""
    holds: dict[str, Json] = field(default_factory=dict)
    operations: list[Json] = field(default_factory=list)

    @property
    def available(self) -> int:
        held: int = sum(hold["left"] for hold in self.holds.values())
        return self.balance - held


@dataclass(kw_only=True)
class Order:
    event: Json | None = None
    payment: Json | None = None
    codes: dict[str, str] = field(default_factory=dict)

    def plan(self) -> dict[str, Json]:
        return {line["orderLineId"]: line for line in (self.event or {}).get("certificateLines", [])}

    def collected(self) -> dict[str, int]:
        allocations = (self.payment or {}).get("certificateAllocations", [])
        return {one["orderLineId"]: one["collectedAmount"] for one in allocations}
