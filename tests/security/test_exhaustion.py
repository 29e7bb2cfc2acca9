"""API4: whoever sends too much, too slowly or without an end is let go, and a till is served meanwhile."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.integration.http_client import PATIENCE_SECONDS, get, post, request
from tests.security.stage import DENOMINATION, call, redemption, street, told
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.integration.http_client import Answer
    from tests.security.stage import Door

pytestmark = pytest.mark.real

HASTE: dict[str, Any] = {"receive_seconds": 1.0, "idle_seconds": 1.0}
EACH = 10
"""Connections of each kind."""
DRIP_SECONDS = 0.05
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
BALANCE = f"/certificates/{CODE}/balance"
JSON = "Content-Type: application/json"
CHUNKED = request("POST", BALANCE, JSON, "Transfer-Encoding: chunked", client="pos")
START = b"GET /health/live HTTP/1.1\r\nHost: ledger\r\n"

SLOW = {
    "a head that goes on": (START + b"X-A: ", b"a", [b"408"]),
    "a head of many lines": (START, b"X-A: b\r\n", [b"408"]),
    "a body that goes on": (request("POST", BALANCE, JSON, "Content-Length: 9999", client="pos"), b" ", [b"408"]),
    "a body in chunks": (CHUNKED, b"1\r\n \r\n", [b"408"]),
    "a chunk's extension": (CHUNKED + b"1;", b"a", [b"408"]),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n", [b"408"]),
    "a body that nobody wants": (request("POST", "/nowhere", "Content-Length: 99999", client="pos"), b" ", [b"404"]),
    "line breaks": (b"", b"\r\n", []),
    "nothing": (b"", b"", []),
    "half a request, and no more": (START, b"", [b"408"]),
}
"""How it begins, what comes again and again, and what the client is told before the gateway hangs up."""


async def slow(door: Door, begin: bytes, drip: bytes) -> bytes:
    """Send little by little, from another address than the till's; gives what came back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, local_addr=("127.0.0.2", 0))
    reading = asyncio.create_task(reader.read())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(begin)
            while not reading.done():
                writer.write(drip)
                await asyncio.wait({reading}, timeout=DRIP_SECONDS)
            return await reading
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def selling_until(door: Door, done: Callable[[], bool]) -> list[Answer]:
    """What a till is told meanwhile, and a few times more."""
    answers: list[Answer] = []
    while not done() or len(answers) < EACH:
        answers.append(await door.ask(call(CODE, "authorize", redemption(1), "pos")))
        await asyncio.sleep(DRIP_SECONDS)
    return answers


async def test_a_hundred_slow_clients_keep_no_till_waiting(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, **HASTE) as here:
        await here.issue(CODE)
        clients = {
            (name, number): asyncio.create_task(slow(here.door, begin, drip))
            for name, (begin, drip, _) in SLOW.items()
            for number in range(EACH)
        }

        answers = await selling_until(here.door, lambda: all(client.done() for client in clients.values()))

        said = {one: STATUS.findall(client.result()) for one, client in clients.items()}
    assert {answer.status for answer in answers} == {201}
    for (name, _), statuses in said.items():
        assert statuses == SLOW[name][2], name


ENDLESS = {
    "a head": (START, b"X-Filler: " + b"x" * 20_000 + b"\r\n", [b"413"]),
    "one header": (START + b"X-Filler: ", b"x" * 20_000, [b"413"]),
    "a body in large chunks": (CHUNKED, b"8000\r\n%s\r\n" % (b" " * 0x8000), [b"413"]),
    "a target": (b"GET /", b"x" * 20_000, [b"413"]),
}
"""A head ends by its size, with its second part; a body that nobody wants is told so at once, and ends by time."""


async def test_what_has_no_end_is_cut_off(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, receive_seconds=3.0) as here:
        await here.issue(CODE)
        clients = {
            name: asyncio.create_task(slow(here.door, begin, drip)) for name, (begin, drip, _) in ENDLESS.items()
        }

        answers = await selling_until(here.door, lambda: all(client.done() for client in clients.values()))

        said = {name: STATUS.findall(client.result()) for name, client in clients.items()}
    assert {answer.status for answer in answers} == {201}
    # who goes on sending may lose the answer to his own system, and is let go all the same
    assert {name: statuses for name, statuses in said.items() if statuses not in ([], ENDLESS[name][2])} == {}


