"""The hot calls, which the connection begins on itself when they come in one piece."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import OverloadedError
from gateway.front import Front
from tests.integration.http_client import PATIENCE_SECONDS, Served, hold_up, post, request, served
from tests.unit.gateway.house import CODE

pytestmark = pytest.mark.real

HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
TOO_MUCH = HOLD.replace(b"1000", b"999999999")
TRACEPARENT = f"traceparent: 00-{'1' * 32}-{'2' * 16}-01"
AUTHORIZE = f"/certificates/{CODE}/authorize"
CODE_IN_PERCENT = f"/certificates/%{ord(CODE[0]):02X}{CODE[1:]}/authorize"

ORDINARY = {
    "a key that is unknown": (post(AUTHORIZE, HOLD, client="nobody"), 401),
    "a key that may not": (post(AUTHORIZE, HOLD, client="ops"), 403),
    "no JSON": (post(AUTHORIZE, b"{"), 400),
    "an idempotency key that is none": (post(AUTHORIZE, HOLD, 'Idempotency-Key: "'), 400),
    "a body that is too long": (post(AUTHORIZE, b" " * 20_000), 413),
    "a code in percent": (post(CODE_IN_PERCENT, HOLD), 201),
    "a query": (post(f"{AUTHORIZE}?a=1", HOLD), 201),
    "a version before 1.1": (post(AUTHORIZE, HOLD).replace(b"HTTP/1.1", b"HTTP/1.0"), 201),
    "another call": (post(f"/certificates/{CODE}/balance", b"{}"), 200),
    "no call": (post("/certificates/", b"{}"), 404),
    "another method": (request("PUT", AUTHORIZE, client="pos"), 405),
}


class Counted:
    """Counts the requests that reach the ASGI application, and says when one does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.called = asyncio.Event()
        answer = Front.__call__

        async def counting(front: Front, *arguments: object) -> None:
            self.calls += 1
            self.called.set()
            await answer(front, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Front, "__call__", counting)


def in_flight(here: Served) -> int:
    front = here.house.app
    assert isinstance(front, Front)
    return front.metrics.in_flight


async def authorized(here: Served) -> float:
    """How many authorizations the gateway says it has granted."""
    metrics = (await here.house.get("/metrics", "ops")).content.decode()
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    return float(lines['gift_ledger_http_requests_total{call="authorize",status="201"}'])


async def test_a_hot_call_in_one_piece_needs_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as here:
        await here.house.issue()
        before = await authorized(here)
        counted = Counted(monkeypatch)
        line = await here.line()
        data = post(AUTHORIZE, HOLD, "X-Request-Id: mine", TRACEPARENT)

        answers = [await line.ask(data) for _ in range(3)]

        assert counted.calls == 0
        after = await authorized(here)
    assert [answer.status for answer in answers] == [201] * 3
    for answer in answers:
        assert answer.headers.keys() == {"date", "content-type", "content-length", "x-request-id", "traceparent"}
        assert answer.headers["x-request-id"] == "mine"
    assert after - before == 3


async def test_a_hot_call_in_two_pieces_takes_the_ordinary_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as here:
        await here.house.issue()
        counted = Counted(monkeypatch)
        line = await here.line()
        data = post(AUTHORIZE, HOLD)

        for cut in (len(data) - len(HOLD), len(data) - 3):
            counted.called.clear()
            await line.send(data[:cut])
            async with asyncio.timeout(PATIENCE_SECONDS):
                await counted.called.wait()
            answer = await line.ask(data[cut:])

            assert answer.status == 201
        assert counted.calls == 2


@pytest.mark.parametrize("name", ORDINARY)
async def test_whatever_is_out_of_the_ordinary_takes_the_ordinary_way(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, status = ORDINARY[name]
    async with served() as here:
        await here.house.issue()
        counted = Counted(monkeypatch)
        line = await here.line()

        answer = await line.ask(data)

        assert counted.calls == 1
    assert answer.status == status
    assert in_flight(here) == 0


async def test_a_refusal_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as here:
        await here.house.issue()
        counted = Counted(monkeypatch)
        line = await here.line()

        first = await line.ask(post(AUTHORIZE, TOO_MUCH, "Idempotency-Key: k-1"))
        again = await line.ask(post(AUTHORIZE, TOO_MUCH, "Idempotency-Key: k-1"))

        assert counted.calls == 0
    assert (first.status, first.code) == (409, "InsufficientFunds")
    assert first.headers["content-type"] == "application/problem+json"
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(OverloadedError("busy"), 503, "Overloaded"), (KeyError("a defect"), 500, "InternalError")],
)
async def test_a_call_that_fails_is_told_and_logged_with_its_request(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise error

    async with served() as here:
        await here.house.issue()
        here.house.ledger.trouble = fail
        line = await here.line()

        answer = await line.ask(post(AUTHORIZE, HOLD, "X-Request-Id: r-17"))

    assert (answer.status, answer.code) == (status, code)
    assert in_flight(here) == 0
    told = [record.getMessage() for record in caplog.records if record.name == "gateway.problems"]
    assert len(told) == 1
    assert "[request=r-17]" in told[0]


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async with served() as here:
        await here.house.issue()
        line, other = await here.line(), await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post(AUTHORIZE, HOLD))
        await at_work.wait()

        await line.close()
        assert in_flight(here) == 1
        go_on.set()
        answer = await other.ask(post(AUTHORIZE, HOLD))

        assert in_flight(here) == 0
        held = (await here.house.get(f"/certificates/{CODE}")).body["held"]
    assert answer.status == 201
    assert held == 2_000


async def test_a_client_that_wants_the_connection_closed() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        answer = await line.ask(post(AUTHORIZE, HOLD, "Connection: close"))

        assert await line.rest() == b""
    assert (answer.status, answer.headers["connection"]) == (201, "close")


async def test_hot_calls_one_behind_the_other() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        await line.send(b"".join(post(AUTHORIZE, HOLD, f"X-Request-Id: {number}") for number in range(5)))
        answers = [await line.answer() for _ in range(5)]

    assert [answer.status for answer in answers] == [201] * 5
    assert [answer.headers["x-request-id"] for answer in answers] == ["0", "1", "2", "3", "4"]


async def test_what_follows_a_hot_call_and_is_no_request_is_told_after_its_answer() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        await line.send(post(AUTHORIZE, HOLD) + b"\x00\r\n\r\n")
        answer = await line.answer()

        assert await line.rest() == b""
    assert (answer.status, answer.headers["connection"]) == (201, "close")


async def test_a_rate_is_told_and_kept_on_the_short_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(rate_per_second=0.01) as here:
        await here.house.issue(client="till-2")
        counted = Counted(monkeypatch)
        line = await here.line()

        first = await line.ask(post(AUTHORIZE, HOLD))
        assert counted.calls == 0
        second = await line.ask(post(AUTHORIZE, HOLD))
        third = await line.ask(post(AUTHORIZE, HOLD, client="storefront"))

    assert [(answer.status, answer.headers["ratelimit-policy"]) for answer in (first, second, third)] == [
        (status, '"requests";q=1;w=100') for status in (201, 429, 403)
    ]
    assert second.code == "RateLimited"
    assert 0 < int(second.headers["retry-after"]) <= 100
