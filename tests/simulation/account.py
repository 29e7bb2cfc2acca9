"""A certificate and an order as a bookkeeper would keep them: one record after the other, with plain numbers.

Nothing of the ledger's rules is used: what a record may say is worked out a second time.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger import records as r
from ledger.commands import AnyCommand, Authorize, Block, Capture, Inquire, Look, Origin, ReissueCvc, Unblock, Void
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from tests.property.plain import PlainCertificate

if TYPE_CHECKING:
    from ledger.records import Record
    from tests.simulation.auditor import Entry

FOREVER = float("inf")
SALE = r.Reserved | r.Joined | r.Kept | r.Released | r.Activated


@dataclass
class Page:
    """A certificate after one of its records; `since` when (virtual seconds), `until` the next one."""

    version: int
    since: float
    until: float = FOREVER
    record: Record | None = None
    sold: tuple[str, str] | None = None
    reserved: bool = False
    activation: str = ""
    cvc: bytes | None = None
    plain: PlainCertificate | None = None

    @property
    def status(self) -> str:
        if self.plain is not None:
            return self.plain.status
        return "Reserved" if self.reserved else ""

    def during(self, began: float, ended: float) -> bool:
        """Whether the certificate was like this at some time within these two."""
        return self.since <= ended and self.until >= began


class CertificateAccount:
    """The pages of one certificate."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.pages = [Page(0, 0.0)]

    @property
    def last(self) -> Page:
        return self.pages[-1]

    def follow(self, entry: Entry, command: AnyCommand | None, origin: Origin | None) -> str | None:
        """Go on to the next page; gives what is wrong with the record, given the call that it is said to come from."""
        record, before = entry.record, self.last
        page = Page(
            record.version,
            entry.at,
            record=record,
            sold=before.sold,
            reserved=before.reserved,
            activation=before.activation,
            cvc=before.cvc,
            plain=deepcopy(before.plain),
        )
        before.until = entry.at
        self.pages.append(page)
        wrong = self._apply(page, record, command, origin)
        if wrong is None:
            plain = page.plain
            money = (0, 0) if plain is None else (plain.balance, plain.held)
            if (page.status, *money) != (record.status.value, record.balance, record.held):
                wrong = f"the record says {record.status} {record.balance} {record.held}, it is {page.status} {money}"
        return (
            None if wrong is None else f"{self.code}, version {record.version} ({type(record.body).__name__}): {wrong}"
        )

    def _apply(  # noqa: PLR0911 - one for each kind of record
        self, page: Page, record: Record, command: AnyCommand | None, origin: Origin | None
    ) -> str | None:
        plain = page.plain
        if isinstance(record.body, SALE):
            return self._sell(page, record)
        if plain is None:
            return "it has no money"
        match record.body:
            case r.HoldLapsed() as body:
                return self._lapse(plain, body, record.at)
            case r.Expired() as body:
                return _expire(plain, body, record.at)
            case r.HoldVoided() as body if not record.key:
                # the rest of a hold that is captured after the end of the certificate: written off, not set free
                hold = plain.holds.get(identifier(AUTHORIZATION, self.code, body.hold))
                if hold is None or not plain.expired or hold.left <= body.amount:
                    return f"nobody has asked for it, and {hold} is not ended by an expiry"
                hold.left -= body.amount
                return None
            case r.CvcReissued() as body:
                page.cvc = body.cvc
                return None if isinstance(command, ReissueCvc) else "nobody has asked for it"
            case _:
                pass
        if command is None or origin is None:
            return "nobody has asked for it"
        late = [name for name, hold in plain.holds.items() if hold.until <= record.at]
        if late or (plain.expires_at <= record.at and not plain.expired and not plain.cancelled):
            return f"{late or 'the certificate'} had come to its end before"
        return self._ask(page, record, command, origin)

    def _sell(self, page: Page, record: Record) -> str | None:
        was = page.reserved
        match record.body:
            case r.Reserved() as body:
                if page.status:
                    return "it was sold already"
                page.sold, page.reserved = (body.order_id, body.line_id), True
                return None
            case r.Activated() as body:
                if page.sold != (body.order_id, body.line_id):
                    return "it is not reserved for this line"
                page.activation = identifier(OPERATION, self.code, record.version)
                page.plain = PlainCertificate(body.denomination, body.currency, record.client, body.expires_at)
                page.cvc = body.cvc
            case _:
                pass
        if isinstance(record.body, r.Activated | r.Released):
            page.reserved = False
        if isinstance(record.body, r.Released):
            page.sold = None
        return None if was else "it is not reserved"

    def _lapse(self, plain: PlainCertificate, body: r.HoldLapsed, at: int) -> str | None:
        name = identifier(AUTHORIZATION, self.code, body.hold)
        hold = plain.holds.get(name)
        if hold is None or hold.until > at or hold.left != body.amount:
            return f"{hold} did not lapse at {at}"
        plain.closed[name] = ("Expired", plain.holds.pop(name).client)
        return None

    def _ask(self, page: Page, record: Record, command: AnyCommand, origin: Origin) -> str | None:
        """Have the plain certificate do what was asked, and compare."""
        body, plain = record.body, page.plain
        assert plain is not None
        done: str | int
        amount = getattr(body, "amount", 0)
        match command, body:
            case Authorize(), r.Held():
                done = plain.authorize(command.amount, command.currency, partial=command.allow_partial)
                if isinstance(done, int):
                    name = identifier(AUTHORIZATION, self.code, record.version)
                    plain.hold(name, record.client, done, body.expires_at)
            case Capture(), r.Captured():
                done = _capture(plain, command, origin)
                if isinstance(done, int):
                    plain.take(identifier(OPERATION, self.code, record.version), record.client, done)
            case Void(), r.HoldVoided():
                # what it frees after the expiry is written off by a record of its own
                expired, plain.expired = plain.expired, False
                done = _void(page, command, origin, record.at)
                plain.expired = expired
            case Void(), r.CaptureVoided() | r.ActivationVoided():
                done = _void(page, command, origin, record.at)
            case (Block(), r.Blocked()) | (Unblock(), r.Unblocked()):
                blocks = isinstance(command, Block)
                done = 0 if plain.blocked is not blocks else "it was so already"
                plain.blocked = blocks
            case _:
                return f"that is not what {command} asks for"
        return None if done == amount else f"{command} comes to {done}, the record says {amount}"


