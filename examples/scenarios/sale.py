"""Scenario 1: two certificates are sold in one order, paid for in parts, activated, and their CVCs sent."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from examples.cast import Cast, cvc_in
from examples.connection import RefusedError
from examples.messages import OrderView, Recipient, SalesOrder
from examples.narration import Narrator, as_money
from examples.online_store import fresh_code
from examples.patience import eventually

TITLE = "Scenario 1: sale and activation"

FIRST_AMOUNT = 150_000
SECOND_AMOUNT = 100_000
NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that was sold: its code, and what only the recipient knows."""

    code: str
    cvc: str
    phone: str
    activation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """What the scenario leaves behind."""

    order_id: str
    first: Certificate
    second: Certificate


def fresh_order_id() -> str:
    """The name of an order that was not there before."""
    return f"SO-{secrets.token_hex(5).upper()}"


def fresh_phone() -> str:
    """A phone that has no messages yet."""
    return f"+7999{secrets.randbelow(10**7):07}"


async def play(cast: Cast, narrator: Narrator) -> Sold:
    """Play the scenario."""
    order = _draft(cast, narrator)
    codes = (fresh_code(), fresh_code())
    await _reserve(cast, narrator, order, codes)
    await _pay(cast, narrator, order, codes)
    return await _activated(cast, narrator, order, codes)


async def order_view(cast: Cast, order_id: str) -> OrderView:
    """The order as the service knows it; an empty one if it has not heard of it."""
    try:
        return await cast.support.order(order_id)
    except RefusedError as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return OrderView(order_id=order_id)


def _draft(cast: Cast, narrator: Narrator) -> SalesOrder:
    recipients = (
        Recipient(name="Anna", phone=fresh_phone()),
        Recipient(name="Boris", phone=fresh_phone(), locale="en"),
    )
    wishes = {"Anna": FIRST_AMOUNT, "Boris": SECOND_AMOUNT}
    order = cast.store.draft(fresh_order_id(), recipients, lambda recipient: wishes[recipient.name])
    amounts = " and ".join(as_money(line.planned_denomination) for line in order.certificate_lines)
    narrator.step(
        "OnlineStore", "in person", f"asks the buyer for the amounts and drafts {order.order_id}: {amounts} RUB"
    )
    narrator.check("each certificate has a line of its own", expected=2, got=len(order.certificate_lines))
    return order


async def _reserve(cast: Cast, narrator: Narrator, order: SalesOrder, codes: tuple[str, str]) -> None:
    first, second = codes
    narrator.step(
        "OnlineStore", "HTTP", f"POST /certificates/{first}/authorize, Sale, before the order itself is known"
    )
    early = await cast.store.sell(first, order.order_id, "1")
    narrator.check("the code is reserved", expected=(201, "Reserved"), got=(early.status, early.body.status))
    narrator.check("for the channel of the key", expected="OnlineStore", got=early.body.channel)
    narrator.check("what it is to be worth is not known yet", expected=None, got=early.body.planned_denomination)

    narrator.step("OnlineStore", "in person", "hands the order to Orders")
    narrator.step("Orders", "Kafka", f"publishes {order.order_id} on All_SalesOrder with its certificateLines")
    await cast.store.place(order)
    plan = {"line 1": FIRST_AMOUNT, "line 2": SECOND_AMOUNT}
    view = await eventually(lambda: order_view(cast, order.order_id), lambda seen: seen.planned() == plan)
    narrator.check("the plan is in order_certificate_allocation", expected=plan, got=view.planned(), money=True)
    held = {line.order_line_id: line.certificate_code for line in view.certificate_lines}
    narrator.check("the early reservation was joined to it", expected=first, got=held.get("1"))

    narrator.step("OnlineStore", "HTTP", "asks for the same code and line once more")
    again = await cast.store.sell(first, order.order_id, "1")
    narrator.check("it is the same reservation", expected=(200, "Reserved"), got=(again.status, again.body.status))

    narrator.step("OnlineStore", "HTTP", f"POST /certificates/{second}/authorize, Sale, now that the order is known")
    late = await cast.store.sell(second, order.order_id, "2")
    planned = (late.body.planned_denomination, late.body.currency)
    narrator.check("the answer has the plan", expected=(SECOND_AMOUNT, "RUB"), got=planned, money=True)
    await narrator.refused(
        "a line takes one code only", "OrderLineAlreadyAllocated", cast.store.sell(fresh_code(), order.order_id, "2")
    )
    await narrator.refused(
        "a line that the order does not have is refused",
        "OrderLineNotFound",
        cast.store.sell(fresh_code(), order.order_id, "9"),
    )


