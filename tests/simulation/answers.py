"""What callers were told, held against the books: each answer was true at some time while its caller waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import OutcomeUnknownError
from ledger import records as r
from ledger.commands import Authorize, Block, Inquire, Look, Sell, Unblock
from ledger.identifiers import entity_key, is_certificate
from ledger.refusals import Refusal
from tests.simulation.account import FOREVER, Page, explained
from tests.simulation.books import ONCE, Books, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.answers import Answer
    from tests.simulation.caller import Attempt, Called

CVC_ATTEMPTS_FREE = 3


class Answers:
    """Looks at calls.

    Args:
        books: of all that was appended.
        calls: all of them.
        clock: the true time (milliseconds) at a virtual second.
        clocks_apart_ms: how far those of machines were from it.
    """

    def __init__(self, books: Books, calls: list[Called], clock: Callable[[float], int], clocks_apart_ms: int) -> None:
        self._books = books
        self._calls = calls
        self._clock = clock
        self._apart_ms = clocks_apart_ms
        self._began: dict[Request, float] = {}
        """When each request was made for the first time."""
        for called in calls:
            self._began[called.request] = min(called.began, self._began.get(called.request, FOREVER))

    def wrong(self) -> list[str]:
        """Every answer that cannot be, in words."""
        return [f"{called.client}: {called.said}: {why}" for called in self._calls for why in self._wrong(called)]

    def _wrong(self, called: Called) -> list[str]:
        answered = called.answered
        found = []
        for attempt, answer in answered:
            why = self._unexplained(called, attempt, answer)
            if why is not None:
                found.append(f"was answered {answer.refused or answer.body.decode()}, but {why}")
        if (
            called.origin.key
            and len({(answer.body, answer.refused and answer.refused.code) for _, answer in answered}) > 1
        ):
            found.append(f"had several outcomes: {[answer for _, answer in answered]}")
        if answered and isinstance(called.command, ONCE):
            done = self._books.done[called.request]
            if done != (answered[0][1].refused is None):
                found.append(f"was answered {answered[0][1]}, and done {done} times")
        found += [
            f"was not locked out at {attempt.ended:.6f}"
            for attempt in called.limited
            if not self._locked(called, attempt)
        ]
        for attempt in called.attempts:
            outcome = attempt.outcome
            if isinstance(outcome, OutcomeUnknownError) and "recorded for the operators" in outcome.detail:
                found.append("met a defect")
        return found

    def _locked(self, called: Called, attempt: Attempt) -> bool:
        """Whether so many CVCs were tried on the code that it may have been locked.

        Where frames come twice, each try may have counted twice.
        """
        tried = sum(
            one.began <= attempt.ended
            for other in self._calls
            if other.entity == called.entity and isinstance(other.command, Authorize | Inquire) and other.command.cvc
            for one in other.attempts
        )
        return tried * (1 if self._books.strict else 2) > CVC_ATTEMPTS_FREE

    def _unexplained(  # noqa: PLR0911 - one for each kind of answer
        self, called: Called, attempt: Attempt, answer: Answer
    ) -> str | None:
        # without a key each attempt is a call of its own
        began = self._began[called.request] if called.origin.key else attempt.began
        ended = attempt.ended
        refusal = None if answer.refused is None else answer.refused.code
        if refusal is Refusal.IDEMPOTENCY_KEY_REUSED:
            return None if self._reused(called, ended) else "the key was new"
        if isinstance(called.command, Sell) and refusal is not None:
            return self._unexplained_sale(called, called.command, refusal, began, ended)
        if not is_certificate(called.entity):
            return self._unexplained_order(called, answer, began, ended)
        pages = self._books.certificate(entity_key(called.entity)).pages
        if answer.version >= len(pages):
            return f"it has no version {answer.version}"
        page = pages[answer.version]
        if not page.during(began, ended):
            stood = f"version {page.version} stood from {page.since:.6f} to {page.until:.6f}"
            return f"{stood}, it was asked from {began:.6f} to {ended:.6f}"
        if refusal is not None:
            return self._unexplained_refusal(called, page, refusal, began, ended)
        return _unexplained_body(called, page, pages[page.version - 1], msgspec.json.decode(answer.body))

    def _reused(self, called: Called, ended: float) -> bool:
        """Whether its caller has used the key for something else before."""
        return any(
            other.origin.key == called.origin.key and other.request != called.request and other.began <= ended
            for other in self._calls
        )

    def _unexplained_refusal(
        self, called: Called, page: Page, refusal: Refusal, began: float, ended: float
    ) -> str | None:
        wanted = [explained(page, called.command, called.origin, now) for now in self._times(page, began, ended)]
        return None if refusal.value in wanted else f"version {page.version} explains {wanted}"

    def _times(self, page: Page, began: float, ended: float) -> list[int]:
        """The times at which the shard may have decided: between two of them nothing comes to its end."""
        first = self._clock(began) - self._apart_ms
        last = self._clock(ended) + self._apart_ms
        ends = (
            [] if page.plain is None else [*(hold.until for hold in page.plain.holds.values()), page.plain.expires_at]
        )
        return sorted({first, last, *(end for end in ends if first <= end <= last)})

    def _unexplained_sale(
        self, called: Called, command: Sell, refusal: Refusal, began: float, ended: float
    ) -> str | None:
        code = entity_key(called.entity)
        pages = [page for page in self._books.certificate(code).pages if page.during(began, ended)]
        orders = [page for page in self._books.order(command.order_id).pages if page.during(began, ended)]
        sold = (command.order_id, command.line_id)
        line = command.line_id
        match refusal:
            case Refusal.CODE_ALREADY_SOLD:
                others = any(page.status and (page.sold != sold or page.status == "Cancelled") for page in pages)
                holds = others or any(code in page.codes.values() and page.codes.get(line) != code for page in orders)
            case Refusal.ORDER_LINE_ALREADY_ALLOCATED:
                holds = any(page.codes.get(line, code) != code for page in orders)
            case Refusal.ORDER_CANCELLED:
                holds = any(page.plan[1] for page in orders)
            case Refusal.ORDER_LINE_NOT_FOUND:
                holds = any(page.plan[0] and line not in page.lines for page in orders)
            case _:
                holds = False
        return None if holds else "at no time was it so"

    def _unexplained_order(self, called: Called, answer: Answer, began: float, ended: float) -> str | None:
        pages = self._books.order(entity_key(called.entity)).pages
        if answer.version >= len(pages):
            return f"it has no version {answer.version}"
        page = pages[answer.version]
        if not page.during(began, ended):
            return f"version {page.version} stood from {page.since:.6f} to {page.until:.6f}"
        if answer.refused is not None:
            return None if answer.refused.code is Refusal.NOT_FOUND and not page.version else "the order is there"
        body = msgspec.json.decode(answer.body)
        shown = {
            line["orderLineId"]: line["certificateCode"] for line in body["certificateLines"] if line["certificateCode"]
        }
        told = (body["orderVersion"], body["paymentVersion"], shown)
        return None if told == (page.plan[0], page.payment, page.codes) else f"version {page.version} is {page}"


def _unexplained_body(called: Called, page: Page, before: Page, body: dict[str, Any]) -> str | None:
    """Why a page does not say what a caller was told; `None` if it does."""
    plain, command = page.plain, called.command
    shown: dict[str, Any] = {
        "certificateCode": entity_key(called.entity),
        "status": page.status,
        "version": page.version,
    }
    if isinstance(command, Sell):
        shown |= {"orderId": command.order_id, "orderLineId": command.line_id}
        if page.sold != (command.order_id, command.line_id):
            return f"it is sold to {page.sold}"
    elif plain is not None:
        shown |= {"balance": plain.balance, "held": plain.held, "available": plain.available}
        shown |= {"currency": plain.currency}
    if isinstance(command, ONCE):
        record = page.record
        if record is not None and isinstance(record.body, r.Expired):
            record = before.record  # what a void has freed was written off at once
        if record is None or record.key != called.origin.key:
            return "the record of this version is another's"
        shown |= {"amount": getattr(record.body, "amount", 0)}
    if isinstance(command, Authorize):
        shown |= {"status": "Authorized"}
    if isinstance(command, Look | Block | Unblock) and page.sold is not None:
        shown |= {"orderId": page.sold[0], "orderLineId": page.sold[1]}
    differing = {name: value for name, value in shown.items() if name in body and body[name] != value}
    return f"it shows otherwise: {differing}" if differing else None