def explained(  # noqa: PLR0911 - one for each kind of command
    page: Page, command: AnyCommand, origin: Origin, now: int
) -> str | int:
    """What the answer to a command is on a page at a time: the name of a refusal, or an amount (0 if there is none)."""
    page = deepcopy(page)
    plain = page.plain
    if plain is not None:
        # what has come to its end is recorded before anything else is decided
        lapses = sum(hold.until <= now for hold in plain.holds.values())
        ends = plain.expires_at <= now and not plain.cancelled and not plain.expired
        page.version += lapses + (ends or (plain.expired and lapses > 0))
        plain.pass_time(now)
    match command:
        case Capture():
            return "AuthorizationNotFound" if plain is None else _capture(plain, command, origin)
        case Void():
            return _void(page, command, origin, now)
        case Look():
            return 0 if page.status else "CertificateNotFound"
        case Authorize() | Inquire() if (refused := _barred(page, command.cvc, origin)) is not None:
            return refused
        case _:
            pass
    if plain is None or plain.cancelled:
        return "CertificateNotActive" if page.status else "CertificateNotFound"
    if plain.expired:
        return "CertificateExpired"
    if isinstance(command, Authorize):
        return plain.authorize(command.amount, command.currency, partial=command.allow_partial)
    return "CertificateBlocked" if plain.blocked and isinstance(command, Inquire | ReissueCvc) else 0


