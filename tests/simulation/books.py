"""The log as a bookkeeper reads it: somebody has asked for each record, once, and it follows from the last one."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from ledger import records as r
from ledger.commands import Authorize, Capture, Sell, Void
from ledger.identifiers import entity_key, is_certificate
from tests.simulation.account import CertificateAccount, OrderAccount
from tests.simulation.caller import address_of, key_of

if TYPE_CHECKING:
    from tests.simulation.auditor import Entry
    from tests.simulation.broker import Broker
    from tests.simulation.caller import Called

SALE = r.Reserved | r.Joined | r.Released | r.Activated
OWN = r.HoldLapsed | r.Expired | r.Joined | r.Released | r.Kept
OWN_OF_ORDERS = r.LineAllocated | r.LineReleased | r.LinePlanTold | r.LineActivated | r.LineStuck
ONCE = Authorize | Capture | Void
"""What one key does at most once. A sale is several steps, each of which may carry its key."""

NOBODY_S = {"ledger", "orders", "payments"}
"""Clients that have no API key."""

Request = tuple[bytes, bytes]
"""An idempotency key, and the fingerprint of what it was used for."""


class Books:
    """The accounts of all certificates and orders.

    Args:
        calls: what anybody has asked.
        broker: what Orders and Payments have published.
        strict: whether a call that was turned away has certainly not happened.
    """

    def __init__(self, calls: list[Called], broker: Broker, *, strict: bool) -> None:
        self.certificates: dict[str, CertificateAccount] = {}
        self.orders: dict[str, OrderAccount] = {}
        self.done: Counter[Request] = Counter()
        """How often each request of :data:`ONCE` was carried out."""
        self.wrong: list[str] = []
        self._calls: defaultdict[Request, list[Called]] = defaultdict(list)
        for called in calls:
            self._calls[called.request].append(called)
        self._sales = [called for called in calls if isinstance(called.command, Sell)]
        self._keys: Counter[bytes] = Counter()
        self._broker = broker
        self.strict = strict

    def certificate(self, code: str) -> CertificateAccount:
        return self.certificates.setdefault(code, CertificateAccount(code))

    def order(self, order_id: str) -> OrderAccount:
        return self.orders.setdefault(order_id, OrderAccount(order_id))

    def enter(self, entry: Entry) -> None:
        """Take the next record of the log."""
        record = entry.record
        asked = self._asked(entry)
        why = self._nobody_asked(entry, asked) or self._misnamed(entry, asked)
        if why is not None:
            self.wrong.append(f"{entry.entity}, version {record.version} ({type(record.body).__name__}): {why}")
        if not is_certificate(entry.entity):
            self.order(entity_key(entry.entity)).follow(entry)
            return
        command, origin = (asked[0].command, asked[0].origin) if asked else (None, None)
        wrong = self.certificate(entity_key(entry.entity)).follow(entry, command, origin)
        if wrong is not None:
            self.wrong.append(wrong)

    def _asked(self, entry: Entry) -> list[Called]:
        """The calls that a record may come from."""
        calls = self._calls[entry.record.key, entry.record.fingerprint] if entry.record.key else []
        return [called for called in calls if called.entity == entry.entity and called.began <= entry.at]

    def _nobody_asked(self, entry: Entry, asked: list[Called]) -> str | None:  # noqa: PLR0911 - one for each origin
        """Why a record has no business in the log; `None` if it has."""
        record, body = entry.record, entry.record.body
        if record.client == "ledger":
            return None if isinstance(body, OWN | OWN_OF_ORDERS) else "the ledger does not do this by itself"
        if isinstance(body, r.Placed | r.PaymentRecorded):
            return None if self._was_published(body, entity_key(entry.entity)) else "nobody has published this"
        if isinstance(body, r.Activated) and (why := self._unpaid(body, entity_key(entry.entity))):
            return why
        if record.key:
            if not asked:
                return "nobody has asked for this with such a key"
            if self.strict and not any(called.given(entry.at) for called in asked):
                return "its caller was told that nothing happened"
            if isinstance(asked[0].command, ONCE):
                self.done[record.key, record.fingerprint] += 1
                self._keys[record.key] += 1
                return "the same key a second time" if self._keys[record.key] > 1 else None
        if isinstance(body, SALE):
            return None if self._was_sold(entry) else "nobody has sold it"
        # what an expiry adds to a void or a capture has no key; the account of the certificate looks at it
        return None if record.key or isinstance(body, r.Expired | r.HoldVoided) else "it has no key"

    def _misnamed(self, entry: Entry, asked: list[Called]) -> str | None:
        """Why a record names the wrong API key or address; `None` if it names the right ones."""
        record = entry.record
        if record.key and asked:
            right = {(called.origin.key_id, called.origin.address) for called in asked}
        elif record.client in NOBODY_S:
            right = {("", b"")}
        else:
            # a step of a sale that the ledger has done names nobody, one of whoever sold names him
            right = {("", b""), (key_of(record.client), address_of(record.client))}
        if isinstance(record.body, r.Activated) and not record.key:
            right |= {(one.origin.key_id, one.origin.address) for one in self._sales if one.entity == entry.entity}
        named = (record.key_id, record.address)
        return None if named in right else f"it names {named}, and was asked for by {sorted(right)}"

    def _unpaid(self, body: r.Activated, code: str) -> str | None:
        due = self.order(body.order_id).due
        return None if (body.line_id, code, body.denomination) in due else f"nobody has paid for this: {sorted(due)}"

    def _was_published(self, body: r.Placed | r.PaymentRecorded, order_id: str) -> bool:
        event: dict[str, Any] = msgspec.json.decode(self._broker.at(body.source).value or b"{}")
        said: tuple[Any, ...]
        kept: tuple[Any, ...]
        if isinstance(body, r.Placed):
            lines = {line["orderLineId"]: line["plannedDenomination"] for line in event.get("certificateLines", ())}
            said = (event.get("orderVersion"), event.get("status") == "Cancelled", lines)
            kept = (body.order_version, body.cancelled, {line.line_id: line.planned for line in body.lines})
        else:
            lines = {line["orderLineId"]: line["collectedAmount"] for line in event.get("certificateAllocations", ())}
            said = (event.get("paymentVersion"), event.get("outstandingAmount"), event.get("isOrderSettled"), lines)
            kept = (body.payment_version, body.outstanding, body.settled, body.collected)
        return event["orderId"] == order_id and said == kept

    def _was_sold(self, entry: Entry) -> bool:
        """Whether the client of a sale's record has asked for the sale of this code."""
        return any(
            called.entity == entry.entity and called.client == entry.record.client and called.began <= entry.at
            for called in self._sales
        )
