"""Clients that are too many, too slow or without an end: what they come to, and that others do not feel it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from examples.cast import shopper
from tests.integration.http_client import PATIENCE_SECONDS, Served, get, post, request, served
from tests.integration.test_http_server import AUTHORIZE, BALANCE, HOLD, LIVE, drip

pytestmark = pytest.mark.real


async def test_connections_of_one_address_leave_room_for_those_of_others() -> None:
    async with served(connections_address_max=2) as here:
        first, second = await here.line(), await here.line()
        assert (await first.ask(get(LIVE))).status == (await second.ask(get(LIVE))).status == 200

        turned_away = await (await here.line()).answer()
        elsewhere = await here.line(local="127.0.0.2")

        assert (turned_away.status, turned_away.code) == (503, "Overloaded")
        assert (await elsewhere.ask(get(LIVE))).status == 200
        await second.close()
        await ask_until(here, 200)


async def test_connections_of_a_trusted_proxy_are_many_peoples() -> None:
    async with served(connections_address_max=2, trusted_proxies="127.0.0.1") as here:
        lines = [await here.line() for _ in range(10)]

        assert [(await line.ask(get(LIVE))).status for line in lines] == [200] * 10


async def test_many_slow_clients_keep_nobody_out() -> None:
    async with served(connections_address_max=60, receive_seconds=0.5) as here:
        await here.house.issue()
        slow = [await here.line(local="127.0.0.2") for _ in range(50)]
        for line in slow:
            await line.send(b"POST /certificates/GC-7K2M-9QXA/authorize HTTP/1.1\r\nX-")
        till = await here.line()

        answers = [await till.ask(post(AUTHORIZE, HOLD)) for _ in range(20)]
        let_go = await asyncio.gather(*(line.answer() for line in slow))

    assert [answer.status for answer in answers] == [201] * 20
    assert {answer.status for answer in let_go} == {408}


async def ask_until(here: Served, status: int) -> None:
    """Ask on new connections until one is answered so: the gateway learns of an end when it comes to it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await (await here.line()).ask(get(LIVE))).status != status:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_body_without_an_end(*, wanted: bool) -> None:
    path = BALANCE if wanted else "/nowhere"
    head = request("POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked", client="pos")
    async with served(receive_seconds=0.2) as here:
        line = await here.line()

        await line.send(head)
        await drip(line, b"8000\r\n" + b" " * 0x8000 + b"\r\n")

        assert line.hung_up
        other = await (await here.line()).ask(get(LIVE))
    assert other.status == 200


async def test_each_shopper_of_the_demo_has_an_address_of_his_own() -> None:
    async with served(connections_address_max=1) as here, AsyncExitStack() as stack:
        shoppers = []
        for _ in range(3):
            client = httpx.AsyncClient(base_url=here.url, transport=shopper(here.url, verify=True))
            shoppers.append(await stack.enter_async_context(client))

        answers = [await one.get(LIVE) for one in shoppers]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert shopper("http://ledger.example:8080", verify=True) is None
