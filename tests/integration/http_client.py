"""A client that sends bytes as they are, and a gateway behind a real port for it to talk to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.server import serve
from gateway.settings import GatewaySettings
from tests.unit.gateway.house import House, OneShard, furnished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ledger.policy import Policy
    from persistence.codes import CodeStore
    from persistence.log import Log
    from persistence.vault import Vault
    from persistence.windows import Windows

PATIENCE_SECONDS = 60.0
"""What a test waits for at most; it never decides a test that goes well."""
PATIENT = {"receive_seconds": PATIENCE_SECONDS, "deadline_seconds": PATIENCE_SECONDS, "drain_seconds": PATIENCE_SECONDS}
"""Bounds of a gateway whose own are not what a test is about."""


class Answer(NamedTuple):
    """A response as it came. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def code(self) -> str:
        return str(msgspec.json.decode(self.content)["code"])


class Line:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Return the next response."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode().rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = 0 if bodiless else int(headers.get("content-length", "0"))
            content = await self._reader.readexactly(length)
        return Answer(int(status.split()[1]), headers, content)

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """Return what comes until the gateway closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    @property
    def hung_up(self) -> bool:
        """Whether the gateway has closed the connection, as far as is known; what it said before can still be read."""
        return bool(vars(self._reader)["_eof"]) or self._writer.transport.is_closing()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


class Served(NamedTuple):
    """A house behind a port."""

    house: House
    url: str
    port: int
    stop: asyncio.Event
    serving: asyncio.Task[None]
    lines: list[Line]

    async def line(self, local: str | None = None) -> Line:
        """Return a new connection, from an address of this machine."""
        address = None if local is None else (local, 0)
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=address))
        self.lines.append(line)
        return line

    async def ended(self) -> None:
        """Wait until the server has ended; raises what ended it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.shield(self.serving)


@asynccontextmanager
async def served(
    policy: Policy | None = None,
    imported: CodeStore | None = None,
    windows: Windows | None = None,
    log: Log | None = None,
    vault: Vault | None = None,
    **bounds: Any,  # noqa: ANN401 - those of the settings
) -> AsyncIterator[Served]:
    """Serve a house on a free port, with these bounds."""
    settings = GatewaySettings(port=0, **(PATIENT | bounds))
    async with furnished(settings, log=log, policy=policy, imported=imported, windows=windows, vault=vault) as house:
        stop = asyncio.Event()
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def ready(url: str) -> None:
            found.set_result(url)

        serving = asyncio.create_task(serve(house.app, settings, stop, ready), name="serve")
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = await found
        here = Served(house, url, int(url.rsplit(":", 1)[1]), stop, serving, [])
        try:
            yield here
        finally:
            stop.set()
            for line in here.lines:
                await line.close()
            await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()


def get(path: str, *headers: str, client: str = "ops") -> bytes:
    return request("GET", path, *headers, client=client)


def post(path: str, body: bytes, *headers: str, client: str = "pos") -> bytes:
    told = ("Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    return request("POST", path, *told, client=client) + body


def request(method: str, path: str, *headers: str, client: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: ledger", f"Authorization: Bearer {client}", *headers, "", "")
    return "\r\n".join(lines).encode()


def hold_up(ledger: OneShard) -> tuple[asyncio.Event, asyncio.Event]:
    """Make calls of the ledger wait. Returns an event that is set when one does, and one that lets them all go on."""
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        at_work.set()
        await go_on.wait()

    ledger.trouble = wait
    return at_work, go_on
