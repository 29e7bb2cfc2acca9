"""Every movement of money, as two sides of a book."""

import pytest

from ledger import records as r
from ledger.commands import SYSTEM
from ledger.order import Order, advance
from ledger.postings import Account, Posting, balance, held, postings
from tests.unit.ledger.stage import CODE, START


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        (r.Activated("SO-1", "1", 100, "RUB", START, b""), {"payments": -100, "liability:available": 100}),
        (r.ActivationVoided(2, 100), {"liability:available": -100, "payments": 100}),
        (r.Held(40, START), {"liability:available": -40, "liability:held": 40}),
        (r.HoldLapsed(3, 40), {"liability:held": -40, "liability:available": 40}),
        (r.HoldVoided(3, 40), {"liability:held": -40, "liability:available": 40}),
        (r.Captured(3, 30, final=False), {"liability:held": -30, "redemption": 30}),
        (
            r.Captured(3, 30, final=True, released=10),
            {"liability:held": -40, "redemption": 30, "liability:available": 10},
        ),
        (r.CaptureVoided(4, 20), {"redemption": -20, "liability:available": 20}),
        (r.Expired(60), {"liability:available": -60, "breakage": 60}),
        (r.Blocked("stolen"), {}),
        (r.LineAllocated("1", CODE), {}),
    ],
)
def test_what_is_moved_from_where_to_where(body: r.AnyBody, moved: dict[str, int]) -> None:
    record = r.Record(r.RECORD_SCHEMA, 1, START, "till", None, b"", b"", r.Status.UNKNOWN, 0, 0, body)

    entries = postings(record)

    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.account.value] = sums.get(entry.account.value, 0) + entry.amount
    assert sums == moved
    assert sum(sums.values()) == 0


def test_the_balance_is_what_is_owed_and_part_of_it_is_held() -> None:
    entries = [Posting(Account.PAYMENTS, -100), Posting(Account.AVAILABLE, 60), Posting(Account.HELD, 40)]

    assert (balance(entries), held(entries)) == (100, 40)


def test_an_orders_records_move_no_money() -> None:
    (record,), _ = advance(Order(order_id="SO-1"), START, SYSTEM, r.LineAllocated("1", CODE))

    assert postings(record) == ()