async def test_one_address_takes_no_connection_from_others(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, connections_address_max=50) as here:
        await here.issue(CODE)
        crowd = [await here.door.line("127.0.0.2") for _ in range(50)]
        assert {(await line.ask(get("/health/live"))).status for line in crowd} == {200}

        turned_away = [await (await here.door.line("127.0.0.2")).answer() for _ in range(50)]
        till = [await here.door.ask(call(CODE, "authorize", redemption(1), "pos")) for _ in range(EACH)]
        spoofing = await (await here.door.line("127.0.0.2")).answer()

    assert {told(answer) for answer in (*turned_away, spoofing)} == {(503, "Overloaded")}
    assert {answer.status for answer in till} == {201}


DEEP = 2_700
BODIES = {
    "lists": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a field of lists": b'{"purpose":"Redemption","amount":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a long number": b'{"purpose":"Redemption","currency":"RUB","amount":' + b"9" * 15_000 + b"}",
    "a huge exponent": b'{"purpose":"Redemption","currency":"RUB","amount":1e999999999}',
    "a fraction": b'{"purpose":"Redemption","currency":"RUB","amount":1000.0}',
    "a negative amount": b'{"purpose":"Redemption","currency":"RUB","amount":-1000}',
    "more than there can be": b'{"purpose":"Redemption","currency":"RUB","amount":1000000000001}',
    "many fields": b"{%s}" % b",".join(b'"f%d":1' % number for number in range(1_500)),
    "many zero bytes": b"\0" * 16_000,
    "half a character": b'{"purpose":"\xff\xfe"}',
    "no end": b'{"purpose":"Redemption"' + b" " * 16_000,
}


@pytest.mark.parametrize("path", [f"/certificates/{CODE}/authorize", "/authorizations"])
async def test_bodies_that_are_made_to_cost_much_are_refused(redis_url: str, tmp_path: Path, path: str) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.asked)

        answers = {name: await here.door.ask(post(path, body)) for name, body in BODIES.items()}

        assert len(here.door.ledger.asked) == before
        assert (await here.state(CODE))["available"] == DENOMINATION
    assert {name: told(answer) for name, answer in answers.items()} == dict.fromkeys(BODIES, (400, "InvalidRequest"))
    assert max(len(answer.content) for answer in answers.values()) < 16_384, "no more than was sent"


async def test_a_batch_has_no_more_items_than_it_may(redis_url: str, tmp_path: Path) -> None:
    item = {"certificateCode": CODE, "idempotencyKey": "k", "amount": 1, "currency": "RUB"}

    def batch(number: int) -> bytes:
        items = [item | {"idempotencyKey": f"k-{one}"} for one in range(number)]
        return post("/authorizations", msgspec.json.encode({"items": items}))

    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        too_many = await here.door.ask(batch(1_001))
        none = await here.door.ask(batch(0))
        before = len(here.door.ledger.changes)
        enough = await here.door.ask(batch(1_000))

        assert before == 1, "the sale"
        assert len(here.door.ledger.changes) - before == 1_000
    assert {told(too_many), told(none)} == {(400, "InvalidRequest")}
    assert enough.status == 200


async def test_a_client_that_asks_too_often_waits_and_others_do_not(redis_url: str, tmp_path: Path) -> None:
    async def asked(client: str, number: int, ask: Callable[[bytes], Awaitable[Answer]]) -> list[int]:
        return [(await ask(call(CODE, "authorize", redemption(1), client))).status for _ in range(number)]

    # so few that the time which the test takes adds none
    async with street(redis_url, tmp_path, rate_per_second=0.02) as here:
        line = await here.door.line()
        first = await asked("pos", 3, line.ask)
        other = await asked("till-2", 2, line.ask)

        limited = await line.ask(call(CODE, "authorize", redemption(1), "pos"))

    assert first[1:] == [429, 429]
    assert (first[0], other) == (404, [404, 429])
    assert int(limited.headers["retry-after"]) >= 1
