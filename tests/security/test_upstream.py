"""API7 and API10: no caller has the service ask for an address, and what others answer or publish does it no harm."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from actors.host import wall_clock
from gateway import sms
from gateway.documentation import openapi
from gateway.inbox import Inbox
from gift_ledger.embedded.broker import EmbeddedBroker
from persistence.log import Batch
from persistence.memory import MemoryLog
from persistence.vault import Vault
from tests.integration.http_client import PATIENCE_SECONDS, get
from tests.integration.kafka_stage import (
    MemoryLedger,
    bridge_settings,
    order_event,
    publish,
    read_topic,
    running,
    until,
)
from tests.integration.test_sms_sender import PHONE, message, sender
from tests.security.stage import call, redemption, street
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

pytestmark = pytest.mark.real

TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n"


class Server:
    """Answers every request with the same bytes, over and over if it is told to, and keeps what it was sent."""

    def __init__(self, answer: bytes, again: bytes = b"") -> None:
        self.answer = answer
        self.again = again
        self.heads: list[bytes] = []
        self.port = 0
        self._connections: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.create_task(self.serve(reader, writer)))

    async def ended(self) -> None:
        """Wait until all clients have hung up."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                while self.again:
                    writer.write(self.again)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return
        finally:
            await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):  # the client was first
        await writer.wait_closed()


@asynccontextmanager
async def opened(here: Server) -> AsyncIterator[Server]:
    async with await asyncio.start_server(here.accept, "127.0.0.1", 0) as server:
        here.port = server.sockets[0].getsockname()[1]
        yield here
        await here.ended()


def listening(answer: bytes = TAKEN + b"\r\n", again: bytes = b"") -> AbstractAsyncContextManager[Server]:
    return opened(Server(answer, again))


# --- addresses -------------------------------------------------------------------------------------------------------


