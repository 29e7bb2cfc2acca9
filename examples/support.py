"""Support: looks into a certificate for a customer, and puts right what went wrong."""

import argparse
from collections.abc import Sequence

from examples.connection import Answer, Connection
from examples.endpoints import Endpoints, arguments, read_keys
from examples.messages import CertificateView, HistoryEntry, HistoryPage, Operation, OrderView
from examples.terminal import finish

HISTORY_ENTRIES_MAX = 10_000


class Support:
    """The support desk.

    Args:
        connection: To the service, with a key of the role `support`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def look_up(self, code: str, *, as_of: str | None = None) -> CertificateView:
        """The certificate as it is now, or as it was at a time (RFC 3339)."""
        params = None if as_of is None else {"asOf": as_of}
        return (await self.connection.get(f"/certificates/{code}", CertificateView, params=params)).body

    async def order(self, order_id: str) -> OrderView:
        """The order's plan, and how far it is covered."""
        return (await self.connection.get(f"/orders/{order_id}", OrderView)).body

    async def history(self, code: str, *, page_size: int = 50) -> list[HistoryEntry]:
        """All that ever happened to a certificate, oldest first."""
        entries: list[HistoryEntry] = []
        after: str | int | None = None
        while len(entries) < HISTORY_ENTRIES_MAX:
            params: dict[str, str | int] = {"limit": page_size}
            if after is not None:
                params["after"] = after
            page = (await self.connection.get(f"/certificates/{code}/operations", HistoryPage, params=params)).body
            entries.extend(page.operations)
            after = page.next
            if after is None:
                break
        return entries

    async def void(
        self, code: str, operation_id: str, *, amount: int | None = None, reason: str | None = None
    ) -> Answer[Operation]:
        """Put back what an operation took; without an amount, all that is left of it."""
        body = {"operationId": operation_id, "amount": amount, "reason": reason}
        return await self.connection.post(f"/certificates/{code}/void", body, Operation)

    async def block(self, code: str, reason: str) -> None:
        """Let nobody draw on a certificate."""
        await self._post(code, "block", {"reason": reason})

    async def unblock(self, code: str, reason: str) -> None:
        """Let the certificate be used again."""
        await self._post(code, "unblock", {"reason": reason})

    async def resend_cvc(self, code: str) -> None:
        """Have a new CVC sent to the recipient; the old one is void."""
        await self._post(code, "cvc", {})

    async def _post(self, code: str, action: str, body: dict[str, str]) -> None:
        await self.connection.post(f"/certificates/{code}/{action}", body, dict[str, object])


async def _run(given: argparse.Namespace) -> int:
    endpoints, keys = Endpoints.read(given.data_dir), read_keys(given.data_dir)
    async with Connection(endpoints.http, keys["support"], verify=endpoints.verify) as connection:
        support = Support(connection)
        match given.action:
            case "show":
                seen = await support.look_up(given.code, as_of=given.as_of)
                print(f"{given.code} is {seen.status}: {seen.balance}, {seen.available} available")
            case "history":
                for entry in await support.history(given.code):
                    amount = "" if entry.amount is None else entry.amount
                    print(f"{entry.occurred_at}  {entry.type:<12} {amount:>12}  {entry.operation_id}")
            case "void":
                void = (await support.void(given.code, given.operation, amount=given.amount, reason=given.reason)).body
                print(f"{void.operation_id}: put back {void.amount}, balance {void.balance}")
            case "block":
                await support.block(given.code, given.reason)
                print(f"{given.code} is blocked")
            case "unblock":
                await support.unblock(given.code, given.reason)
                print(f"{given.code} can be used again")
            case _:
                await support.resend_cvc(given.code)
                print(f"A new CVC for {given.code} is on its way")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Look into a certificate, or put something right."""
    parser = arguments("support", "Support: looks into certificates and puts things right.")
    actions = parser.add_subparsers(dest="action", required=True)
    commands = {
        "show": "the certificate as it is now",
        "history": "all that ever happened to it",
        "void": "put back what an operation took",
        "block": "let nobody draw on it",
        "unblock": "let it be used again",
        "cvc": "have a new CVC sent to the recipient",
    }
    for action, explanation in commands.items():
        command = actions.add_parser(action, help=explanation)
        command.add_argument("code", help="the certificate")
        if action == "show":
            command.add_argument("--as-of", help="a time, e.g. 2026-11-23T07:00:00Z (default: now)")
        if action == "void":
            command.add_argument("operation", help="the operationId")
            command.add_argument("--amount", type=int, help="minor units (default: all that is left)")
        if action in {"void", "block", "unblock"}:
            command.add_argument("--reason", default="asked for by the customer")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
