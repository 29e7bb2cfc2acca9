"""A till: looks up what a certificate is worth, takes it as payment in parts, and never charges twice."""

import argparse
from collections.abc import Sequence

from examples.connection import Answer, Connection
from examples.endpoints import Endpoints, arguments, read_keys
from examples.messages import Authorization, Balance, Operation, Reservation
from examples.terminal import finish


class Till:
    """A point of sale.

    The line to the service may drop at any moment. The connection then asks again with the same `Idempotency-Key`, so
    that the customer is charged once, however often it asked.

    Args:
        connection: To the service, with a key of the role `pos`.
        name: Which till, for the reference on each operation.
        currency: What the till takes.
    """

    def __init__(self, connection: Connection, *, name: str = "POS-7", currency: str = "RUB") -> None:
        self.connection = connection
        self._name = name
        self._currency = currency
        self._receipts = 0

    async def sell(self, code: str, order_id: str, order_line_id: str) -> Answer[Reservation]:
        """Have a code reserved for a line of an order."""
        body = {"purpose": "Sale", "orderId": order_id, "orderLineId": order_line_id}
        return await self.connection.post(f"/certificates/{code}/authorize", body, Reservation)

    async def balance(self, code: str, cvc: str | None = None) -> Answer[Balance]:
        """What the certificate is worth; the CVC is checked if the customer gives it."""
        return await self.connection.post(f"/certificates/{code}/balance", {"cvc": cvc}, Balance)

    async def authorize(
        self,
        code: str,
        amount: int,
        *,
        cvc: str | None = None,
        allow_partial: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Answer[Authorization]:
        """Hold part of the balance for a purchase.

        Args:
            code: The certificate.
            amount: Minor units.
            cvc: Checked if given.
            allow_partial: Take what there is, if it is less.
            idempotency_key: Of an attempt to go on with; a new purchase without it.
        """
        self._receipts += 1
        body = {
            "purpose": "Redemption",
            "amount": amount,
            "currency": self._currency,
            "cvc": cvc,
            "allowPartial": allow_partial,
            # A repeated request must be the same to the last field, so its receipt has the key's name.
            "reference": f"{self._name}/{idempotency_key or self._receipts}",
        }
        path = f"/certificates/{code}/authorize"
        return await self.connection.post(path, body, Authorization, idempotency_key=idempotency_key)

    async def capture(
        self, code: str, authorization_id: str, *, amount: int | None = None, final: bool | None = None
    ) -> Answer[Operation]:
        """Draw on a hold; without an amount, all that is left of it. Not final: the rest stays held."""
        body = {"authorizationId": authorization_id, "amount": amount, "final": final}
        return await self.connection.post(f"/certificates/{code}/capture", body, Operation)

    async def release(self, code: str, authorization_id: str) -> Answer[Operation]:
        """Give back what is left of a hold: the customer changed his mind."""
        body = {"operationId": authorization_id, "reason": "the customer changed his mind"}
        return await self.connection.post(f"/certificates/{code}/void", body, Operation)

    async def void(self, code: str, operation_id: str) -> Answer[Operation]:
        """Undo a capture of this till's own."""
        body = {"operationId": operation_id, "reason": "wrong receipt"}
        return await self.connection.post(f"/certificates/{code}/void", body, Operation)


async def _run(given: argparse.Namespace) -> int:
    endpoints, keys = Endpoints.read(given.data_dir), read_keys(given.data_dir)
    async with Connection(endpoints.http, keys["pos"], verify=endpoints.verify) as connection:
        till = Till(connection)
        if given.action == "balance":
            balance = (await till.balance(given.code, given.cvc)).body
            print(f"{balance.certificate_code} is {balance.status}: {balance.balance}, {balance.available} available")
            return 0
        hold = (await till.authorize(given.code, given.amount, cvc=given.cvc, allow_partial=given.allow_partial)).body
        paid = (await till.capture(given.code, hold.authorization_id)).body
        print(f"{paid.operation_id}: paid {paid.amount} of {given.amount}, {paid.balance} left on the certificate")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Ask for a balance, or take a certificate as payment."""
    parser = arguments("till", "A till: asks for balances and takes certificates as payment.")
    actions = parser.add_subparsers(dest="action", required=True)
    balance = actions.add_parser("balance", help="what a certificate is worth")
    pay = actions.add_parser("pay", help="pay with a certificate")
    for command in (balance, pay):
        command.add_argument("code", help="the certificate")
        command.add_argument("--cvc", help="the four digits that came by SMS")
    pay.add_argument("amount", type=int, help="minor units")
    pay.add_argument("--allow-partial", action="store_true", help="take what there is, if it is less")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
