"""Orders: keeps the orders, publishes them on `All_SalesOrder`, and follows what becomes of their certificates."""

import argparse
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from examples.endpoints import Endpoints, arguments
from examples.messages import CertificateLine, Recipient, SalesOrder
from examples.synchronisation import Synchronisation
from examples.terminal import finish
from examples.topics import SALES_ORDERS, Publisher


class Orders:
    """The order system.

    Args:
        bootstrap: The broker, `host:port`.
    """

    def __init__(self, bootstrap: str) -> None:
        self.certificates = Synchronisation(bootstrap)
        self._publisher = Publisher(bootstrap, source="orders")
        self._orders: dict[str, SalesOrder] = {}

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        await self.certificates.feed.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.certificates.feed.__aexit__(kind, error, trace)
        await self._publisher.__aexit__(kind, error, trace)

    async def place(self, order: SalesOrder) -> None:
        """Take an order from a shop and publish it."""
        self._orders[order.order_id] = order
        await self._publish(order)

    async def cancel(self, order_id: str) -> SalesOrder:
        """Cancel an order: a new version of it, with the status Cancelled.

        Raises:
            KeyError: There is no such order.
        """
        order = self._orders[order_id]
        cancelled = msgspec.structs.replace(order, order_version=order.order_version + 1, status="Cancelled")
        self._orders[order_id] = cancelled
        await self._publish(cancelled)
        return cancelled

    def lines(self, order_id: str) -> dict[str, str]:
        """What became of the lines of an order, as far as the events read so far tell: `orderLineId` → status."""
        return self.certificates.lines(order_id)

    async def send_raw(self, key: str, value: bytes) -> None:
        """Publish bytes as they are, as a faulty release of Orders might."""
        await self._publisher.publish(SALES_ORDERS, key, value)

    async def _publish(self, order: SalesOrder) -> None:
        event_id = f"order-{order.order_id}-{order.order_version}"
        await self._publisher.publish(SALES_ORDERS, order.order_id, msgspec.json.encode(order), event_id=event_id)


def line(text: str) -> CertificateLine:
    """Read a line as it is written on the command line: `1=150000:+79990000001:Anna`."""
    try:
        order_line_id, rest = text.split("=", 1)
        denomination, phone, name = rest.split(":", 2)
        return CertificateLine(
            order_line_id=order_line_id,
            planned_denomination=int(denomination),
            intended_recipient=Recipient(name=name, phone=phone),
        )
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"write {text!r} as LINE=AMOUNT:PHONE:NAME, e.g. 1=150000:+79990000001:Anna"
        ) from None


async def _run(given: argparse.Namespace) -> int:
    async with Orders(Endpoints.read(given.data_dir).kafka) as orders:
        if given.action == "watch":
            await orders.certificates.feed.read(lambda: False, within_seconds=given.seconds)
            for state in orders.certificates.states.values():
                print(f"{state.order_id} line {state.order_line_id}: {state.code} is {state.status}")
            return 0
        order = SalesOrder(
            order_id=given.order,
            order_version=given.version,
            status="Cancelled" if given.action == "cancel" else "Placed",
            currency=given.currency,
            certificate_lines=tuple(given.line),
        )
        await orders.place(order)
        print(f"Published version {order.order_version} of {order.order_id}: {order.status}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Place or cancel an order, or watch what becomes of the orders' certificates."""
    parser = arguments("orders", "Orders: publishes All_SalesOrder and follows the certificates.")
    actions = parser.add_subparsers(dest="action", required=True)
    for action in ("place", "cancel"):
        command = actions.add_parser(action, help=f"{action} an order")
        command.add_argument("order", help="the orderId")
        command.add_argument("--line", type=line, action="append", required=True, help="LINE=AMOUNT:PHONE:NAME")
        command.add_argument("--currency", default="RUB")
        version = 2 if action == "cancel" else 1
        command.add_argument("--version", type=int, default=version, help="the orderVersion (default: %(default)s)")
    watch = actions.add_parser("watch", help="read the events and say what became of each line")
    watch.add_argument("--seconds", type=float, default=5.0, help="how long to read (default: %(default)s)")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
