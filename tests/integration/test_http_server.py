"""The gateway behind a real port: what the network and bad clients can do to it."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.integration.http_client import PATIENCE_SECONDS, Line, get, hold_up, post, request, served
from tests.unit.gateway.house import CODE

pytestmark = pytest.mark.real

HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
AUTHORIZE = f"/certificates/{CODE}/authorize"
BALANCE = f"/certificates/{CODE}/balance"
LIVE = "/health/live"


# --- connections -----------------------------------------------------------------------------------------------------


async def test_requests_follow_each_other_on_a_connection() -> None:
    async with served() as here:
        line = await here.line()

        first = await line.ask(get(LIVE))
        await line.send(request("HEAD", LIVE, client="ops"))
        second = await line.answer(bodiless=True)
        third = await line.ask(get("/nowhere"))

    assert (first.status, second.status, third.status) == (200, 200, 404)
    assert first.headers["date"]
    assert "server" not in first.headers
    assert first.headers["x-request-id"] != third.headers["x-request-id"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        await line.send(
            post(AUTHORIZE, HOLD, "X-Request-Id: 1")
            + get("/nowhere", "X-Request-Id: 2")
            + post(BALANCE, b"{}", "X-Request-Id: 3")
            + get(LIVE, "X-Request-Id: 4")
        )
        answers = [await line.answer() for _ in range(4)]

    assert [answer.status for answer in answers] == [201, 404, 200, 200]
    assert [answer.headers["x-request-id"] for answer in answers] == ["1", "2", "3", "4"]


async def test_a_request_may_come_byte_by_byte() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        for byte in post(AUTHORIZE, HOLD):
            await line.send(bytes((byte,)))
        answer = await line.answer()

    assert answer.status == 201


async def test_chunks_and_trailers() -> None:
    chunked = b"5\r\n{    \r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\nAuthorization: Bearer nobody\r\n\r\n"
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        head = request("POST", BALANCE, "Content-Type: application/json", "Transfer-Encoding: chunked", client="pos")
        answer = await line.ask(head + chunked)
        again = await line.ask(get(LIVE))

    assert (answer.status, again.status) == (200, 200)


async def test_http_1_0_ends_the_connection() -> None:
    async with served() as here:
        line = await here.line()

        answer = await line.ask(b"GET /health/live HTTP/1.0\r\n\r\n")

        assert await line.rest() == b""
    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_a_body_is_asked_for_only_when_it_is_wanted() -> None:
    async with served() as here:
        await here.house.issue()
        expecting = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
        line, other = await here.line(), await here.line()

        interim = await line.ask(request("POST", BALANCE, *expecting, client="pos"))
        final = await line.ask(b"{}")
        refused = await other.ask(request("POST", BALANCE, *expecting, client="nobody"))

    assert (interim.status, final.status, refused.status) == (100, 200, 401)


async def test_an_upgrade_is_not_taken_up_and_the_body_is_read_all_the_same() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")

        first = await line.ask(post(AUTHORIZE, HOLD, *upgrade))
        second = await line.ask(post(AUTHORIZE, HOLD, *upgrade))
        third = await line.ask(get(LIVE, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"))
        fourth = await line.ask(get(LIVE))

    assert [answer.status for answer in (first, second, third, fourth)] == [201, 201, 200, 200]


# --- what is no request ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        b"FETCH / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: b\x00c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_request_is_told_so_as_a_problem(data: bytes) -> None:
    async with served() as here:
        line = await here.line()

        answer = await line.ask(data)

        assert await line.rest() == b""
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]


async def test_what_came_before_is_answered_first() -> None:
    async with served() as here:
        await here.house.issue()
        line = await here.line()

        answer = await line.ask(post(AUTHORIZE, HOLD) + b"nonsense\r\n\r\n")
        rest = await line.rest()

    assert (answer.status, answer.headers["connection"]) == (201, "close")
    assert rest == b""


@pytest.mark.parametrize("parts", [1, 200])
async def test_a_head_without_an_end(parts: int) -> None:
    filler = b"X-Filler: " + b"x" * 1_000 + b"\r\n"
    async with served(head_bytes_max=8_192) as here:
        line = await here.line()

        await line.send(b"GET /health/live HTTP/1.1\r\n" + filler * (100 // parts))
        for _ in range(parts - 1):
            if line.hung_up:
                break
            await line.send(filler)
        answer = await line.answer()

    assert (answer.status, answer.code) == (413, "RequestTooLarge")
    assert answer.headers["connection"] == "close"


async def test_a_head_that_is_complete_but_too_long() -> None:
    async with served(head_bytes_max=1_024) as here:
        line = await here.line()

        answer = await line.ask(get(LIVE, "X-Filler: " + "x" * 1_024))

    assert (answer.status, answer.code) == (413, "RequestTooLarge")


async def test_a_body_that_is_too_long_is_let_pass_by() -> None:
    async with served() as here:
        line = await here.line()

        await line.send(post(BALANCE, b" " * 1_000_000))
        answer = await line.answer()
        again = await line.ask(get(LIVE))

    assert (answer.status, answer.code) == (413, "RequestTooLarge")
    assert again.status == 200


async def test_a_connection_too_many_is_told_so_and_closed_and_there_is_room_again_later() -> None:
    async with served(connections_max=2) as here:
        first, second = await here.line(), await here.line()
        assert (await first.ask(get(LIVE))).status == (await second.ask(get(LIVE))).status == 200

        third = await here.line()
        turned_away = await third.answer()

        assert (turned_away.status, turned_away.code) == (503, "Overloaded")
        assert turned_away.headers["retry-after"] == "1"
        assert await third.rest() == b""
        told = (await first.ask(get("/metrics"))).content.decode()
        assert "gift_ledger_http_connections_refused_total 1.0" in told
        assert 'gift_ledger_http_problems_total{call="other",code="Overloaded"} 1.0' in told
        await second.close()
        assert (await first.ask(get(LIVE))).status == 200
        assert (await (await here.line()).ask(get(LIVE))).status == 200


# --- slow clients ----------------------------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_is_let_go() -> None:
    async with served(idle_seconds=0.05) as here:
        line = await here.line()

        assert await line.rest() == b""


async def test_a_client_that_says_nothing_more_is_let_go() -> None:
    async with served(idle_seconds=0.5) as here:
        line = await here.line()
        await line.ask(get(LIVE))

        assert await line.rest() == b""


async def test_a_client_that_waits_for_its_answer_is_not_idle() -> None:
    async with served(idle_seconds=0.5) as here:
        await here.house.issue()
        line = await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post(AUTHORIZE, HOLD))
        await at_work.wait()

        await asyncio.sleep(0.7)
        go_on.set()

        assert (await line.answer()).status == 201
        assert await line.rest() == b""


async def test_line_breaks_do_not_keep_a_connection() -> None:
    async with served(idle_seconds=0.1) as here:
        line = await here.line()

        await drip(line, b"\r\n")

        assert line.hung_up


async def test_a_head_that_does_not_come_to_its_end() -> None:
    async with served(receive_seconds=0.1) as here:
        line = await here.line()

        await line.send(b"GET /health/live HTTP/1.1\r\nX-")
        await drip(line, b"a")
        answer = await line.answer()
        told = (await (await here.line()).ask(get("/metrics"))).content.decode()

    assert (answer.status, answer.code) == (408, "RequestTimeout")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    assert 'gift_ledger_http_problems_total{call="other",code="RequestTimeout"} 1.0' in told


async def test_a_body_that_does_not_come_to_its_end() -> None:
    async with served(receive_seconds=0.1) as here:
        line = await here.line()

        await line.send(request("POST", BALANCE, "Content-Type: application/json", "Content-Length: 999", client="pos"))
        await drip(line, b" ")
        answer = await line.answer()

    assert (answer.status, answer.code) == (408, "RequestTimeout")
    assert answer.headers["connection"] == "close"


async def test_a_body_that_nobody_wants_does_not_keep_a_connection() -> None:
    async with served(receive_seconds=0.1) as here:
        line = await here.line()

        answer = await line.ask(request("POST", "/nowhere", "Content-Length: 99999", client="pos"))
        await drip(line, b" ")

        assert line.hung_up
    assert answer.status == 404


async def test_a_slow_pipeline_is_not_held_against_the_client() -> None:
    async with served(receive_seconds=1) as here:
        await here.house.issue()
        line = await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        second = post(BALANCE, b"{}")

        # the time of the second begins when the first has been answered
        await line.send(post(AUTHORIZE, HOLD) + second[:-2])
        await at_work.wait()
        await asyncio.sleep(1.2)
        go_on.set()
        await line.send(second[-2:])
        answers = await line.answer(), await line.answer()

    assert [answer.status for answer in answers] == [201, 200]


async def drip(line: Line, data: bytes) -> None:
    """Send the same again and again until the gateway hangs up."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not line.hung_up:
            try:
                await line.send(data)
            except ConnectionError:
                return
            await asyncio.sleep(0.01)


