"""How the gateway's server starts and stops, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.server import GatewayError, base_url, listen, serve
from gateway.settings import GatewaySettings
from tests.integration.http_client import get, hold_up, post, request, served
from tests.unit.gateway.house import CODE, furnished

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

pytestmark = pytest.mark.real

HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
AUTHORIZE = f"/certificates/{CODE}/authorize"
BALANCE = f"/certificates/{CODE}/balance"
LIVE = "/health/live"


async def test_a_port_in_use_is_told() -> None:
    async with served() as here, furnished() as other:
        settings = GatewaySettings(port=here.port)

        with pytest.raises(OSError, match=rf"Cannot listen on 127\.0\.0\.1, port {here.port}: .*in use") as raised:
            await serve(other.app, settings, asyncio.Event())

    assert raised.value.errno == errno.EADDRINUSE


async def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(OSError, match=r"Cannot listen on no-such-host\.invalid, port 0: "):
        await listen("no-such-host.invalid", 0)


async def test_requests_under_way_are_finished_when_it_stops() -> None:
    async with served() as here:
        await here.house.issue()
        line, idle = await here.line(), await here.line()
        await idle.ask(get(LIVE))
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post(AUTHORIZE, HOLD))
        await at_work.wait()

        here.stop.set()
        assert await idle.rest() == b""
        go_on.set()
        answer = await line.answer()
        await here.ended()

        with pytest.raises(ConnectionRefusedError):
            await here.line()
    assert (answer.status, answer.headers["connection"]) == (201, "close")


async def test_requests_that_do_not_finish_are_told_that_the_outcome_is_unknown() -> None:
    async with served(drain_seconds=0.1) as here:
        await here.house.issue()
        hot, other = await here.line(), await here.line()
        at_work, _ = hold_up(here.house.ledger)
        await hot.send(post(AUTHORIZE, HOLD))
        await at_work.wait()
        at_work.clear()
        await other.send(post(BALANCE, b"{}"))
        await at_work.wait()

        here.stop.set()
        answers = await hot.answer(), await other.answer()
        await here.ended()

    for answer in answers:
        assert (answer.status, answer.code) == (503, "StorageUnavailable")
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")


async def test_a_half_sent_request_does_not_hold_up_the_end() -> None:
    async with served(drain_seconds=0.1) as here:
        head, body = await here.line(), await here.line()
        await head.send(b"GET /")
        await body.send(request("POST", BALANCE, "Content-Type: application/json", "Content-Length: 9", client="pos"))
        await head.send(b"x")

        here.stop.set()
        await here.ended()

        assert await head.rest() == b""


async def test_it_stops_at_once_if_told_before_it_began() -> None:
    stop = asyncio.Event()
    stop.set()
    async with furnished() as house:
        await serve(house.app, GatewaySettings(port=0), stop)


async def test_an_error_of_whoever_waits_for_it_ends_it() -> None:
    ports = []

    async def ready(url: str) -> None:
        ports.append(int(url.rsplit(":", 1)[1]))
        raise ArithmeticError("not today")

    async with furnished() as house:
        with pytest.raises(ArithmeticError, match="not today"):
            await serve(house.app, GatewaySettings(port=0), asyncio.Event(), ready)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", ports[0])


async def test_being_cancelled_ends_it() -> None:
    async with served() as here:
        here.serving.cancel()
        await asyncio.wait({here.serving})

        assert here.serving.cancelled()
        with pytest.raises(ConnectionRefusedError):
            await here.line()


async def test_an_application_that_does_not_start_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ArithmeticError("no")

    with pytest.raises(GatewayError):
        await serve(app, GatewaySettings(port=0), asyncio.Event())


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
)
async def test_the_base_url_is_one_that_can_be_called(host: str, url: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")

    with await listen(host, 0) as listener:
        found = base_url(host, listener)

    assert found.startswith(url)
    assert int(found.removeprefix(url)) > 0
