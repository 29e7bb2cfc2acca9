"""What goes wrong in real life: a dropped line, a guesser, events that are faulty or come too early, cancellations."""

import ssl
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass

import httpx

from examples.cast import Cast
from examples.connection import Connection, RefusedError
from examples.messages import Recipient
from examples.narration import Narrator
from examples.online_store import fresh_code
from examples.patience import eventually
from examples.scenarios.redemption import wrong
from examples.scenarios.sale import Sold, fresh_order_id, fresh_phone, order_view
from examples.till import Till
from examples.topics import SALES_ORDERS

TITLE = "Trouble: what goes wrong in real life"

LOCK_SECONDS_MAX = 30
"""How long the first lock after three wrong CVCs lasts at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """A third certificate, activated and then undone, as if it had never been sold."""

    code: str
    transaction_ids: tuple[str, ...]


class DroppedLine(httpx.AsyncBaseTransport):
    """A connection that carries every request, but loses the first replies on their way back.

    Args:
        replies: How many replies to lose.
        verify: How an `https` service is known again.
    """

    def __init__(self, *, replies: int = 1, verify: ssl.SSLContext | bool = True) -> None:
        self._line = httpx.AsyncHTTPTransport(verify=verify)
        self.lost = 0
        self._replies = replies

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; its reply may be lost."""
        response = await self._line.handle_async_request(request)
        if self.lost < self._replies:
            self.lost += 1
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("the line dropped before the reply came", request=request)
        return response

    async def aclose(self) -> None:
        """Close the connection."""
        await self._line.aclose()


async def play(cast: Cast, narrator: Narrator, sold: Sold) -> Undone:
    """Play the scenario."""
    await _dropped_line(cast, narrator, sold)
    await _guesser(cast, narrator, sold)
    await _faulty_event(cast, narrator)
    return await _early_payment(cast, narrator)


async def _dropped_line(cast: Cast, narrator: Narrator, sold: Sold) -> None:
    code, line = sold.first.code, DroppedLine(verify=cast.endpoints.verify)
    narrator.step("Till", "HTTP", "authorize 100.00; the line drops before the reply comes; it asks again by itself")
    before = await cast.support.look_up(code)
    async with Connection(cast.endpoints.http, cast.keys["pos"], transport=line) as connection:
        hold = await Till(connection, name="POS-8").authorize(code, 10_000, idempotency_key=uuid.uuid4().hex)
    narrator.check("one reply was lost", expected=1, got=line.lost)
    narrator.check("the second one is the first one's replay", expected=True, got=hold.replayed)
    after = await cast.support.look_up(code)
    held = before.available - after.available
    narrator.check("the customer is held to it once", expected=10_000, got=held, money=True)
    await cast.till.release(code, hold.body.authorization_id)


async def _guesser(cast: Cast, narrator: Narrator, sold: Sold) -> None:
    code, cvc = sold.second.code, sold.second.cvc
    hold = await cast.till.authorize(code, 10_000)
    for what, name, guesses in (
        ("the CVC of a certificate", code, (wrong(cvc, step) for step in (1, 2, 3))),
        ("the CVC of a code that does not exist", fresh_code(), ("0001", "0002", "0003")),
    ):
        narrator.step("OnlineStore", "HTTP", f"a guesser tries {what}: three times wrong, then as it should be")
        codes = [await _refusal(cast.store.balance(name, guess)) for guess in guesses]
        narrator.check("three guesses are refused", expected=["CertificateRefused"] * 3, got=codes)
        refusal = await narrator.refused(
            "then nothing is taken, right or wrong", "RateLimited", cast.store.balance(name, cvc)
        )
        wait = refusal.problem.get("retryAfter") if refusal else None
        in_time = isinstance(wait, int | float) and 0 < wait <= LOCK_SECONDS_MAX
        narrator.check("and he is told when to come back", expected=True, got=in_time)
    narrator.step("Till", "HTTP", "a hold that was there before can still be given back")
    void = (await cast.till.release(code, hold.body.authorization_id)).body
    released = {"voidedType": "Authorization", "available": 60_000}
    narrator.check("the hold is released", expected=released, got=void.fields(*released), money=True)