# --- load ------------------------------------------------------------------------------------------------------------


async def test_more_than_it_takes_on_is_told_to_come_back() -> None:
    async with served(requests_in_flight_max=1) as here:
        await here.house.issue()
        line, other = await here.line(), await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post(AUTHORIZE, HOLD))
        await at_work.wait()

        hot = await other.ask(post(AUTHORIZE, HOLD))
        cold = await other.ask(get("/schema"))
        live = await other.ask(get(LIVE))
        go_on.set()
        first = await line.answer()
        again = await other.ask(get("/schema"))

    for answer in (hot, cold):
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "Overloaded", "1")
    assert [answer.status for answer in (live, first, again)] == [200, 201, 200]


async def test_many_clients_at_once() -> None:
    async with served() as here:
        await here.house.issue()

        async def authorize() -> int:
            line = await here.line()
            return (await line.ask(post(AUTHORIZE, HOLD))).status

        statuses = await asyncio.gather(*(authorize() for _ in range(100)))

        held = (await here.house.get(f"/certificates/{CODE}")).body["held"]
    assert statuses == [201] * 100
    assert held == 100_000


def test_it_runs_on_uvloop() -> None:
    async def one_of_each() -> list[int]:
        async with served(head_bytes_max=4_096) as here:
            await here.house.issue()
            line = await here.line()
            good = await line.ask(post(AUTHORIZE, HOLD))
            bad = await line.ask(get(LIVE, "X-Filler: " + "x" * 8_000))
            assert await line.rest() == b""
            return [good.status, bad.status]

    assert uvloop.run(one_of_each()) == [201, 413]