def schemas_of_requests(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema that stands in a request body, and the parameters' own."""
    found = []
    waiting: list[Any] = [
        part
        for methods in document["paths"].values()
        for operation in methods.values()
        for part in (operation.get("requestBody"), operation.get("parameters"))
    ]
    seen = set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            found.append(part)
            target = part.get("$ref")
            if isinstance(target, str) and target not in seen:
                seen.add(target)
                _, kind, name = target.rsplit("/", 2)
                waiting.append(document["components"][kind][name])
            waiting += part.values()
    return found


def test_no_call_takes_an_address() -> None:
    schemas = schemas_of_requests(openapi())
    names = {name for schema in schemas for name in schema.get("properties", ()) if isinstance(name, str)}
    names |= {str(schema["name"]) for schema in schemas if "in" in schema and "name" in schema}

    assert {"amount", "certificateCode", "Idempotency-Key"} <= names, "all of them are seen"
    parts = ("url", "uri", "host", "callback", "hook", "link", "endpoint", "address", "domain", "proxy", "file")
    assert {name for name in names if any(part in name.lower() for part in parts)} == set()
    assert {schema["format"] for schema in schemas if "format" in schema} <= {"date-time", "int64"}


async def test_an_address_in_any_place_of_a_call_is_never_asked_for(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, trusted_proxies="127.0.0.1") as here, listening() as inner:
        url = f"http://127.0.0.1:{inner.port}"
        cvc = await here.issue(CODE)
        headers = [
            *(f"Referer: {url}/", f"Origin: {url}", f"X-Forwarded-Host: 127.0.0.1:{inner.port}"),
            *(f"X-Forwarded-For: 127.0.0.1:{inner.port}", f"X-Callback-Url: {url}/", f"Link: <{url}/>"),
            *(f"Idempotency-Key: {url}/", f"traceparent: {url}", f"X-Request-Id: {url}/", f"From: {url}"),
        ]
        body = redemption(cvc=cvc) | {"reference": f"{url}/reference"}

        held = await here.door.ask(call(CODE, "authorize", body, "pos", *headers))
        reason = f"${{jndi:ldap://127.0.0.1:{inner.port}/a}} {url}/"
        await here.door.ask(call(CODE, "block", {"reason": reason}, "support"))
        sale = {"purpose": "Sale", "orderId": f"{url}/order", "orderLineId": "1"}
        await here.door.ask(call("GC-0000-0002", "authorize", sale, "pos"))
        for target in (f"{url}/health/live", f"/orders/{url.replace('/', '%2F')}%2Forder", f"/schema?url={url}"):
            await here.door.ask(get(target, client="support"))
        connect = await here.door.raw(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a\r\n\r\n" % inner.port)

        assert inner.heads == []
    assert held.status == 201
    assert connect.startswith(b"HTTP/1.1 400 ")


# --- what the SMS gateway answers ------------------------------------------------------------------------------------


async def one_try(server: Server, done: Callable[[dict[str, Any]], object], messages: int = 1) -> dict[str, Any]:
    """Have messages sent to a gateway until it has come to this; gives the report."""
    log, vault = MemoryLog(), Vault.generate()
    async with sender(log, vault, f"http://127.0.0.1:{server.port}/send") as sending:
        for number in range(messages):
            await log.append(Batch(messages=(message(vault, number + 1),)))
            await until(partial(tried, sending.report, number))
        await until(lambda: done(sending.report()))
        return sending.report()


OUTCOMES = ("accepted", "retried", "givenUp")


def tried(report: Callable[[], dict[str, Any]], before: int) -> bool:
    """Whether something has come of more messages than before."""
    told = report()
    return sum(int(told[one]) for one in OUTCOMES) > before


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with listening() as inner:
        head = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{inner.port}/inner\r\nContent-Length: 0\r\n\r\n"
        async with listening(head.encode()) as server:
            report = await one_try(server, lambda report: report["retried"])

        assert inner.heads == [], "it would have been given a CVC and a phone"
    assert (report["accepted"], report["lastError"]) == (0, f"HTTP {status}")


HOSTILE = {
    "a body without an end": (TAKEN.replace(b"Content-Length: 0\r\n", b"") + b"\r\n", b"x" * 65_536, "accepted"),
    "a body that is said to be huge": (TAKEN.replace(b": 0", b": 99999999999") + b"\r\n", b"x" * 65_536, "accepted"),
    "a head without an end": (b"HTTP/1.1 202 Accepted\r\nX-A: ", b"x" * 65_536, "retried"),
    "headers without an end": (b"HTTP/1.1 202 Accepted\r\n", b"X-A: b\r\n" * 1_000, "retried"),
    "interim answers without an end": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "retried"),
    "no HTTP": (b"\x16\x03\x01\x02\x00nonsense\r\n\r\n" * 100, b"", "retried"),
    "two lengths": (b"HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"", "retried"),
    "a bomb": (
        b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"8000\r\n%s\r\n" % (b"\0" * 0x8000),
        "accepted",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_answer_that_is_hostile_costs_little_and_harms_nobody(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sms, "SEND_SECONDS_MAX", 1.0)
    answer, again, outcome = HOSTILE[name]
    async with listening(answer, again) as server:
        report = await one_try(server, lambda report: report[outcome])

    assert [report[one] for one in OUTCOMES if one != outcome] == [0, 0]
    assert PHONE not in caplog.text
    assert "CVC 00" not in caplog.text


async def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "SEND_SECONDS_MAX", 0.3)

    class Slow(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            try:
                while True:
                    writer.write(b"H")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            except ConnectionError:
                await closed(writer)

    async with opened(Slow(b"")) as slow:
        report = await one_try(slow, lambda report: report["retried"])

    assert report["accepted"] == 0


async def test_cookies_of_the_sms_gateway_are_not_kept() -> None:
    cookies = b"".join(b"Set-Cookie: c%d=%s; Path=/\r\n" % (number, b"x" * 100) for number in range(50))
    async with listening(TAKEN + cookies + b"\r\n") as server:
        await one_try(server, lambda report: report["accepted"] == 3, messages=3)

    assert len(server.heads) == 3
    assert not any(b"\r\ncookie:" in head.lower() for head in server.heads)


# --- what comes over Kafka -------------------------------------------------------------------------------------------


async def test_hostile_inputs_are_put_aside_and_the_next_order_is_taken() -> None:
    good = order_event("SO-GOOD")
    event = json.loads(good)
    line = event["certificateLines"][0]
    hostile = [
        b"",
        b"\0" * 1_000,
        b"[" * 100_000,
        b'{"orderId":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"orderId":"SO-1","orderVersion":' + b"9" * 10_000 + b"}",
        b'{"orderId":"SO-1","orderVersion":1e999999999}',
        json.dumps(event | {"orderId": "SO-1\r\nX: y"}).encode(),
        json.dumps(event | {"orderId": "x" * 10_000}).encode(),
        json.dumps(event | {"orderId": "SO-2", "certificateLines": [line | {"plannedDenomination": -1}]}).encode(),
        json.dumps(event | {"orderId": "SO-3", "certificateLines": [line | {"plannedDenomination": 10**15}]}).encode(),
        json.dumps(event | {"orderId": "SO-4", "certificateLines": [line] * 5_000}).encode(),
        b"x" * 900_000,
    ]
    topics = ("All_SalesOrder", "All_Payments", "GiftCertificateProcessing.DeadLetter")
    async with MemoryLedger() as ledger, EmbeddedBroker(topics) as broker:
        settings = bridge_settings(broker.bootstrap, assign_partitions=True)
        async with running(Inbox(ledger, ledger.vault, settings, wall_clock)) as inbox:
            await publish(broker.bootstrap, settings.sales_orders, [("SO-1", value) for value in hostile])
            await publish(broker.bootstrap, settings.sales_orders, [("SO-1", good)])
            await until(lambda: inbox.report()["applied"])
            report = inbox.report()
        letters = await read_topic(broker.bootstrap, settings.dead_letters, len(hostile))

        assert (await ledger.order("SO-GOOD"))["orderId"] == "SO-GOOD"
    assert (report["applied"], report["deadLetters"]) == (1, len(hostile))
    assert len(letters) == len(hostile)
    # one value is one order: the key that it came with says nothing
    assert [entity for entity, _, _ in ledger.asked] == ["o:SO-GOOD"]
