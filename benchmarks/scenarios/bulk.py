"""Many authorizations in one request."""

from typing import Final

from msgspec import Struct

from benchmarks.rounds import figure, middle, spread
from benchmarks.section import PER_SECOND, Section, Table, Target, skipped
from benchmarks.stage import Stage
from benchmarks.wrk import LoadError
from gift_ledger.bench.generator import Generator
from gift_ledger.bench.requests import AMOUNT, HOLD_SECONDS, Address, Answer, Codes
from gift_ledger.bench.schedule import AsSoonAsPossible

TITLE: Final = "Bulk authorizations"
PATH: Final = "/authorizations"
ITEMS: Final = 1_000
CONNECTIONS: Final = 4
RATE: Final = 60_000
_WARM_UP: Final = 8
_PREPARED: Final = 150
_ABSENT: Final = ("404", "405")
_AUTHORIZED: Final = b'"authorizationId"'


class BulkPlan:
    """Requests of many items, each with a code and a key of its own; counts the items that were authorized.

    The first ``prepared`` requests are written beforehand: that is time of the load generator's, on the cores where
    the product works.
    """

    def __init__(self, address: Address, codes: Codes, run: str, items: int = ITEMS, prepared: int = 0) -> None:
        self._address = address
        self._codes = codes
        self._run = run
        self._items = items
        self._prepared = [self._request(number) for number in range(prepared)]
        self.authorized = 0

    def first(self, number: int) -> bytes:
        """A request."""
        return self._prepared[number] if number < len(self._prepared) else self._request(number)

    def _request(self, number: int) -> bytes:
        codes, start = self._codes, number * self._items
        items = ",".join(
            f'{{"certificateCode":"{codes(one)}","amount":{AMOUNT},"currency":"RUB","ttlSeconds":{HOLD_SECONDS},'
            f'"idempotencyKey":"{self._run}-{one}"}}'
            for one in range(start, start + self._items)
        )
        return self._address.post(PATH, f'{{"items":[{items}]}}'.encode())

    def then(self, _number: int, answer: Answer) -> None:
        """Count."""
        self.authorized += answer.body.count(_AUTHORIZED)


def bulk(stage: Stage) -> Section:
    """Measure, if the product has such a call."""
    options = stage.options
    refusals = _round(stage, _WARM_UP).refusals
    if refusals and refusals[0].startswith(_ABSENT):
        return skipped(TITLE, f"this version answers `POST {PATH}` with {refusals[0][:3]}.")
    if refusals:
        raise LoadError(f"POST {PATH}: {refusals[0]}")
    rates = [count / seconds for count, seconds in (bulk_round(stage) for _ in range(options.rounds))]
    stage.say(f"bulk: {figure(middle(rates))} authorizations/s")
    return Section(
        title=TITLE,
        how=(
            f"`POST {PATH}` with {ITEMS} items, over {CONNECTIONS} connections without a pause; codes drawn at random, "
            f"each item with an idempotency key of its own. {options.rounds} rounds of {options.seconds:g} s."
        ),
        tables=[Table(headings=("", "authorizations/s"), rows=[("gift-ledger", spread(rates))])],
        targets=[Target(what="authorizations in bulk", measured=middle(rates), bound=RATE, unit=PER_SECOND)],
    )


def bulk_round(stage: Stage) -> tuple[float, float]:
    """Ask for some seconds; gives how many were authorized, and how long it took.

    Raises:
        LoadError: a request or an item was refused.
    """
    found = _round(stage)
    if found.refusals:
        raise LoadError(f"POST {PATH}: {found.refusals[0]}")
    return found.authorized, found.seconds


class _Round(Struct, frozen=True, kw_only=True):
    """``refusals`` are those of whole requests."""

    authorized: int
    seconds: float
    refusals: list[str]


def _round(stage: Stage, requests: int | None = None) -> _Round:
    prepared = _PREPARED if requests is None else requests
    plan = BulkPlan(stage.product.address, stage.random_codes(), stage.run_name(), prepared=prepared)
    schedule = AsSoonAsPossible(stage.options.seconds, requests)
    found = Generator(stage.product.address, plan, schedule, connections=CONNECTIONS).run()
    if not found.refused and plan.authorized != len(found.latencies) * ITEMS:
        raise LoadError(f"of {len(found.latencies) * ITEMS} items only {plan.authorized} were authorized")
    return _Round(authorized=plan.authorized, seconds=found.seconds, refusals=found.refusals)
