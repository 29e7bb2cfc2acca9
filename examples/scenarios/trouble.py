"""What goes wrong in real life: a dropped line, a faulty event, a cancelled order."""

import uuid

import httpx

from examples.cast import Cast
from examples.connection import Connection, RefusedError
from examples.messages import Recipient
from examples.narration import Narrator
from examples.online_store import fresh_code
from examples.patience import eventually
from examples.scenarios.sale import Sold, fresh_order_id, fresh_phone, order_view
from examples.till import Till
from examples.topics import SALES_ORDERS

TITLE = "Trouble: a dropped line, a faulty event, a cancelled order"


class DroppedLine(httpx.AsyncBaseTransport):
    """A connection that carries every request, but loses the first replies on their way back.

    Args:
        replies: How many replies to lose.
    """

    def __init__(self, *, replies: int = 1) -> None:
        self._line = httpx.AsyncHTTPTransport()
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


async def play(cast: Cast, narrator: Narrator, sold: Sold) -> None:
    """Play the scenario."""
    await _dropped_line(cast, narrator, sold)
    await _faulty_event(cast, narrator)


async def _dropped_line(cast: Cast, narrator: Narrator, sold: Sold) -> None:
    code, line = sold.first.code, DroppedLine()
    narrator.step("Till", "HTTP", "authorize 100.00; the line drops before the reply comes; it asks again by itself")
    before = await cast.support.look_up(code)
    async with Connection(cast.endpoints.http, cast.keys["pos"], transport=line) as connection:
        hold = await Till(connection, name="POS-8").authorize(code, 10_000, idempotency_key=uuid.uuid4().hex)
    narrator.check("one reply was lost", expected=1, got=line.lost)
    narrator.check("the second one is the first one's replay", expected=True, got=hold.replayed)
    after = await cast.support.look_up(code)
    narrator.check("the customer was charged once", expected=10_000, got=before.available - after.available)
    await cast.till.release(code, hold.body.authorization_id)


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
    narrator.check("the partition went on: the whole one is known", expected={"1": 70_000}, got=view.planned())

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
