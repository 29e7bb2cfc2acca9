"""What scenarios make of what was measured."""

import threading

import msgspec
import pytest

from benchmarks.cpu import GATEWAY, PARTS, SHARD, VALKEY, Spent
from benchmarks.lag import LagWatch, growth
from benchmarks.scenarios import authorize, profile
from benchmarks.scenarios.bulk import BulkPlan
from benchmarks.scenarios.kafka_in import order, payment
from benchmarks.scenarios.pairs import held_rate
from benchmarks.scenarios.profile import Profile
from benchmarks.seed import code
from benchmarks.wrk import Closed, counted
from gift_ledger.bench.generator import Load
from gift_ledger.bench.latencies import Latencies
from gift_ledger.bench.requests import Address, Answer

WAIT_SECONDS = 60.0
ADDRESS = Address("127.0.0.1", 8080, "key")
WRK = """Running 1s test @ http://127.0.0.1:8080
  1 threads and 4 connections

{"requests": 300, "seconds": 1.500000, "refused": 1, "lost": 2, "captures": 7, "p50Ms": 1.5, "p99Ms": 3, "p999Ms": 4}
"""


def closed(rate: float) -> Closed:
    return Closed(requests=round(rate), seconds=1.0, refused=0, lost=0, captures=0, p50_ms=1.0, p99_ms=5.0, p999_ms=9.0)


def test_what_wrk_counted_is_read_from_its_last_line() -> None:
    found = counted(WRK)

    assert (found.rate, found.failed, found.captures) == (200.0, 3, 7)


def test_ratios_are_those_of_the_medians_and_only_where_there_are_many_connections() -> None:
    measured = {
        connections: {
            "gift-ledger": [closed(9_000), closed(12_000), closed(99_000)],
            "redis-lua": [closed(1_000), closed(4_000), closed(4_000)],
        }
        for connections in (16, 64)
    }

    section = authorize.section(measured, certificates=100, rounds=3, seconds=4.0)

    assert [(one.what, one.measured, one.met) for one in section.targets] == [
        ("authorizations at 16 connections", 12_000, True),
        ("authorizations at 64 connections", 12_000, False),
        ("as fast as redis-lua at 64 connections", 3.0, True),
    ]
    assert [(one.system, one.points) for one in section.series] == [
        ("gift-ledger", [(16, 12_000), (64, 12_000)]),
        ("redis-lua", [(16, 4_000), (64, 4_000)]),
    ]
    assert section.tables[0].rows[0] == ("gift-ledger", "16", "12 000 (9 000 to 99 000)", "1.00", "5.00")


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([], 0.0),
        ([(1, 50)], 0.0),
        ([(1, 50), (1, 70)], 0.0),
        ([(1, 50), (2, 50), (3, 50)], 0.0),
        ([(1, 10), (2, 20), (3, 30)], 10.0),
        ([(1, 30), (2, 10), (3, 20)], -5.0),
    ],
)
def test_growth_is_the_slope_of_the_line_that_fits_best(samples: list[tuple[float, float]], found: float) -> None:
    assert growth(samples) == pytest.approx(found)


def test_the_lag_is_looked_at_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.lag.LOOK_SECONDS", 0.001)
    enough = threading.Event()

    def look() -> float:
        if len(lag.samples) == 3:
            enough.set()
        return float(len(lag.samples))

    lag = LagWatch(look)  # before its thread starts, which looks at once
    with lag:
        assert enough.wait(WAIT_SECONDS)

    assert [value for _, value in lag.samples[:3]] == [0, 1, 2]
    assert not lag._thread.is_alive()


@pytest.mark.parametrize("prepared", [0, 2])
def test_a_bulk_request_has_items_with_codes_and_keys_of_their_own(prepared: int) -> None:
    plan = BulkPlan(ADDRESS, code, "run", items=2, prepared=prepared)

    request = plan.first(1)

    body = msgspec.json.decode(request.partition(b"\r\n\r\n")[2])
    assert request.startswith(b"POST /authorizations HTTP/1.1\r\n")
    assert [(item["certificateCode"], item["idempotencyKey"]) for item in body["items"]] == [
        ("GC-BENCH-0000002", "run-2"),
        ("GC-BENCH-0000003", "run-3"),
    ]


def test_of_a_bulk_answer_the_items_count_that_were_authorized() -> None:
    plan = BulkPlan(ADDRESS, code, "run", items=3)

    outcomes = b'[{"authorizationId":"a"},{"code":"InsufficientFunds"},{"authorizationId":"b"}]'
    plan.then(0, Answer(200, b'{"outcomes":%b}' % outcomes))

    assert plan.authorized == 2


def test_orders_and_payments_are_such_as_the_service_takes() -> None:
    placed, paid = msgspec.json.decode(order("SO-1")), msgspec.json.decode(payment("SO-1"))

    assert placed["certificateLines"][0]["plannedDenomination"] == 100_000
    assert (paid["orderId"], paid["capturedAmount"] + paid["outstandingAmount"]) == ("SO-1", 100_000)
    assert not paid["isOrderSettled"]


@pytest.mark.parametrize(("seconds", "rate"), [(10.0, 2.0), (10.4, 2.0), (12.5, 1.6)])
def test_a_rate_is_held_if_the_last_answers_come_soon_after_the_last_request(seconds: float, rate: float) -> None:
    load = Load(latencies=Latencies(range(20)), seconds=seconds)

    assert held_rate(load, 10.0) == rate


def test_a_profile_tells_what_one_authorization_costs_each_part() -> None:
    spent = Spent(dict.fromkeys(PARTS, 0.0) | {GATEWAY: 0.4, SHARD: 0.6}, idle=1.0, machine=4.0)
    rounds = [Profile(10_000, 2.0, spent), Profile(20_000, 2.0, spent), Profile(5_000, 2.0, spent)]

    rows = {row[0]: row[1] for row in profile.section({"64 connections": rounds}, 2.0).tables[0].rows}

    assert (rows[GATEWAY], rows[SHARD], rows[VALKEY], rows["all"]) == ("40.0", "60.0", "0.00", "100")
    assert (rows["idle"], rows["authorizations/s"]) == ("25%", "5 000")
    assert rows["authorizations/s at this price, never idle"] == "20 000"
