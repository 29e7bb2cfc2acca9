"""Payments: collects money, tells everyone on `All_Payments`, and captures and voids what certificates paid for."""

import argparse
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from examples.connection import Answer, Connection
from examples.endpoints import Endpoints, arguments, read_keys
from examples.messages import Collected, Operation, Payment, SalesOrder
from examples.synchronisation import Synchronisation
from examples.terminal import finish
from examples.topics import PAYMENTS, Publisher


class Payments:
    """The payment system.

    Args:
        connection: To the service, with a key of the role `payments`.
        bootstrap: The broker, `host:port`.
    """

    def __init__(self, connection: Connection, bootstrap: str) -> None:
        self.connection = connection
        self.certificates = Synchronisation(bootstrap)
        self._publisher = Publisher(bootstrap, source="payments")
        self._accounts: dict[str, Payment] = {}

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        await self.certificates.feed.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.certificates.feed.__aexit__(kind, error, trace)
        await self._publisher.__aexit__(kind, error, trace)

    def open(self, order: SalesOrder) -> None:
        """Begin to collect for an order."""
        self._accounts[order.order_id] = Payment(
            order_id=order.order_id,
            payment_version=0,
            currency=order.currency,
            captured_amount=0,
            outstanding_amount=order.total,
            is_order_settled=False,
            certificate_allocations=tuple(
                Collected(order_line_id=line.order_line_id, collected_amount=0) for line in order.certificate_lines
            ),
        )

    def collect(self, order_id: str, amounts: Mapping[str, int]) -> Payment:
        """Take a partial payment in, and write down the next version of the order's payment.

        Args:
            order_id: An order that was opened.
            amounts: What is paid now for each line, in minor units.

        Returns:
            The version to publish: all that was collected so far.

        Raises:
            KeyError: The order was not opened.
        """
        account = self._accounts[order_id]
        paid = sum(amounts.values())
        outstanding = account.outstanding_amount - paid
        account = msgspec.structs.replace(
            account,
            payment_version=account.payment_version + 1,
            captured_amount=account.captured_amount + paid,
            outstanding_amount=outstanding,
            is_order_settled=outstanding == 0,
            certificate_allocations=tuple(
                msgspec.structs.replace(one, collected_amount=one.collected_amount + amounts.get(one.order_line_id, 0))
                for one in account.certificate_allocations
            ),
        )
        self._accounts[order_id] = account
        return account

    async def publish(self, payment: Payment) -> None:
        """Publish a version; doing so again, or later than a higher one, is harmless."""
        event_id = f"payment-{payment.order_id}-{payment.payment_version}"
        await self._publisher.publish(PAYMENTS, payment.order_id, msgspec.json.encode(payment), event_id=event_id)

    async def send_raw(self, key: str, value: bytes) -> None:
        """Publish bytes as they are, as a faulty release of Payments might."""
        await self._publisher.publish(PAYMENTS, key, value)

    async def capture(
        self, code: str, authorization_id: str, *, amount: int | None = None, final: bool | None = None
    ) -> Answer[Operation]:
        """Draw on a hold once the payment is confirmed; without an amount, all that is left of it."""
        body = {"authorizationId": authorization_id, "amount": amount, "final": final}
        return await self.connection.post(f"/certificates/{code}/capture", body, Operation)

    async def void(
        self, code: str, operation_id: str, *, amount: int | None = None, reason: str | None = None
    ) -> Answer[Operation]:
        """Put back what an operation took; without an amount, all that is left of it."""
        body = {"operationId": operation_id, "amount": amount, "reason": reason}
        return await self.connection.post(f"/certificates/{code}/void", body, Operation)


def collected(text: str) -> Collected:
    """Read what was collected as it is written on the command line: `1=150000`."""
    try:
        order_line_id, amount = text.split("=", 1)
        return Collected(order_line_id=order_line_id, collected_amount=int(amount))
    except ValueError:
        raise argparse.ArgumentTypeError(f"write {text!r} as LINE=AMOUNT, e.g. 1=150000") from None


async def _run(given: argparse.Namespace) -> int:
    endpoints, keys = Endpoints.read(given.data_dir), read_keys(given.data_dir)
    async with (
        Connection(endpoints.http, keys["payments"], verify=endpoints.verify) as connection,
        Payments(connection, endpoints.kafka) as payments,
    ):
        if given.action == "publish":
            payment = Payment(
                order_id=given.order,
                payment_version=given.version,
                currency=given.currency,
                captured_amount=sum(one.collected_amount for one in given.line),
                outstanding_amount=given.outstanding,
                is_order_settled=given.outstanding == 0,
                certificate_allocations=tuple(given.line),
            )
            await payments.publish(payment)
            print(f"Published version {payment.payment_version} for {payment.order_id}")
            return 0
        if given.action == "capture":
            answer = await payments.capture(given.code, given.operation, amount=given.amount)
        else:
            answer = await payments.void(given.code, given.operation, amount=given.amount)
        print(f"{answer.body.type} {answer.body.operation_id}: {answer.body.amount}, balance {answer.body.balance}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Publish a version of an order's payment, capture an authorization or void an operation."""
    parser = arguments("payments", "Payments: publishes All_Payments, captures and voids.")
    actions = parser.add_subparsers(dest="action", required=True)
    publish = actions.add_parser("publish", help="publish a version of an order's payment")
    publish.add_argument("order", help="the orderId")
    publish.add_argument("--version", type=int, required=True, help="the paymentVersion")
    publish.add_argument("--line", type=collected, action="append", required=True, help="LINE=AMOUNT, cumulative")
    publish.add_argument("--outstanding", type=int, required=True, help="what is still owed; 0 settles the order")
    publish.add_argument("--currency", default="RUB")
    for action, operation in (("capture", "the authorizationId"), ("void", "the operationId")):
        command = actions.add_parser(action, help=f"{action} an operation")
        command.add_argument("code", help="the certificate")
        command.add_argument("operation", help=operation)
        command.add_argument("--amount", type=int, help="minor units (default: all that is left)")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
