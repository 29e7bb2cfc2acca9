import msgspec
import pytest

from examples.bi_pipeline import BiPipeline, Discrepancy, Totals
from examples.messages import TransactionType
from examples.synchronisation import Synchronisation
from examples.topics import STATES, TRANSACTIONS, Feed, Publisher, Record

CODE = "GC-TEST-0001"


def record(topic: str, value: bytes | None) -> Record:
    return Record(topic=topic, partition=0, offset=0, key=CODE.encode(), value=value, headers={})


def state(version: int, balance: int = 0, status: str = "Active") -> Record:
    value = {
        "eventId": f"s{version}", "code": CODE, "status": status, "currency": "RUB", "denomination": 100,
        "balance": balance, "version": version, "orderId": "SO-1", "orderLineId": "1",
    }  # fmt: skip
    return record(STATES, msgspec.json.encode(value))


def transaction(version: int, kind: TransactionType, amount: int, before: int, after: int) -> Record:
    value = {
        "eventId": f"t{version}", "transactionId": f"op{version}", "type": kind, "code": CODE, "amount": amount,
        "currency": "RUB", "balanceBefore": before, "balanceAfter": after, "version": version,
    }  # fmt: skip
    return record(TRANSACTIONS, msgspec.json.encode(value))


def test_the_highest_version_is_the_state_whatever_comes_later_or_twice() -> None:
    copy = Synchronisation("nowhere:1")

    for one in (state(1, 10), state(3, 30), state(2, 20), state(3, 30)):
        copy.take(one)

    assert copy.states[CODE].version == 3
    assert copy.heard[CODE] == [1, 3, 2]
    assert copy.repeated == 1
    assert copy.lines("SO-1") == {"1": "Active"}


def test_a_tombstone_takes_the_code_away_until_it_is_reserved_anew() -> None:
    copy = Synchronisation("nowhere:1")
    copy.take(state(1, status="Reserved"))

    copy.take(record(STATES, None))
    assert CODE not in copy.states
    assert copy.released == {CODE}

    copy.take(state(1, status="Reserved"))  # the old one, once more
    assert CODE not in copy.states

    copy.take(state(3, status="Reserved"))
    assert copy.states[CODE].version == 3
    assert copy.released == set()


def test_the_sums_are_counted_once_and_by_kind() -> None:
    bi = BiPipeline("nowhere:1")
    events = [
        transaction(1, "Activate", 100, 0, 100),
        transaction(2, "Capture", 60, 100, 40),
        transaction(3, "Void", 20, 40, 60),
        transaction(4, "Expire", 60, 60, 0),
    ]
    for one in [*events, events[1]]:
        bi.certificates.take(one)

    assert bi.totals() == {"RUB": Totals(issued=100, redeemed=60, refunded=20, expired=60)}
    assert bi.totals()["RUB"].liability == 0
    assert bi.totals(["GC-OTHER"]) == {}
    assert bi.balance(CODE) == 0
    assert bi.certificates.repeated == 1


def test_an_activation_that_was_undone_is_not_a_refund() -> None:
    bi = BiPipeline("nowhere:1")
    bi.certificates.take(transaction(1, "Activate", 100, 0, 100))
    bi.certificates.take(transaction(2, "Void", 100, 100, 0))

    assert bi.totals() == {"RUB": Totals(issued=100, undone=100)}
    assert bi.balance(CODE) == 0


def test_a_gap_and_a_wrong_balance_are_found() -> None:
    bi = BiPipeline("nowhere:1")
    bi.certificates.take(transaction(1, "Activate", 100, 0, 100))
    bi.certificates.take(transaction(3, "Capture", 10, 80, 70))
    bi.certificates.take(state(3, 70))

    assert bi.reconcile() == [
        Discrepancy(code=CODE, what="gap before version 3", expected=100, got=80),
        Discrepancy(code=CODE, what="balance", expected=90, got=70),
    ]


async def test_what_was_not_opened_says_so() -> None:
    with pytest.raises(RuntimeError, match="Open the feed first"):
        await Feed("nowhere:1", (STATES,), lambda _: None).read(lambda: False)
    with pytest.raises(RuntimeError, match="Open the publisher first"):
        await Publisher("nowhere:1", source="orders").publish(STATES, "k", b"{}")


async def test_waiting_for_what_never_comes_has_an_end(kafka: str) -> None:
    copy = Synchronisation(kafka)
    async with copy.feed:
        assert not await copy.wait_for_status("GC-NONE", "Active", within_seconds=0.05)
        with pytest.raises(TimeoutError, match="no transaction of GC-NONE"):
            await copy.first_transaction("GC-NONE", within_seconds=0.05)
