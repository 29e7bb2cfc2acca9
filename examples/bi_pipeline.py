"""The BI pipeline: counts what the events say, and checks that the sums come out as the balances."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from examples.endpoints import Endpoints, arguments
from examples.messages import TransactionEvent
from examples.synchronisation import Synchronisation
from examples.terminal import finish

SIGNS = {"Activate": 1, "Void": 1, "Capture": -1, "Expire": -1}
"""Which way each type of transaction moves a balance; the void of an activation is the exception."""


@dataclass(slots=True, kw_only=True)
class Totals:
    """The movements in one currency, in minor units."""

    issued: int = 0
    redeemed: int = 0
    refunded: int = 0
    expired: int = 0
    undone: int = 0
    """Activations that were voided."""

    @property
    def liability(self) -> int:
        """What customers can still spend, by these movements."""
        return self.issued - self.redeemed + self.refunded - self.expired - self.undone


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A certificate whose events do not add up."""

    code: str
    what: str
    expected: int
    got: int


class BiPipeline:
    """The data warehouse's view of the gift certificates.

    Args:
        bootstrap: The broker, `host:port`.
    """

    def __init__(self, bootstrap: str) -> None:
        self.certificates = Synchronisation(bootstrap)

    async def __aenter__(self) -> Self:
        await self.certificates.feed.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.certificates.feed.__aexit__(kind, error, trace)

    def totals(self, codes: Iterable[str] | None = None) -> dict[str, Totals]:
        """The movements per currency, of all certificates or of some."""
        wanted = None if codes is None else set(codes)
        totals: dict[str, Totals] = {}
        for code, transactions in self.certificates.transactions.items():
            if wanted is not None and code not in wanted:
                continue
            for transaction in transactions:
                _add(totals.setdefault(transaction.currency, Totals()), transaction)
        return totals

    def balance(self, code: str) -> int:
        """What the transactions of a certificate add up to, in minor units; 0 if there are none."""
        transactions = self._in_order(code)
        if not transactions:
            return 0
        # Of an old certificate the first events may be gone from the topic; the first that is left says where it began.
        return transactions[0].balance_before + sum(_movement(one) for one in transactions)

    def reconcile(self, codes: Iterable[str] | None = None) -> list[Discrepancy]:
        """Check every certificate, or some: the chain of balances has no gap, and its end is the balance of the state.

        Returns:
            What does not add up; while events are still on their way, that may be temporary.
        """
        found: list[Discrepancy] = []
        for code in self.certificates.states if codes is None else codes:
            transactions = self._in_order(code)
            for before, after in pairwise(transactions):
                if before.balance_after != after.balance_before:
                    found.append(
                        Discrepancy(
                            code=code,
                            what=f"gap before version {after.version}",
                            expected=before.balance_after,
                            got=after.balance_before,
                        )
                    )
            state = self.certificates.states.get(code)
            balance = 0 if state is None else state.balance
            if balance != self.balance(code):
                found.append(Discrepancy(code=code, what="balance", expected=self.balance(code), got=balance))
        return found

    def _in_order(self, code: str) -> list[TransactionEvent]:
        return sorted(self.certificates.transactions.get(code, []), key=lambda one: one.version)


def _movement(transaction: TransactionEvent) -> int:
    undoes_activation = transaction.type == "Void" and transaction.balance_after < transaction.balance_before
    return -transaction.amount if undoes_activation else SIGNS[transaction.type] * transaction.amount


def _add(totals: Totals, transaction: TransactionEvent) -> None:
    match transaction.type:
        case "Activate":
            totals.issued += transaction.amount
        case "Capture":
            totals.redeemed += transaction.amount
        case "Expire":
            totals.expired += transaction.amount
        case "Void" if _movement(transaction) < 0:
            totals.undone += transaction.amount
        case "Void":
            totals.refunded += transaction.amount


async def _run(given: argparse.Namespace) -> int:
    async with BiPipeline(Endpoints.read(given.data_dir).kafka) as bi:
        await bi.certificates.feed.read(lambda: False, within_seconds=given.seconds)
        for currency, totals in bi.totals().items():
            print(
                f"{currency}: issued {totals.issued}, redeemed {totals.redeemed}, refunded {totals.refunded}, "
                f"expired {totals.expired}, undone {totals.undone}, liability {totals.liability}"
            )
        discrepancies = bi.reconcile()
        for one in discrepancies:
            print(f"{one.code}: {one.what} should be {one.expected}, is {one.got}")
        print(f"{len(bi.certificates.states)} certificates, {len(discrepancies)} discrepancies")
    return 1 if discrepancies else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Read the events for a while, then report; the exit code is 1 if something does not add up."""
    parser = arguments("bi_pipeline", "The BI pipeline: totals, and a check that they add up.")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to read (default: %(default)s)")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
