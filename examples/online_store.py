"""OnlineStore: sells certificates on the site, and takes them as payment with their CVC."""

import argparse
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from examples.connection import Answer, Connection
from examples.endpoints import Endpoints, arguments, read_keys
from examples.messages import Authorization, Balance, CertificateLine, Operation, Recipient, Reservation, SalesOrder
from examples.orders import Orders
from examples.terminal import finish

CODE_LETTERS = "ACDEFGHJKLMNPQRTUVWXYZ"
"""No letters that are read as one another, and no digits: nobody shall take a part of a code for a CVC."""


class TakesOrders(Protocol):
    """Whoever the store hands its orders to."""

    async def place(self, order: SalesOrder) -> None:
        """Take an order."""
        ...


def fresh_code() -> str:
    """A certificate code that was not there before and cannot be guessed."""
    groups = ("".join(secrets.choice(CODE_LETTERS) for _ in range(4)) for _ in range(4))
    return "GC-" + "-".join(groups)


class OnlineStore:
    """The shop on the web.

    Args:
        connection: To the service, with a key of the role `storefront`.
        orders: Where the orders go.
        currency: What the shop sells in.
    """

    def __init__(self, connection: Connection, orders: TakesOrders, *, currency: str = "RUB") -> None:
        self.connection = connection
        self._orders = orders
        self._currency = currency

    def draft(
        self, order_id: str, recipients: Sequence[Recipient], ask_amount: Callable[[Recipient], int]
    ) -> SalesOrder:
        """Ask the buyer for the amount of each certificate, and make a line of its own for each.

        Args:
            order_id: The name of the order to be.
            recipients: Who gets a certificate.
            ask_amount: Asks the buyer; the answer is in minor units.
        """
        lines = tuple(
            CertificateLine(
                order_line_id=str(number), planned_denomination=ask_amount(recipient), intended_recipient=recipient
            )
            for number, recipient in enumerate(recipients, start=1)
        )
        return SalesOrder(order_id=order_id, currency=self._currency, certificate_lines=lines)

    async def place(self, order: SalesOrder) -> None:
        """Hand the order to Orders."""
        await self._orders.place(order)

    async def sell(self, code: str, order_id: str, order_line_id: str) -> Answer[Reservation]:
        """Have a code reserved for a line of an order."""
        body = {"purpose": "Sale", "orderId": order_id, "orderLineId": order_line_id}
        return await self.connection.post(f"/certificates/{code}/authorize", body, Reservation)

    async def balance(self, code: str, cvc: str) -> Answer[Balance]:
        """What the certificate is worth; the customer shows that it is his by the CVC."""
        return await self.connection.post(f"/certificates/{code}/balance", {"cvc": cvc}, Balance)

    async def authorize(self, code: str, amount: int, cvc: str | None) -> Answer[Authorization]:
        """Hold part of the balance for a purchase on the site."""
        body = {"purpose": "Redemption", "amount": amount, "currency": self._currency, "cvc": cvc}
        return await self.connection.post(f"/certificates/{code}/authorize", body, Authorization)

    async def capture(self, code: str, authorization_id: str) -> Answer[Operation]:
        """Draw all that is held, once the purchase is confirmed."""
        body = {"authorizationId": authorization_id}
        return await self.connection.post(f"/certificates/{code}/capture", body, Operation)


def ask_at_the_terminal(recipient: Recipient) -> int:
    """Ask the person at the keyboard, until the answer is an amount."""
    while True:
        text = input(f"How much shall the certificate for {recipient.name} ({recipient.phone}) be worth? ")
        if text.isdecimal() and int(text) > 0:
            return int(text) * 100
        print("Please give a whole amount, for example 1500.")


async def _run(given: argparse.Namespace) -> int:
    endpoints, keys = Endpoints.read(given.data_dir), read_keys(given.data_dir)
    async with (
        Connection(endpoints.http, keys["storefront"], verify=endpoints.verify) as connection,
        Orders(endpoints.kafka) as orders,
    ):
        store = OnlineStore(connection, orders)
        if given.action == "redeem":
            hold = await store.authorize(given.code, given.amount, given.cvc)
            paid = await store.capture(given.code, hold.body.authorization_id)
            print(f"{paid.body.operation_id}: paid {paid.body.amount}, {paid.body.balance} left")
            return 0
        recipients = [Recipient(name=f"Recipient {number}", phone=phone) for number, phone in enumerate(given.phone, 1)]
        order = store.draft(f"SO-{secrets.token_hex(4)}", recipients, ask_at_the_terminal)
        await store.place(order)
        for line in order.certificate_lines:
            sold = await store.sell(fresh_code(), order.order_id, line.order_line_id)
            print(f"{order.order_id} line {line.order_line_id}: {sold.body.certificate_code} is {sold.body.status}")
        lines = " ".join(f"--line {line.order_line_id}={line.planned_denomination}" for line in order.certificate_lines)
        print("To pay for it all:")
        print(f"python -m examples.payments publish {order.order_id} --version 1 --outstanding 0 {lines}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Sell certificates to the person at the keyboard, or take one as payment."""
    parser = arguments("online_store", "OnlineStore: sells certificates and takes them as payment.")
    actions = parser.add_subparsers(dest="action", required=True)
    sell = actions.add_parser("sell", help="ask for the amounts, place an order, reserve a code for each line")
    sell.add_argument("phone", nargs="+", help="the phone of each recipient")
    redeem = actions.add_parser("redeem", help="pay with a certificate")
    redeem.add_argument("code", help="the certificate")
    redeem.add_argument("amount", type=int, help="minor units")
    redeem.add_argument("--cvc", required=True, help="the four digits that came by SMS")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