async def _pay(cast: Cast, narrator: Narrator, order: SalesOrder, codes: tuple[str, str]) -> None:
    order_id = order.order_id
    cast.payments.open(order)
    versions = [
        cast.payments.collect(order_id, amounts)
        for amounts in ({"1": 100_000}, {"1": 50_000}, {"2": 50_000}, {"2": 50_000})
    ]

    async def paid_up_to(version: int) -> OrderView:
        return await eventually(lambda: order_view(cast, order_id), lambda seen: (seen.payment_version or 0) >= version)

    narrator.step("Payments", "Kafka", "publishes version 1 on All_Payments: 1 000.00 for line 1, unsettled")
    await cast.payments.publish(versions[0])
    view = await paid_up_to(1)
    paid = {"line 1": 100_000, "line 2": 0}
    narrator.check("collected_amount follows", expected=paid, got=view.collected(), money=True)

    narrator.step("Payments", "Kafka", "publishes version 3 before version 2, and version 1 once more")
    for payment in (versions[2], versions[1], versions[0]):
        await cast.payments.publish(payment)
    view = await paid_up_to(3)
    narrator.check("the highest version counts", expected=3, got=view.payment_version)
    paid = {"line 1": 150_000, "line 2": 50_000}
    narrator.check("with its cumulative amounts", expected=paid, got=view.collected(), money=True)
    for line, code in zip(("1", "2"), codes, strict=True):
        seen = await cast.support.look_up(code)
        narrator.check(f"line {line} is not active before the order is settled", expected="Reserved", got=seen.status)
    await narrator.refused(
        "and a till gets nothing for it", "CertificateNotActive", cast.till.authorize(codes[0], 1_000)
    )

    narrator.step("Payments", "Kafka", "publishes version 4: isOrderSettled = true, outstandingAmount = 0")
    settled = time.perf_counter()
    await cast.payments.publish(versions[3])
    await cast.bi.certificates.wait_for_status(codes[0], "Active")
    await cast.bi.certificates.wait_for_status(codes[1], "Active")
    narrator.measured(
        "settling payment → both states Active at the BI pipeline", (time.perf_counter() - settled) * 1000
    )


async def _activated(cast: Cast, narrator: Narrator, order: SalesOrder, codes: tuple[str, str]) -> Sold:
    certificates: list[Certificate] = []
    for code, line in zip(codes, order.certificate_lines, strict=True):
        events = cast.bi.certificates
        name = line.intended_recipient.name
        narrator.step("BI Pipeline", "Kafka", f"reads what happened to {code}, {name}'s")
        state = events.states.get(code)
        active = {"status": "Active", "balance": line.planned_denomination}
        got = None if state is None else state.fields(*active)
        narrator.check("GiftCertificateState", expected=active, got=got, money=True)
        moved = await events.first_transaction(code)
        issued = {"type": "Activate", "balanceBefore": 0, "balanceAfter": line.planned_denomination}
        narrator.check("GiftCertificateTransaction", expected=issued, got=moved.fields(*issued), money=True)

        narrator.step("SMS gateway", "SMS", f"has delivered {name}'s CVC")
        phone = line.intended_recipient.phone
        messages = await cast.inbox.wait_for(phone, 1)
        narrator.check(f"one message to {name}", expected=1, got=len(messages))
        cvc = cvc_in(messages[0].text)
        narrator.check("with four digits in it", expected=4, got=len(cvc or ""))
        certificates.append(Certificate(code=code, cvc=cvc or "", phone=phone, activation_id=moved.transaction_id))

    view = await order_view(cast, order.order_id)
    narrator.check("the order is covered", expected=view.planned(), got=view.collected(), money=True)
    lines = {line.order_line_id: line.certificate_code for line in view.certificate_lines}
    narrator.check("and names its certificates", expected=dict(zip(("1", "2"), codes, strict=True)), got=lines)
    following = cast.orders.certificates
    for code in codes:
        await following.wait_for_status(code, "Active")
    narrator.check(
        "Orders knows it too", expected={"1": "Active", "2": "Active"}, got=cast.orders.lines(order.order_id)
    )

    secret = [certificate.cvc for certificate in certificates] + [certificate.phone for certificate in certificates]
    narrator.check("events that tell a CVC or a phone number", expected=[], got=_leaks(cast, codes, secret))
    return Sold(order_id=order.order_id, first=certificates[0], second=certificates[1])


def _leaks(cast: Cast, codes: tuple[str, str], secret: list[str]) -> list[str]:
    """The events about some certificates that tell what nobody is to know, by topic and offset."""
    return [
        f"{record.topic}/{record.partition}/{record.offset}"
        for record in cast.bi.certificates.records
        if record.key.decode() in codes
        for name, value in _fields(msgspec.json.decode(record.value or b"{}"))
        if name.lower() in {"cvc", "phone", "to"} or str(value) in secret
    ]


def _fields(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    match value:
        case dict():
            for inner_name, inner in value.items():
                yield from _fields(inner, str(inner_name))
        case list():
            for inner in value:
                yield from _fields(inner, name)
        case _:
            yield name, value