def _barred(page: Page, cvc: bytes | None, origin: Origin) -> str | None:
    """Why somebody may not know anything about the certificate; `None` if he may."""
    right = cvc is not None and cvc == page.cvc
    if origin.cvc_required:
        return None if right and page.status in {"Active", "Depleted"} else "CertificateRefused"
    if not page.status:
        return "CertificateNotFound"
    if cvc is None or right:
        return None
    return "CertificateNotActive" if page.cvc is None else "CvcMismatch"


def _expire(plain: PlainCertificate, body: r.Expired, at: int) -> str | None:
    """The end of the certificate, or of a hold after it: what is available is written off."""
    if not plain.expired and plain.expires_at > at:
        return f"it does not expire before {plain.expires_at}"
    if body.amount != plain.available:
        return f"{plain.available} is left"
    plain.expired = True
    plain.written_off += body.amount
    plain.balance -= body.amount
    return None


def _capture(plain: PlainCertificate, command: Capture, origin: Origin) -> str | int:
    return plain.capture(
        command.authorization_id, origin.client, command.amount, final=command.final, own=origin.own_only
    )


def _void(page: Page, command: Void, origin: Origin, now: int) -> str | int:
    plain, name = page.plain, command.operation_id
    if plain is not None and name == page.activation:
        name = "activation"
    known = plain is not None and (name in plain.holds or name in plain.closed or name in plain.captures)
    if name != "activation" and not known:
        # a name that the certificate gave to something that cannot be voided
        if int(name.split("_")[1]) > page.version:
            return "OperationNotFound"
        barred = plain is not None and plain.blocked and not origin.overrides_block
        return "CertificateBlocked" if barred else "OperationNotVoidable"
    assert plain is not None
    return plain.void(name, origin.client, command.amount, now, own=origin.own_only, support=origin.overrides_block)


@dataclass
class OrderPage:
    """An order after one of its records."""

    version: int
    since: float
    until: float = FOREVER
    plan: tuple[int, bool] = (0, False)
    lines: dict[str, int] = field(default_factory=dict)
    currency: str = ""
    payment: int = 0
    settled: bool = False
    collected: dict[str, int] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)

    def during(self, began: float, ended: float) -> bool:
        """As :meth:`Page.during`."""
        return self.since <= ended and self.until >= began

    def owed(self) -> dict[str, int]:
        """The lines that are paid for, with what is to be issued on them."""
        if self.plan[1] or not self.plan[0] or not self.settled:
            return {}
        return {line: planned for line, planned in self.lines.items() if self.collected.get(line, 0) >= planned}


class OrderAccount:
    """The pages of one order; `due` is what was ever owed: line, code, amount."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.pages = [OrderPage(0, 0.0)]
        self.due: set[tuple[str, str, int]] = set()

    @property
    def last(self) -> OrderPage:
        return self.pages[-1]

    def follow(self, entry: Entry) -> None:
        """Go on to the next page."""
        body, before = entry.record.body, self.last
        page = deepcopy(before)
        page.version, page.since = entry.record.version, entry.at
        before.until = entry.at
        self.pages.append(page)
        match body:
            case r.Placed():
                page.plan, page.currency = (body.order_version, body.cancelled), body.currency
                page.lines = {line.line_id: line.planned for line in body.lines} | page.issued
            case r.PaymentRecorded():
                page.payment, page.collected = body.payment_version, body.collected
                page.settled = body.settled and body.outstanding == 0
            case r.LineAllocated():
                page.codes[body.line_id] = body.code
            case r.LineReleased():
                page.codes.pop(body.line_id, None)
            case r.LineActivated() if body.denomination is not None:
                page.issued[body.line_id] = page.lines[body.line_id] = body.denomination
            case _:
                pass
        self.due |= {(line, page.codes[line], planned) for line, planned in page.owed().items() if line in page.codes}