async def _faulty_event(cast: Cast, narrator: Narrator) -> None:
    order_id, code = fresh_order_id(), fresh_code()
    garbage = b'{"orderId": "' + order_id.encode() + b'", "certificateLines": [{'
    narrator.step("Orders", "Kafka", "a faulty release publishes half an event on All_SalesOrder, then a whole one")
    await cast.orders.send_raw(order_id, garbage)
    recipient = Recipient(name="Clara", phone=fresh_phone())
    await cast.store.place(cast.store.draft(order_id, [recipient], lambda _: 70_000))
    letter = await cast.dead_letters.wait_for(order_id)
    narrator.check(
        "the half is in GiftCertificateProcessing.DeadLetter as it was",
        expected=garbage,
        got=None if letter is None else letter.value,
    )
    origin = set() if letter is None else set(letter.headers.values())
    narrator.check("a header says where it came from", expected=True, got=SALES_ORDERS.encode() in origin)
    view = await eventually(lambda: order_view(cast, order_id), lambda seen: bool(seen.planned()))
    plan = {"line 1": 70_000}
    narrator.check("the partition went on: the whole one is known", expected=plan, got=view.planned(), money=True)

    narrator.step("OnlineStore", "HTTP", f"POST /certificates/{code}/authorize, Sale, for {order_id}")
    reserved = await cast.store.sell(code, order_id, "1")
    narrator.check("the code is reserved", expected="Reserved", got=reserved.body.status)
    narrator.step("Orders", "Kafka", "publishes version 2 of the order: Cancelled")
    await cast.orders.cancel(order_id)

    async def status() -> str:
        try:
            return (await cast.support.look_up(code)).status
        except RefusedError as refusal:
            return refusal.code

    seen = await eventually(status, lambda found: found == "CertificateNotFound")
    narrator.check("its reservation is released: the code is unknown again", expected="CertificateNotFound", got=seen)
    await narrator.refused("nothing more is sold for it", "OrderCancelled", cast.store.sell(code, order_id, "1"))
    gone = await cast.bi.certificates.wait_for_release(code)
    narrator.check("the BI pipeline is told that the code was given back", expected=True, got=gone)


async def _early_payment(cast: Cast, narrator: Narrator) -> Undone:
    order_id, code, recipient = fresh_order_id(), fresh_code(), Recipient(name="Dora", phone=fresh_phone())
    order = cast.store.draft(order_id, [recipient], lambda _: 40_000)
    cast.payments.open(order)
    narrator.step("Payments", "Kafka", f"publishes that {order_id} is settled before Orders has published the order")
    await cast.payments.publish(cast.payments.collect(order_id, {"1": 40_000}))
    view = await eventually(lambda: order_view(cast, order_id), lambda seen: seen.payment_version == 1)
    paid = {"line 1": 40_000}
    narrator.check("what was collected is kept until then", expected=paid, got=view.collected(), money=True)
    narrator.step("Orders", "Kafka", "publishes the order, twice")
    await cast.store.place(order)
    await cast.store.place(order)
    view = await eventually(lambda: order_view(cast, order_id), lambda seen: seen.planned() == paid)
    narrator.check("the plan is there, once", expected=paid, got=view.planned(), money=True)
    narrator.step("OnlineStore", "HTTP", f"POST /certificates/{code}/authorize, Sale, for a line that is paid already")
    await cast.store.sell(code, order_id, "1")
    active = await cast.bi.certificates.wait_for_status(code, "Active")
    narrator.check("it is activated at once", expected=True, got=active)
    messages = await cast.inbox.wait_for(recipient.phone, 1)
    narrator.check("one message to Dora", expected=1, got=len(messages))

    activation = await cast.bi.certificates.first_transaction(code)
    narrator.step(
        "Payments", "HTTP", f"POST /certificates/{code}/void: the purchase is undone before anything was drawn"
    )
    void = (await cast.payments.void(code, activation.transaction_id, reason="purchase undone")).body
    undone = {"voidedType": "Activation", "balance": 0, "status": "Cancelled"}
    narrator.check("the activation is undone", expected=undone, got=void.fields(*undone), money=True)
    await narrator.refused("and is worth nothing any more", "CertificateNotActive", cast.till.authorize(code, 1_000))
    return Undone(code=code, transaction_ids=(activation.transaction_id, void.operation_id))


async def _refusal(asked: Awaitable[object]) -> str:
    try:
        await asked
    except RefusedError as refusal:
        return refusal.code
    return "done, not refused"
